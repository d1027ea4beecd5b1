"""A proxy to a unix socket, from one or from a port, that breaks things at a chosen command.

The decisive fault is `Fault.DROP_REPLY`: the command is executed, and nobody hears of it. It is for clients that send
one command at a time and wait, as redis-py does outside of pipelines: what is read at once is one command, or one
reply. (Of scripts that go together all share the fault.)
"""

from __future__ import annotations

import collections
import contextlib
import random
import selectors
import shutil
import socket
import struct
import tempfile
import threading
from collections.abc import Callable, Sequence
from enum import Enum, auto
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_CHUNK: Final = 1 << 20
_SLICE_SECONDS: Final = 0.0005
_LATENCY_SECONDS: Final = (0.05, 0.5)
_RESET_AT_ONCE: Final = struct.pack("ii", 1, 0)


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
    """It is not executed; the connection is cut, over TCP by a reset."""

    HALF_OPEN = auto()
    """It is not executed; the server's end is closed, and whoever asked is not told."""

    LATENCY = auto()
    """It is executed; its reply comes after 50 to 500 ms, which is too late for some."""

    SLICE = auto()
    """It is executed; its reply comes byte by byte."""


class FaultProxy:
    """Passes everything on to `upstream`, but for what `inject` says. It listens on `socket`, or with `tcp` on a port.

    `upstream` may be changed; connections that are there stay with the old one until `cut`.
    """

    def __init__(self, upstream: Path, *, tcp: bool = False) -> None:
        self.upstream = upstream
        self.folder = Path(tempfile.mkdtemp(prefix="proxy-"))
        self.socket = self.folder / "s.sock"
        self.injected = 0
        """How often a fault was injected since `inject`."""
        self.injected_of: collections.Counter[Fault] = collections.Counter()
        """The same, by kind."""
        self._lock = threading.Lock()
        self._faults: Sequence[Fault] = ()
        self._matching = b""
        self._when: Callable[[int], bool] = _always
        self._seen = 0
        self._closing = threading.Event()
        self._ends: set[socket.socket] = set()
        if tcp:
            self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
            self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}"
        else:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(self.socket))
            self._listener.listen(512)
            self.url = f"unix://{self.socket}"
        self._listener.settimeout(0.05)
        self._threads = [threading.Thread(target=self._listen, daemon=True)]
        self._threads[0].start()

    def inject(self, *faults: Fault, matching: bytes, when: Callable[[int], bool] | None = None) -> None:
        """From now on break the k-th command that contains `matching` (k from 1) if `when(k)`, or each.

        Of several faults it is each in turn.
        """
        with self._lock:
            self._faults, self._matching, self._when = faults, matching, when or _always
            self._seen = self.injected = 0
            self.injected_of.clear()

    def heal(self) -> None:
        """From now on pass everything on."""
        with self._lock:
            self._faults = ()

    def cut(self) -> None:
        """End every connection, as if all had been idle for too long."""
        with self._lock:
            for end in self._ends:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _fault_for(self, command: bytes) -> Fault | None:
        with self._lock:
            if not self._faults or self._matching not in command:
                return None
            self._seen += 1
            if not self._when(self._seen):
                return None
            fault = self._faults[self.injected % len(self._faults)]
            self.injected += 1
            self.injected_of[fault] += 1
            return fault

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
            with self._lock:
                self._ends.add(client)
            try:
                server.connect(str(self.upstream))
                self._pass_on(client, server)
            finally:
                with self._lock:
                    self._ends.remove(client)

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        fault: Fault | None = None
        with selectors.DefaultSelector() as ready:
            ready.register(client, selectors.EVENT_READ)
            ready.register(server, selectors.EVENT_READ)
            while not self._closing.is_set():
                for key, _ in ready.select(0.05):
                    came = key.fileobj.recv(_CHUNK)  # type: ignore[union-attr] # sockets alone are registered
                    if not came:
                        return
                    if key.fileobj is server:
                        if fault is Fault.DROP_REPLY:
                            return
                        self._reply(client, came, fault)
                        continue
                    fault = self._fault_for(came)
                    if fault is Fault.RESET:
                        _reset(client)
                        return
                    if fault is Fault.HALF_OPEN:
                        ready.unregister(server)
                        server.close()
                    elif fault is not Fault.STALL:
                        server.sendall(came)

    def _reply(self, client: socket.socket, came: bytes, fault: Fault | None) -> None:
        if fault is Fault.BLACK_HOLE:
            return
        if fault is Fault.LATENCY:
            self._closing.wait(random.uniform(*_LATENCY_SECONDS))
        if fault is not Fault.SLICE:
            client.sendall(came)
            return
        for place in range(len(came)):
            client.sendall(came[place : place + 1])
            self._closing.wait(_SLICE_SECONDS)

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


def _reset(client: socket.socket) -> None:
    """Have its end be a reset, where there is one."""
    if client.family == socket.AF_INET:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_ONCE)
