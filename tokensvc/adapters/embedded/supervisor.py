"""Keeps one server running on one directory, and says when it may be relied on.

Signals are blocked and waited for, never handled: a stop that comes in the middle of a start is acted on at the next
wait, and nothing ever runs between two lines of this file.
"""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import redis

from tokensvc.adapters.nonces import fence
from tokensvc.adapters.redis_client import connect
from tokensvc.core.errors import Outage
from tokensvc.core.nonces import Chance

from . import load
from .configuration import users_acl, valkey_conf
from .home import Home, StoreFault, keep_passwords, url, write
from .orphan import claim
from .server import Adopted, Child, Identity, Server, identify

BUCKET: Final = 0
"""One server needs one bucket."""

ORPHAN_WAIT_SECONDS: Final = 10.0
STOP_WAIT_SECONDS: Final = 10.0
FIRST_PAUSE_SECONDS: Final = 0.05
LONGEST_PAUSE_SECONDS: Final = 1.0
MAX_DEATHS: Final = 5
DEATHS_WITHIN_SECONDS: Final = 10.0
SOUND_RUN_SECONDS: Final = 0.5
"""Who served for so long did not die of its own start, and is not counted: a crash loop is what giving up is for."""

_LOOK_AGAIN_SECONDS: Final = 0.01
_WATCH_SECONDS: Final = 0.02
_STOPS: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


class Stopped(BaseException):
    """We were asked to stop. Not an Exception: nothing that deals with faults may take it for one."""


def block_signals() -> None:
    """From now on signals wait for `pause`. Do this first, so that none is lost."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {*_STOPS, signal.SIGCHLD})


def pause(seconds: float) -> None:
    """Wait for so long, or until a child ends. Raises Stopped when asked to stop."""
    caught = signal.sigtimedwait({*_STOPS, signal.SIGCHLD}, seconds)
    if caught and caught.si_signo in _STOPS:
        raise Stopped


class Supervisor:
    """Runs the server of a directory that is prepared, and whose lock we hold."""

    __slots__ = (
        "_chance",
        "_client",
        "_deaths",
        "_home",
        "_orphan_wait",
        "_server",
        "_server_lock",
        "_stop_wait",
        "_tell",
    )

    def __init__(
        self,
        home: Home,
        *,
        chance: Chance,
        tell: Callable[[str], None],
        orphan_wait: float = ORPHAN_WAIT_SECONDS,
        stop_wait: float = STOP_WAIT_SECONDS,
    ) -> None:
        """Write the server's configuration anew. `tell` gets what an operator should know, a sentence at a time."""
        self._home = home
        self._chance = chance
        self._tell = tell
        self._orphan_wait = orphan_wait
        self._stop_wait = stop_wait
        self._deaths: deque[float] = deque()
        self._server: Server | None = None
        self._server_lock: int | None = None
        home.ready.unlink(missing_ok=True)
        keep_passwords(home, chance)
        write(home.users, users_acl({user: home.password_file(user).read_text() for user in ("app", "sup")}))
        write(home.configuration, valkey_conf(home))
        self._client = connect(url(home.path, user="sup"), connections=1)

    def run(self, on_ready: Callable[[], None]) -> None:
        """Serve until asked to stop, and leave nothing running. StoreFault if it will not start, or not any more."""
        try:
            server = self._start()
            on_ready()
            while True:
                self._watch(server)
                server = self._start_again()
        except Stopped:
            pass
        finally:
            self._stop()

    def _watch(self, server: Server) -> None:
        """Return when the server has died, with the death counted if it was an early one."""
        began = time.monotonic()
        while not server.ended():
            pause(_WATCH_SECONDS)
        self._home.ready.unlink(missing_ok=True)
        self._tell(f"The store's server (process {server.pid}) died; it is being started again.")
        if time.monotonic() - began >= SOUND_RUN_SECONDS:
            self._deaths.clear()
        else:
            self._deaths.append(time.monotonic())

    def _start_again(self) -> Server:
        while True:
            while self._deaths and self._deaths[0] < time.monotonic() - DEATHS_WITHIN_SECONDS:
                self._deaths.popleft()
            if len(self._deaths) >= MAX_DEATHS:
                raise StoreFault(
                    f"The store's server died {MAX_DEATHS} times within {DEATHS_WITHIN_SECONDS:.0f} s, "
                    f"so it is not started any more. {load.why_not(self._home)}"
                )
            until = time.monotonic() + min(FIRST_PAUSE_SECONDS * 2 ** len(self._deaths), LONGEST_PAUSE_SECONDS)
            while (left := until - time.monotonic()) > 0:
                pause(left)
            try:
                return self._start()
            except StoreFault:
                self._deaths.append(time.monotonic())

    def _start(self) -> Server:
        """Return a server that has loaded everything and may be relied on. StoreFault if it ended instead."""
        if self._server_lock is None:
            claimed = claim(self._home, self._client, wait_seconds=self._orphan_wait, pause=pause)
            if isinstance(claimed, Adopted):
                self._tell(f"The store's server (process {claimed.pid}) was found running and taken over.")
                self._server = claimed
                self._settle(claimed, whole=lambda: False)
                return claimed
            self._server_lock = claimed
        load.begin(self._home)
        self._server = Child(self._home, self._server_lock)
        self._settle(self._server, whole=lambda: load.is_whole(self._home))
        return self._server

    def _settle(self, server: Server, whole: Callable[[], bool]) -> None:
        """Wait for the load to end, and bind the epoch to this server: only then may a nonce be redeemed.

        Nothing lost: the old epoch goes on. Otherwise a new one begins, and what was out is refused. (Both leave an
        epoch alone that is bound to this very server, as that of an adopted one is.)
        """
        while not server.ended():
            try:
                self._client.ping()  # refused until the load is over, unlike what `identify` asks
                identity = identify(self._client)
                heal = fence.rebind if whole() else fence.rotate
                heal(self._client, BUCKET, fence.choose_epoch(self._chance))
            except (redis.ConnectionError, redis.TimeoutError):
                pause(_LOOK_AGAIN_SECONDS)
            except (redis.RedisError, Outage) as error:
                raise StoreFault(f"The store's server refuses its supervisor: {error}") from None
            else:
                load.judged(self._home)
                self._announce(identity)
                return
        raise StoreFault(load.why_not(self._home))

    def _announce(self, identity: Identity) -> None:
        write(self._home.served_by, identity.run_id)
        write(self._home.ready, str(os.getpid()))

    def _stop(self) -> None:
        """End the server as it wants to be ended; by force only when it does not, which loses nothing either."""
        self._home.ready.unlink(missing_ok=True)
        self._client.close()
        server = self._server
        if server is None:
            return
        server.signal(signal.SIGTERM)
        until = time.monotonic() + self._stop_wait
        while not server.ended():
            if time.monotonic() >= until:
                self._tell(f"The store's server (process {server.pid}) did not end when asked to, and was killed.")
                server.signal(signal.SIGKILL)
                until = float("inf")
            signal.sigtimedwait({signal.SIGCHLD}, _WATCH_SECONDS)
