"""What the workers of the service do with an embedded store, and looking at one from outside."""

from __future__ import annotations

import itertools
import os
import secrets
import time
from pathlib import Path
from typing import Final

from tests.support.processes import until
from tokensvc.adapters.embedded import url
from tokensvc.adapters.embedded.home import Home
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.adapters.redis_client import connect
from tokensvc.core.nonces import NonceId, nonce_id
from tokensvc.ports import Outcome

LIFETIME_SECONDS: Final = 600
_numbers = itertools.count()


class Service:
    """What the workers of the service do with a store: record and redeem."""

    def __init__(self, directory: Path, *, connections: int = 2) -> None:
        self._client = connect(url(directory), connections=connections)
        self.nonces = RedisNonces(self._client, chance=os.urandom, on_fence="wait")

    def issue(self) -> NonceId:
        """A new nonce, recorded."""
        nonce = nonce_id("default", "v1", f"{secrets.token_hex(8)} {next(_numbers)}".encode())
        kept_until = int(time.time()) + LIFETIME_SECONDS
        assert self.nonces.record(nonce, grant="g", until=kept_until, request=secrets.token_urlsafe(16)).recorded
        return nonce

    def redeem(self, nonce: NonceId) -> Outcome:
        """What a new request to redeem comes to."""
        return self.nonces.redeem(nonce, request=secrets.token_urlsafe(16)).outcome

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()


def pid_of(file: Path) -> int:
    """The process noted in a file; 0 while there is none."""
    try:
        return int(file.read_text())
    except (FileNotFoundError, ValueError):
        return 0


def ready_again(home: Home, *, after: int) -> float:
    """Wait until another server than `after` may be relied on; the seconds that took."""
    return until(lambda: home.ready.exists() and pid_of(home.pid_file) not in {0, after})
