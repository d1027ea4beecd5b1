"""Reads a film's size, length and codecs, in a process of its own that has neither keys nor connections.

The reader is a large library in C++ (MediaInfo) and the film a stranger's: what that may do to a process, it does to
one that has a few seconds, a bounded memory, and an empty environment. Whatever goes wrong, the film is just unknown.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

_READER: Final = Path(__file__).with_name("film_reader.py")
_WITHIN_SECONDS: Final = 10
_MOST_PIXELS: Final = 2**31 - 1
_LONGEST_SECONDS: Final = 10_000_000
_LONGEST_CODEC: Final = 32

_CODECS: Final = {
    "avc": "h264",
    "mpeg-4 visual": "mpeg4",
    "mpeg video": "mpeg2video",
    "mpeg audio": "mp3",
    "ac-3": "ac3",
    "e-ac-3": "eac3",
}
"""Names as ImageKit answers them, where MediaInfo has others in more than their case."""


@dataclass(frozen=True, slots=True)
class Film:
    """What is known of a film: pixels, seconds, bits a second; None is unknown."""

    width: int | None = None
    height: int | None = None
    duration: float | None = None
    bit_rate: int | None = None
    video_codec: str | None = None
    audio_codec: str | None = None


def read_film(content: BinaryIO) -> Film:
    """What a film says of itself; `content` is an open file of this machine, whose position is lost."""
    try:
        content.seek(0)
        told = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-I", _READER],
            stdin=content,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            timeout=_WITHIN_SECONDS,
            check=True,
        )
        tracks = json.loads(told.stdout)
        return _film(tracks["General"], tracks["Video"], tracks["Audio"])
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError, AttributeError):
        return Film()


def _film(whole: dict[str, Any], video: dict[str, Any], audio: dict[str, Any]) -> Film:
    width, height = (_number(video.get(name), _MOST_PIXELS) for name in ("width", "height"))
    milliseconds = _number(whole.get("duration"), _LONGEST_SECONDS * 1000) or _number(
        video.get("duration"), _LONGEST_SECONDS * 1000
    )
    bit_rate = _number(whole.get("overall_bit_rate"), _MOST_PIXELS)
    return Film(
        None if width is None or height is None else int(width),
        None if width is None or height is None else int(height),
        None if milliseconds is None else milliseconds / 1000,
        None if bit_rate is None else int(bit_rate),
        _codec(video.get("format")),
        _codec(audio.get("format")),
    )


def _number(value: object, most: float) -> float | None:
    """A number above 0, which MediaInfo now and then gives as a text."""
    number = float(value) if isinstance(value, int | float | str) else 0.0
    return number if 0 < number <= most else None


def _codec(name: object) -> str | None:
    if not isinstance(name, str) or not name.isascii() or not name.isprintable():
        return None
    return _CODECS.get(name.lower(), name.lower())[:_LONGEST_CODEC]
