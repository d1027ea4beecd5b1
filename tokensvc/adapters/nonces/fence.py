"""The epoch record of a bucket: write the first one, start a new epoch, or carry the old one to this server.

All but `renew` do nothing where the record is bound to the executing server already, and answer what is current:
whoever comes second has nothing left to heal. They raise redis-py's errors as they come; `RedisNonces` is
what turns those into outages.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Final, Literal

from tokensvc.adapters.redis_client import Client
from tokensvc.core.errors import Outage
from tokensvc.core.nonces import Chance

from . import scripts
from .keys import epoch_key

_EPOCH: Final = re.compile(r"[A-Za-z0-9_-]{8}")

HIDDEN: Final = "The nonce store hides its master_replid, so a copy of it could not be told from itself."


@dataclass(frozen=True, slots=True)
class Binding:
    """The epoch now on record, whether it holds on this server, and whether this call wrote it."""

    epoch: str
    bound: bool
    written: bool


def choose_epoch(chance: Chance) -> str:
    """A new epoch: 8 URL-safe characters."""
    return base64.urlsafe_b64encode(chance(6)).decode()


def initialise(client: Client, bucket: int, new_epoch: str) -> Binding:
    """Write the first epoch record. One that is there stays as it is, bound to this server or not."""
    return _heal("initialise", client, bucket, new_epoch)


def rotate(client: Client, bucket: int, new_epoch: str) -> Binding:
    """Start a new epoch, unless the record is bound to this server: all that is outstanding becomes stale."""
    return _heal("rotate", client, bucket, new_epoch)


def rebind(client: Client, bucket: int, new_epoch: str) -> Binding:
    """Carry the epoch over to this server; `new_epoch` is only for when there is none.

    Only for who knows that no write was lost: its own store, restarted by itself, with `appendfsync always`
    and a file that was read to its end. Anywhere else this is how a credential is spent twice.
    """
    return _heal("rebind", client, bucket, new_epoch)


def renew(client: Client, bucket: int, new_epoch: str, *, ended: str) -> Binding:
    """Start a new epoch though the record is bound to this server, if `ended` is still the current one.

    For a server that is itself and has gone back in time.
    """
    return _heal("renew", client, bucket, new_epoch, ended)


def _heal(
    how: Literal["initialise", "rotate", "rebind", "renew"], client: Client, bucket: int, *epochs: str
) -> Binding:
    if not all(_EPOCH.fullmatch(epoch) for epoch in epochs):
        raise ValueError("An epoch is 8 URL-safe characters.")
    word, *epoch = scripts.HEAL.run(client, [epoch_key(bucket)], [how, *epochs])
    if word not in {"bound", "written", "fenced"}:
        raise Outage(HIDDEN)
    return Binding(epoch[0], bound=word != "fenced", written=word == "written")
