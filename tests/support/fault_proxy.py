"""A proxy from one unix socket to another that breaks things at a chosen command.

The decisive fault is `Fault.DROP_REPLY`: the command is executed, and nobody hears of it. It is for clients that send
one command at a time and wait, as redis-py does outside of pipelines: what is read at once is one command, or one
reply.
"""

from __future__ import annotations

import contextlib
import selectors
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable
from enum import Enum, auto
from pathlib import Path
from types import TracebackType
from typing import Self

_CHUNK = 1 << 20


def _always(_k: int) -> bool:
    return True


class Fault(Enum):
    """What happens to a matching command."""

    DROP_REPLY = auto()
    """It is executed; the connection is cut instead of its reply."""

    BLACK_HOLE = auto()
    """It is executed; its reply never comes, and the connection stays open."""

    STALL = auto()
    """It is not executed; no reply comes, and the connection stays open."""

    RESET = auto()
    """It is not executed; the connection is cut."""


class FaultProxy:
    """Listens on `socket` and passes everything on to `upstream`, but for what `inject` says."""

    def __init__(self, upstream: Path) -> None:
        self.upstream = upstream
        self.folder = Path(tempfile.mkdtemp(prefix="proxy-"))
        self.socket = self.folder / "s.sock"
        self.injected = 0
        """How often the fault was injected since `inject`."""
        self._lock = threading.Lock()
        self._fault: Fault | None = None
        self._matching = b""
        self._when: Callable[[int], bool] = _always
        self._seen = 0
        self._closing = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.socket))
        self._listener.listen(512)
        self._listener.settimeout(0.05)
        self._threads = [threading.Thread(target=self._listen, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        """For `redis_client.connect`."""
        return f"unix://{self.socket}"

    def inject(self, fault: Fault, *, matching: bytes, when: Callable[[int], bool] | None = None) -> None:
        """From now on break the k-th command that contains `matching` (k from 1) if `when(k)`, or each."""
        with self._lock:
            self._fault, self._matching, self._when = fault, matching, when or _always
            self._seen = self.injected = 0

    def heal(self) -> None:
        """From now on pass everything on."""
        with self._lock:
            self._fault = None

    def _fault_for(self, command: bytes) -> Fault | None:
        with self._lock:
            if self._fault is None or self._matching not in command:
                return None
            self._seen += 1
            if not self._when(self._seen):
                return None
            self.injected += 1
            return self._fault

    def _listen(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            client.setblocking(True)
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, contextlib.suppress(OSError):
            server.connect(str(self.upstream))
            self._pass_on(client, server)

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        fault: Fault | None = None
        with selectors.DefaultSelector() as ready:
            ready.register(client, selectors.EVENT_READ)
            ready.register(server, selectors.EVENT_READ)
            while not self._closing.is_set():
                for key, _ in ready.select(0.05):
                    came = key.fileobj.recv(_CHUNK)  # type: ignore[union-attr]
                    if not came:
                        return
                    if key.fileobj is client:
                        fault = self._fault_for(came)
                        if fault is Fault.RESET:
                            return
                        if fault is not Fault.STALL:
                            server.sendall(came)
                    elif fault is Fault.DROP_REPLY:
                        return
                    elif fault is None:
                        client.sendall(came)

    def close(self) -> None:
        """Cut every connection and stop listening."""
        self._closing.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()
        shutil.rmtree(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
