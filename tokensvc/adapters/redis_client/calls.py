"""Commands as they go over the wire (RESP), and several calls of one script as one of it.

A script that takes several has the keys `shared, own …`, equally many arguments for each of its own keys, and answers a
list with an answer for each. So a call for one is a group of one, and what is paid a call is paid once a group: the
server's work before a script begins, and what the script does before it looks at the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

MOST_JOINED: Final = 128
"""The server does nothing else while it runs a script: so many take it a few milliseconds."""

MOST_JOINED_BYTES: Final = 1 << 17
"""Of the arguments of one call for several, taken for plain ASCII, as nearly all are."""


class Call:
    """A command, packed: as a whole, or if it `may_join` what of it is its own.

    Such a one is `EVALSHA sha 2 shared own argument …`, of a script that takes several.
    """

    __slots__ = ("key", "number", "script", "shared", "text")

    def __init__(self, parts: Sequence[str | int], *, may_join: bool) -> None:
        if not may_join:
            self.shared, self.text = "", pack(parts)
            return
        _, self.script, _, self.shared, own, *arguments = map(str, parts)
        self.key, self.text, self.number = _packed([own]), _packed(arguments), len(arguments)


AnyCall = TypeVar("AnyCall", bound=Call)


def groups(calls: Iterable[AnyCall]) -> list[list[AnyCall]]:
    """Those that go as one: of the same script and shared key, and no more than the bounds."""
    made: list[list[AnyCall]] = []
    last: dict[tuple[str, str], tuple[list[AnyCall], int]] = {}
    for call in calls:
        if not call.shared:
            made.append([call])
            continue
        name, length = (call.script, call.shared), len(call.text)
        group, size = last.get(name, ([], 0))
        size += length
        if not group or len(group) == MOST_JOINED or size > MOST_JOINED_BYTES:
            group, size = [], length
            made.append(group)
        group.append(call)
        last[name] = group, size
    return made


def pack_group(calls: Sequence[Call]) -> str:
    """All of a group as one command."""
    first, keys = calls[0], len(calls) + 1
    if not first.shared:
        return first.text
    head = f"*{3 + keys + len(calls) * first.number}\r\n" + _packed(["EVALSHA", first.script, str(keys), first.shared])
    return "".join([head, *[call.key for call in calls], *[call.text for call in calls]])


def pack(parts: Sequence[str | int]) -> str:
    """One command."""
    return f"*{len(parts)}\r\n" + _packed([str(part) for part in parts])


def _packed(texts: Sequence[str]) -> str:
    packed = "".join([f"${len(text)}\r\n{text}\r\n" for text in texts])
    if not packed.isascii():  # lengths are bytes
        packed = "".join([f"${len(text.encode())}\r\n{text}\r\n" for text in texts])
    return packed
