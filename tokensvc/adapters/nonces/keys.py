"""The keys of the store: `ik{BB}:n:<nonce id>` for a nonce, `ik{BB}:e` for the epoch record of a bucket, and
`ik{BB}:q:<subject id>:…` for what is counted of a subject. `ik{BB}:s` counts what was spent in a bucket in this epoch.

Redis Cluster places a key by the text in braces, so a nonce, the epoch record that guards it and the counts of its
subject share a slot, and a script may use all at once. The counts (all end by themselves):

- `:c`          a sorted set of the calls within the rate's window, by time in microseconds, each with how many it
                counted; an earlier version had a member for each credential, under `:r`, which this one leaves to end
- `:d`          `<days since 1970>:<count>`
- `:o:<epoch>`  a sorted set of the nonces that are outstanding, by the end of their record; one an epoch, because
                after a rotation nobody can spend what was outstanding

A batch's receipt is at `ik{BB}:b:<name>`, in the form of a record that is done, in the bucket of its nonces.

Watermarks are at `ik{BB}:w:<SHA-1 of scope, source and name>`, and `ik{BB}:w` is there while there are any: in every
bucket the same. They end by themselves, too.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from typing import Final

from tokensvc.core.nonces import NonceId

MAX_BUCKETS: Final = 256
_ID: Final = re.compile(r"[A-Za-z0-9_-]{22}")
_CHARACTERS: Final = re.compile(r"[A-Za-z0-9_-]*")


def bucket_of(nonce: NonceId, buckets: int) -> int:
    """The first byte of the nonce's hash, modulo the number of buckets. ValueError if it is no nonce id."""
    if not _ID.fullmatch(nonce):
        raise _no_nonce_id()
    return 0 if buckets == 1 else base64.urlsafe_b64decode(nonce[:4])[0] % buckets


def places_by_bucket(nonces: Sequence[NonceId], buckets: int) -> dict[int, Sequence[int]]:
    """The places of those that are in each bucket, in the order of the buckets. ValueError if one is no nonce id."""
    if buckets == 1:
        if set(map(len, nonces)) != {22} or not _CHARACTERS.fullmatch("".join(nonces)):
            raise _no_nonce_id()
        return {0: range(len(nonces))}
    places: dict[int, list[int]] = {}
    for place, nonce in enumerate(nonces):
        places.setdefault(bucket_of(nonce, buckets), []).append(place)
    return dict(sorted(places.items()))


def stand_in(nonce: NonceId, subject_id: str) -> NonceId:
    """A name in the subject's bucket that no credential has, by which a nonce of another bucket is counted there."""
    place = base64.urlsafe_b64decode(subject_id[:4])[:1]
    digest = hashlib.sha256(b"\0".join((b"tokensvc stand-in", nonce.encode()))).digest()
    return NonceId(base64.urlsafe_b64encode(place + digest[:15]).rstrip(b"=").decode())


def nonce_key(nonce: NonceId, bucket: int) -> str:
    """Where the record of a nonce is."""
    return f"ik{{{bucket:02x}}}:n:{nonce}"


def nonce_keys(nonces: Sequence[NonceId], bucket: int) -> list[str]:
    """The same of many in one bucket."""
    before = nonce_key(NonceId(""), bucket)
    return [before + nonce for nonce in nonces]


def epoch_key(bucket: int) -> str:
    """Where the epoch record of a bucket is."""
    if not 0 <= bucket < MAX_BUCKETS:
        raise ValueError(f"A bucket is a number from 0 to {MAX_BUCKETS - 1}.")
    return f"ik{{{bucket:02x}}}:e"


def _no_nonce_id() -> ValueError:
    return ValueError("A nonce id is 22 URL-safe characters.")
