"""gunicorn's gevent worker, with a short way for plain requests: each read, called and answered in one go.

gunicorn makes every request's environment and answer anew, for any request that there may be; that takes longer than
issuing a credential does. Here a line of a head that was seen before is not read again, and a request gets its answer
in one write. The first request with anything in it that HTTP gives a second meaning to takes its connection to
gunicorn's own code, unread and for good.
"""

from __future__ import annotations

import gc
from typing import Any, Final

from gevent import get_hub, socket
from gunicorn import util
from gunicorn.config import Config
from gunicorn.workers.ggevent import GeventWorker

from .connection import Connection
from .heads import Heads
from .outbox import Outbox

_AS_BY_DEFAULT: Final = ("http2_cleartext", "post_request", "pre_request", "protocol", "proxy_protocol")


class Worker(GeventWorker):  # type: ignore[misc] # gunicorn has no types
    """For `worker_class`. All but the short way is gunicorn's."""

    def load_wsgi(self) -> None:
        """Prepare, and load the application."""
        self._is_plain = _is_plain(self.cfg) and not self.log.access_log_enabled
        self._heads = Heads(
            self.cfg.limit_request_line,
            self.cfg.limit_request_fields,
            self.cfg.limit_request_field_size,
            self.cfg.secure_scheme_headers,
        )
        self.outbox = Outbox(get_hub().loop)
        self._listeners = {listener: _Listener(listener.getsockname()) for listener in self.sockets}
        gc.disable()  # modules stay: each look for garbage among them finds none, and is a twentieth of the start
        try:
            super().load_wsgi()
        finally:
            gc.enable()
        gc.freeze()  # else each full collection goes through all of them, and every request waits for 50 ms

    def handle(self, listener: socket.socket, client: socket.socket, addr: Any) -> None:  # noqa: ANN401 - an address of its family
        """Serve one connection, in a greenlet of its own."""
        named = self._listeners[listener]  # it has no name any more once it is closed, and this may come later
        if not self._is_plain:  # and may be no plain socket: gunicorn's code speaks TLS over it
            super().handle(named, client, addr)
            return
        unread = Connection(self, self._heads, named.name, client, addr).serve()
        if unread is None:
            util.close(client)
        else:
            super().handle(named, _Unread(client, unread), addr)

    def count(self) -> bool:
        """Count one request. Answers whether its connection may be kept: not if this worker is to end after it."""
        self.nr += 1
        if self.nr >= self.max_requests and self.alive:
            self.log.info("Autorestarting worker after current request.")
            self.alive: bool = False
        return self.alive


class _Listener:
    """A listener, as far as gunicorn asks one that was closed meanwhile."""

    __slots__ = ("name",)

    def __init__(self, name: Any) -> None:  # noqa: ANN401 - as above
        self.name = name

    def getsockname(self) -> Any:  # noqa: ANN401 - as above
        return self.name


class _Unread(socket.socket):  # type: ignore[misc] # gevent has no types here
    """A connection of which some bytes were read already; they are read again first."""

    def __init__(self, client: socket.socket, unread: bytes) -> None:
        super().__init__(client.family, client.type, client.proto, fileno=client.detach())
        self._unread = unread

    def recv(self, *args: int) -> bytes:
        if self._unread:
            first, self._unread = self._unread[: args[0]], self._unread[args[0] :]
            return first
        return bytes(super().recv(*args))

    def recv_into(self, buffer: memoryview, *args: int) -> int:
        if self._unread:
            first = self.recv(len(buffer))
            buffer[: len(first)] = first
            return len(first)
        return int(super().recv_into(buffer, *args))


def _is_plain(cfg: Any) -> bool:  # noqa: ANN401 - gunicorn has no types
    """Whether this is plain HTTP/1.1, and nothing is set that wants to see or change requests on their way."""
    from tokensvc.wiring import environment  # noqa: PLC0415 - gunicorn's master has no use for all that it imports

    default = Config().settings
    same = (cfg.settings[name].get() == default[name].get() for name in _AS_BY_DEFAULT if name in default)
    return bool(cfg.keepalive and not cfg.is_ssl and "SCRIPT_NAME" not in environment() and all(same))
