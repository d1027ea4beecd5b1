"""One connection, as long as its requests are plain.

Its greenlet sleeps between requests on a watcher that stays where it is: to ask anew for each request whether there is
something to read, and by a timer of its own, would cost as much as reading it. It waits there already while its answer
is in the outbox, and is woken only if that could not leave at once.
"""

from __future__ import annotations

import errno
import io
from typing import Any, Final, Protocol

from gevent import GreenletExit, Timeout, get_hub, getcurrent, socket
from gunicorn.http.body import Body, LengthReader
from gunicorn.http.unreader import SocketUnreader
from gunicorn.http.wsgi import base_environ

from .answer import Answer
from .heads import MOST_BYTES, Heads, NotPlain
from .outbox import Outbox

_READ: Final = 1
_MOST_AT_ONCE: Final = 65536
"""Bytes of a body that is read as a whole: a batch of a hundred uploads has less."""

_WENT_AWAY: Final = (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN)


class Server(Protocol):
    """The worker, for a connection."""

    cfg: Any
    log: Any
    wsgi: Any
    outbox: Outbox

    def count(self) -> bool:
        """Count one request, and answer whether its connection may be kept."""

    def handle_error(self, asked: object, client: socket.socket, addr: object, exc: Exception) -> None:
        """Tell of an error of ours, and answer with it."""


