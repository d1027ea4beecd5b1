"""The one rule of time, for both credential versions.

A credential is good in `[issued_at, expires_at)`, with `LEEWAY_SECONDS` of clock skew forgiven at both ends, and its
life is at most `MAX_LIFETIME_SECONDS`. A record outlives what it protects: see `record_until`. Whoever changes the
leeway changes it here, and both the verification and the life of records follow (a record that dies before the
leeway ends is a replay window: that was a real incident at PyPI).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .errors import Code, Refusal

MAX_LIFETIME_SECONDS: Final = 3600
"""ImageKit's own bound for both versions."""

LEEWAY_SECONDS: Final = 5
"""Clock skew forgiven between the machine that issued and the one that verifies."""

MARGIN_SECONDS: Final = 5
"""Extra life of a record, past the last second in which its credential could be accepted."""

_LONGER_THAN_ANY_DURATION: Final = 1_000_000_000
_DIGITS_OF_EXPIRES_AT: Final = 10
"""Unix seconds have ten digits from 2001 to 2286."""

_FIRST_OF_SO_MANY: Final = 10 ** (_DIGITS_OF_EXPIRES_AT - 1)


@dataclass(frozen=True, slots=True)
class Window:
    """When a credential is good: from `issued_at` until before `expires_at`, both Unix seconds."""

    issued_at: int
    expires_at: int

    @property
    def lifetime(self) -> int:
        """Seconds from issue to expiry."""
        return self.expires_at - self.issued_at

    @property
    def record_until(self) -> int:
        """Unix time until which the record of this credential must be kept."""
        return self.expires_at + LEEWAY_SECONDS + MARGIN_SECONDS

    def earlier(self, seconds: int) -> Window:
        """The same window moved back in time."""
        return Window(self.issued_at - seconds, self.expires_at - seconds)


def verify_window(window: Window, now: int) -> None:
    """Raise a refusal unless a credential with this window may be accepted at `now`."""
    if not _FIRST_OF_SO_MANY <= window.expires_at < 10 * _FIRST_OF_SO_MANY or window.issued_at <= 0:
        raise Refusal(Code.CREDENTIAL_INVALID, "The credential's times are not Unix seconds.")
    if not 0 < window.lifetime <= MAX_LIFETIME_SECONDS:
        raise Refusal(
            Code.CREDENTIAL_INVALID,
            f"The credential's lifetime is {window.lifetime} s; it must be from 1 to {MAX_LIFETIME_SECONDS} s.",
        )
    if window.issued_at > now + LEEWAY_SECONDS:
        raise Refusal(
            Code.CREDENTIAL_INVALID,
            f"The credential was issued {window.issued_at - now} s in the future.",
            "Set the clock of the machine that issued it.",
        )
    if now >= window.expires_at + LEEWAY_SECONDS:
        raise Refusal(
            Code.CREDENTIAL_EXPIRED,
            f"The credential expired {now - window.expires_at} s ago.",
            "Fetch a new credential for each upload, just before it starts.",
        )


def verify_expiry(expires_at: int, now: int) -> Window:
    """Apply the same rule to a v1 credential, which says only when it ends, and return its window.

    As it must live for an hour at most and cannot be from the future, it may end at most an hour from now: ImageKit's
    "less than 1 hour into the future". Its time of issue is unknown; `now` stands for it.
    """
    if expires_at > now + MAX_LIFETIME_SECONDS:
        raise Refusal(
            Code.CREDENTIAL_INVALID,
            f"expire is {expires_at - now} s ahead; it must be at most {MAX_LIFETIME_SECONDS} s.",
            "Set the clock of the machine that issued it, and send expire exactly as it was issued.",
            field="expire",
        )
    window = Window(min(now, expires_at - 1), expires_at)
    verify_window(window, now)
    return window


def choose_window(now: int, *, lifetime: int, asked_expires_at: int | None = None) -> Window:
    """Return the window to sign: the profile's `lifetime`, or a client's own absolute time, exactly or not at all.

    A client that sent `expire` will upload with that very value (Android <= 2.0.0), so it is never changed.
    """
    if asked_expires_at is None:
        return Window(now, now + lifetime)
    ahead = asked_expires_at - now
    if ahead <= 0:
        raise _expire_refusal(f"expire is {-ahead} s in the past.")
    if ahead > lifetime:
        raise _expire_refusal(f"expire is {ahead} s ahead; this profile allows at most {lifetime} s.")
    return Window(now, asked_expires_at)


def parse_expire(text: str, now: int) -> int:
    """Read a wire `expire`: ten canonical decimal digits, or a refusal that says what it looks like instead.

    `int()` would also take `017…`, `+17…`, `1_7…` and other scripts' digits; two spellings of one v1 credential would
    be two uploads.
    """
    if not (text.isascii() and text.isdigit()):
        raise _expire_refusal("expire is not a whole number of Unix seconds.")
    if len(text) > _DIGITS_OF_EXPIRES_AT + 2:
        is_milliseconds = len(text) == _DIGITS_OF_EXPIRES_AT + 3
        raise _expire_refusal(
            f"expire {'looks like milliseconds; divide by 1000' if is_milliseconds else 'is too large'}."
        )
    if text[0] == "0" and len(text) > 1:
        raise _expire_refusal("expire starts with a zero; write it without.")
    value = int(text)
    if value <= MAX_LIFETIME_SECONDS * 24:
        raise _expire_refusal(f"expire is {value}, which looks like a duration.")
    if len(text) != _DIGITS_OF_EXPIRES_AT:
        raise _expire_refusal(f"expire is {'in the past' if value < now else 'too far ahead'}.")
    return value


def parse_lifetime(seconds: int, *, at_most: int) -> int:
    """Check a v2 client's `expire`, which is a duration in seconds; the profile's `lifetime` is the cap."""
    if seconds > _LONGER_THAN_ANY_DURATION:
        raise Refusal(
            Code.EXPIRE_INVALID,
            "expire looks like a point in time; for a v2 credential it is a duration in seconds.",
            f"Send a number from 1 to {at_most}, or leave expire out.",
            field="expire",
        )
    if not 1 <= seconds <= at_most:
        raise Refusal(
            Code.EXPIRE_INVALID,
            f"expire is {seconds} s; this profile allows 1 to {at_most} s.",
            f"Send a number from 1 to {at_most}, or leave expire out.",
            field="expire",
        )
    return seconds


def _expire_refusal(detail: str) -> Refusal:
    return Refusal(
        Code.EXPIRE_INVALID,
        detail,
        "Send an absolute time in Unix seconds, such as now + 1800, or leave expire out and use the one in the answer.",
        field="expire",
    )
