"""The way past Flask for uploads, and for plain requests for a credential: it takes longer than they do to decide.

No rule is here. The views are those of Flask's routes, and host and origin are checked by what Flask's hooks call; what
goes wrong is answered by Flask's own handlers; and what is not exactly one of these requests goes Flask's way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from wsgiref.types import StartResponse, WSGIEnvironment

from flask import Flask

from tokensvc.core.trail import Trail

from .json_bodies import Answer
from .origins import Origins
from .problems import answer_to, begin_trail

View = Callable[[WSGIEnvironment], Answer]


class ShortWay:
    """A WSGI application around that of Flask. `views` are by method and path, to the letter.

    Who adds hooks to the application after this was made gets all requests: then every one goes Flask's way.
    """

    def __init__(
        self,
        app: Flask,
        views: Mapping[tuple[str, str], View],
        begin: Callable[[Trail], None],
        check_host: Callable[[WSGIEnvironment], None],
        origins: Origins,
    ) -> None:
        """`begin`, `check_host` and `origins` are what Flask's hooks call, too."""
        self._app, self._flask = app, app.wsgi_app
        self._views, self._begin, self._check_host, self._origins = views, begin, check_host, origins
        self._hooks = self._count_hooks()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer as Flask would."""
        view = self._views.get((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        if view is None or self._count_hooks() != self._hooks:
            return self._flask(environ, start_response)
        begin_trail(environ, self._begin)
        try:
            self._check_host(environ)
            self._origins.check(environ)
            answer = view(environ)
        except Exception as exc:  # noqa: BLE001 - Flask's handlers are for each
            return answer_to(self._app, exc, environ)(environ, start_response)
        start_response(answer.status, [*answer.headers, *self._origins.leave(environ)])
        return [answer.body]

    def _count_hooks(self) -> int:
        return len(self._app.before_request_funcs[None]) + len(self._app.after_request_funcs[None])
