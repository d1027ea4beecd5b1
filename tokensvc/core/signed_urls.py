"""ImageKit's signed URLs, by which a private file is served: `?ik-t=<expiry>&ik-s=<HMAC-SHA1 in hex>`.

Signed is the URL from behind the URL endpoint, as it is written, with the expiry's digits after it. A URL without
`ik-t` never expires, and is signed as if it had 9999999999.
"""

from __future__ import annotations

import re
from typing import Final

from .keys import AcceptedKeys
from .mac import hmac_sha1, same

NEVER: Final = "9999999999"

_EXPIRY = re.compile(r"[0-9]{1,12}", re.ASCII)
_SIGNATURE, _TIME = "ik-s", "ik-t"


def sign(private_key: bytes, path: str, expiry: str = NEVER) -> str:
    """Return `ik-s` for a path, with its query, from behind the URL endpoint's last slash."""
    return hmac_sha1(private_key, f"{path}{expiry}".encode()).hex()


def is_signed(keys: AcceptedKeys, account: str, path: str, query: str, now: int) -> bool:
    """Whether one of the account's keys has signed this path and query, until later than `now` (Unix seconds)."""
    signed, found = [], {_SIGNATURE: "", _TIME: NEVER}
    for part in query.split("&") if query else ():
        name, _, value = part.partition("=")
        if name not in found:
            signed.append(part)
        elif found[name] not in ("", NEVER):
            return False
        else:
            found[name] = value
    expiry = found[_TIME]
    if not _EXPIRY.fullmatch(expiry) or now >= int(expiry):
        return False
    whole = f"{path}?{'&'.join(signed)}" if signed else path
    presented = found[_SIGNATURE].encode("utf-8", "surrogatepass")
    pairs = [pair for pair in keys.pairs if pair.account == account and pair.accepted(now)]
    return any(same(sign(pair.secret_bytes, whole, expiry).encode(), presented) for pair in pairs)
