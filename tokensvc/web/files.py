"""Serves what was uploaded, as something that can do nothing to those who look at it.

Files of strangers are served from the same origin as everything else here. So the type is what `inspect` found
and is not guessed again (`nosniff`), only pictures, films and sounds are shown in place, and all is sandboxed.
Scripts and style sheets go out as plain text: another page's `<script src>` minds none of the other headers.
"""

from __future__ import annotations

import re
from typing import BinaryIO, Final

from flask import Blueprint, Response, abort, request, send_file
from werkzeug.exceptions import RequestedRangeNotSatisfiable

from tokensvc.core.upload import StoredFile
from tokensvc.ports import FileStore

SHOWN_IN_PLACE: Final = frozenset(
    {
        *("image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"),
        *("video/mp4", "video/webm", "video/ogg", "video/quicktime"),
        *("audio/mpeg", "audio/mp4", "audio/ogg", "audio/wav", "audio/flac"),
    }
)
"""Never a type that can hold markup or script: no SVG, HTML, XML or PDF."""

_LOADED_BY_OTHER_PAGES: Final = frozenset({"text/javascript", "application/javascript", "text/css"})
_TRANSFORMATION = re.compile(r"\Atr:[^/]*/")
_SAFETY: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Cache-Control": "public, max-age=0, must-revalidate",
}


def files_blueprint(store: FileStore, account: str, url_prefix: str = "/files") -> Blueprint:
    """GET and HEAD of the files of one account, by their `filePath` under the prefix; 404 for what is not there.

    A first segment `tr:…`, which asks ImageKit for a transformation, is passed over: the original is served.
    """
    blueprint = Blueprint(f"files_{account.encode().hex()}", __name__, url_prefix=url_prefix)  # one an account

    @blueprint.get("/<path:path>", merge_slashes=False)  # no redirects: a path is a file's or nothing
    def show(path: str) -> Response:
        found = store.find(account, "/" + _TRANSFORMATION.sub("", path))
        if found is None:
            abort(404)
        return _answer(*found)

    return blueprint


def _answer(file: StoredFile, content: BinaryIO) -> Response:
    mime = "text/plain" if file.kind.mime in _LOADED_BY_OTHER_PAGES else file.kind.mime
    response = send_file(
        content,
        mimetype=mime,
        as_attachment=mime not in SHOWN_IN_PLACE,
        download_name=file.name,
        conditional=False,
        etag=file.sha256,
        last_modified=file.uploaded_at,
    )
    response.content_length = file.size
    response.headers.update(_SAFETY)
    try:
        response.make_conditional(request.environ, accept_ranges=True, complete_length=file.size)
    except RequestedRangeNotSatisfiable:
        content.close()
        raise
    return response
