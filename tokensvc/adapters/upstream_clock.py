"""The clock of a web server, by the Date of its answer: whole seconds, and whatever the answer is.

Bounded as a whole by a thread that is left behind: a name's look-up has no time-out of its own.
"""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

PATIENCE_SECONDS: Final = 5.0


class NoDate(Exception):  # noqa: N818 - an answer
    """There is no answer, or none with a date; the text says which."""


def skew(url: str, *, wall: Callable[[], float], patience: float = PATIENCE_SECONDS) -> float:
    """Our clock less the server's, in seconds: the least that is certain. `wall` is ours."""
    found: list[float] = []
    reasons = ["no answer in time"]

    def ask() -> None:
        try:
            found.append(_skew(url, wall, patience))
        except NoDate as exc:
            reasons.append(str(exc))
        except (OSError, ValueError, http.client.HTTPException) as exc:
            reasons.append(f"{type(exc).__name__} instead of an answer")

    asking = threading.Thread(target=ask, name="ask for the date", daemon=True)
    asking.start()
    asking.join(patience)
    if not found:
        raise NoDate(reasons[-1])
    return found[0]


def _skew(url: str, wall: Callable[[], float], patience: float) -> float:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    with contextlib.closing(kind(parts.hostname or "", parts.port, timeout=patience)) as connection:
        before = wall()
        connection.request("HEAD", parts.path or "/")
        date, after = connection.getresponse().getheader("Date"), wall()
    if date is None:
        raise NoDate("its answer has no Date")
    told = parsedate_to_datetime(date).timestamp()  # it says the second that has begun
    if told + 1 < before:
        return before - told - 1
    return after - told if told > after else 0.0
