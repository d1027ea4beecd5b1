"""JSON's text by an encoder that is made once.

`json.JSONEncoder.encode` makes a new one for each text, and that takes as long as a short text itself.
"""

from __future__ import annotations

from collections.abc import Callable
from json import encoder
from typing import Any


def text_maker(*, default: Callable[[Any], Any] | None = None) -> Callable[[Any], str]:
    """What turns a value into plain ASCII, as `json.dumps` does; a value that contains itself is a RecursionError."""
    make: Any = getattr(encoder, "c_make_encoder", None)
    if make is None:  # a Python without json's C part
        return encoder.JSONEncoder(default=default).encode
    refuse = encoder.JSONEncoder().default
    pieces = make(None, default or refuse, encoder.encode_basestring_ascii, None, ": ", ", ", False, False, True)
    return lambda value: "".join(pieces(value, 0))
