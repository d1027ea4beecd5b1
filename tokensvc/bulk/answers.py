"""What an answer of an upload endpoint means for who has many files to upload: done, try again, or never."""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Final

from .wire import Answer

_STORED: Final = (200, 202)
_AGAIN: Final = frozenset({408, 425, 429})
_OUR_SIDE: Final = 500

_OF_THE_CREDENTIAL: Final = re.compile(
    r"expire parameter|expired token|has been used before|invalid signature|has invalid token", re.IGNORECASE
)
"""ImageKit's texts, where no code of ours comes along."""

_TAKEN: Final = re.compile(r"file with the same name already exists", re.IGNORECASE)


class Meaning(Enum):
    """Of one answer."""

    STORED = auto()
    TAKEN = auto()
    """There is a file of that name."""
    SPOILT = auto()
    """The credential is not good, or no longer: a new one may be."""
    LATER = auto()
    """It could not be answered now; it is not known what was done."""
    NEVER = auto()


def meaning_of(answer: Answer) -> Meaning:
    """Read status, code and text."""
    if answer.status in _STORED:
        return Meaning.STORED
    if answer.status in _AGAIN or answer.status >= _OUR_SIDE:
        return Meaning.LATER
    code, message = answer.headers.get("x-tokensvc-code", ""), str(answer.body.get("message", ""))
    if _TAKEN.search(message):
        return Meaning.TAKEN
    if code.startswith("credential.") or (not code and _OF_THE_CREDENTIAL.search(message)):
        return Meaning.SPOILT
    return Meaning.NEVER


def in_words(answer: Answer) -> str:
    """What it says, for people."""
    said = [str(answer.body[name]).strip() for name in ("message", "help") if answer.body.get(name)]
    return " ".join(said) or f"status {answer.status}"