class Connection:
    """To be made and used in the greenlet that serves it."""

    def __init__(self, server: Server, heads: Heads, here: Any, client: socket.socket, addr: Any) -> None:  # noqa: ANN401 - addresses of their family
        self._server, self._heads, self._client, self._addr = server, heads, client, addr
        self._named_by_host = isinstance(here, str | bytes)
        self._environ: dict[str, Any] = {
            **base_environ(server.cfg),
            "wsgi.multithread": True,
            "wsgi.url_scheme": "http",
            "gunicorn.socket": client,
            "SCRIPT_NAME": "",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "SERVER_NAME": "" if self._named_by_host else here[0],
            "SERVER_PORT": "" if self._named_by_host else str(here[1]),
        }
        if isinstance(addr, tuple):
            self._environ |= {"REMOTE_ADDR": addr[0], "REMOTE_PORT": str(addr[1])}
        else:
            self._environ["REMOTE_ADDR"] = addr.decode() if isinstance(addr, bytes) else addr
        self._hub = get_hub()
        self._me = getcurrent()
        self._waits = False
        self._unsent, self._is_stuck = b"", False
        self._until = 0.0
        self._readable = self._hub.loop.io(client.fileno(), _READ)
        self._timer = self._hub.loop.timer(server.cfg.keepalive)

    def serve(self) -> bytes | None:
        """Answer until a request is not plain, and return what was read of it; None if the connection is at its end."""
        self._timer.start(self._on_time)
        try:
            return self._serve()
        except OSError as exc:
            if exc.errno not in _WENT_AWAY:
                self._server.log.exception("Socket error processing request.")
            return None
        except (GreenletExit, SystemExit):
            return None
        finally:
            self._waits = False
            if self._unsent:  # it is ended in the very turn of its answer
                self._server.outbox.empty()
            for watcher in (self._readable, self._timer):
                watcher.stop()
                watcher.close()

    def _serve(self) -> bytes | None:
        data = b""
        while True:
            if not data:
                self._until = self._hub.loop.now() + self._server.cfg.keepalive
                data = self._read()
                if not data:
                    return None
            elif self._unsent:
                self._send_rest()
            head = data.find(b"\r\n\r\n")
            try:
                asked = self._heads.environ(data[:head]) if head >= 0 else None
            except NotPlain:
                asked = None
            if asked is None:
                return data
            begun, length = data[head + 4 :], int(asked.get("CONTENT_LENGTH", 0))
            if length <= _MOST_AT_ONCE:
                begun = self._read_on(begun, length)
            if len(begun) >= length:
                keeps, data = self._answer(asked, io.BytesIO(begun[:length])), begun[length:]
            else:
                body = _Coming(self._client, begun, length)
                keeps, data = (
                    self._answer(asked, body.stream) and body.used_up(self._server.cfg.keepalive),
                    body.read_ahead(),
                )
            if not keeps:
                return None

    def _read_on(self, begun: bytes, length: int) -> bytes:
        """A small body, which may come in packets of its own; what there is of it if no more has come in time."""
        while len(begun) < length and (more := self._read(length - len(begun))):
            begun += more
        return begun

    def _read(self, most: int = MOST_BYTES) -> bytes:
        """What comes next; nothing at the end, or if nothing has come in time."""
        came = self._wait()
        while self._unsent:
            self._send_rest()
            self._until = self._hub.loop.now() + self._server.cfg.keepalive
            came = self._wait()
        if came:
            return bytes(self._client.recv(most))
        self._client.setblocking(False)  # if the loop stood still, time and bytes may have come together
        try:
            return bytes(self._client.recv(most))
        except BlockingIOError:
            return b""
        finally:
            self._client.setblocking(True)

    def _wait(self) -> bool:
        """Until there is something to read, or not in time, or an answer could not leave."""
        if self._is_stuck:
            return False
        if not self._readable.active:
            self._readable.start(self._on_readable)
        self._waits = True
        return bool(self._hub.switch())

    def leave(self) -> None:
        """Send what is unsent, as the outbox wants it. What does not go at once, or at all, is for the greenlet."""
        self._client.setblocking(False)
        try:
            self._unsent = self._unsent[self._client.send(self._unsent) :]
        except OSError:
            pass  # it finds the same
        finally:
            self._client.setblocking(True)
        if self._unsent:
            self._is_stuck = True
            self._hub.loop.run_callback(self._on_stuck)

    def _put_out(self, answer: bytes) -> None:
        self._unsent = answer
        self._server.outbox.put(self)

    def _send_rest(self) -> None:
        """Of an answer before the next one, however long its reader takes."""
        self._server.outbox.empty()  # it may be there yet
        rest, self._unsent, self._is_stuck = self._unsent, b"", False
        if rest:
            self._client.sendall(rest)

    def _on_stuck(self) -> None:
        if self._waits and self._is_stuck:
            self._waits = False
            self._me.switch(False)

    def _on_readable(self) -> None:
        if self._waits:
            self._waits = False
            self._me.switch(True)
        else:  # the next request comes before this one's answer: it has to wait, and must not turn the loop meanwhile
            self._readable.stop()

    def _on_time(self) -> None:
        left = self._until - self._hub.loop.now()
        if self._waits and left <= 0:
            self._waits = False
            self._me.switch(False)
            return
        self._timer.close()
        self._timer = self._hub.loop.timer(left if left > 0 else self._server.cfg.keepalive)
        self._timer.start(self._on_time)

    def _answer(self, asked: dict[str, str], body: io.BytesIO | Body) -> bool:
        """Answer one request. Answers whether the connection may be kept."""
        environ = {**self._environ, **asked, "wsgi.input": body}
        if self._named_by_host:
            name, *port = asked["HTTP_HOST"].split(":")
            environ["SERVER_NAME"], environ["SERVER_PORT"] = name, port[0] if port else "80"
        answer = Answer(self._client, self._server.cfg, environ, self._put_out, may_keep=self._server.count())
        try:
            pieces = self._server.wsgi(environ, answer.start)
            try:
                answer.send(pieces, int(self._hub.loop.now()))
            finally:
                if hasattr(pieces, "close"):
                    pieces.close()
        except OSError:
            raise
        except Exception as exc:
            if self._unsent:
                self._send_rest()
            if answer.has_begun:
                self._server.log.exception("Error handling request")
            else:
                self._server.handle_error(answer.asked, self._client, self._addr, exc)
            return False
        return answer.keeps


class _Coming:
    """A body of a known length, of which some bytes are here; gunicorn's, which is read as the application asks for it.

    It may be a large one, or slow.
    """

    def __init__(self, client: socket.socket, begun: bytes, length: int) -> None:
        self._unreader = SocketUnreader(client)
        self._unreader.unread(begun)
        self._reader = LengthReader(self._unreader, length)
        self.stream = Body(self._reader)

    def used_up(self, seconds: float) -> bool:
        """Read what the application left of it, if it comes in time. Answers whether the next request begins there."""
        if not self._reader.length:
            return not self.stream.failed
        with Timeout(seconds, False):
            while not self.stream.failed:
                if not self.stream.read(_MOST_AT_ONCE):
                    return True
        return False

    def read_ahead(self) -> bytes:
        """What has come behind it."""
        return bytes(self._unreader.take_buffered())
