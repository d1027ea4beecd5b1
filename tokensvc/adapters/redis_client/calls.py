"""Commands as they go over the wire (RESP), and several calls of one script as one of it.

A script that takes several has the keys `shared, own …`, equally many arguments for each of its own keys, and answers a
list with an answer for each. So a call for one is a group of one, and what is paid a call is paid once a group: the
server's work before a script begins, and what the script does before it looks at the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

MOST_JOINED: Final = 128
"""The server does nothing else while it runs a script: so many take it a few milliseconds."""

MOST_JOINED_BYTES: Final = 1 << 17
"""Of the arguments of one call for several."""


class Call(NamedTuple):
    """A command, packed: as a whole, or what of it is its own if it may be joined."""

    arguments: bytes
    shared: tuple[str | int, str | int] | None = None
    """The script's SHA-1 and the key that all in a group have; None for what goes as it is."""
    key: bytes = b""
    number: int = 0
    """How many arguments there are."""


def whole(parts: Sequence[str | int]) -> Call:
    """A command that goes as it is."""
    return Call(pack(parts))


def joinable(parts: Sequence[str | int]) -> Call:
    """`EVALSHA sha 2 shared own argument …`, of a script that takes several."""
    _, sha, _, shared, own, *arguments = parts
    return Call(_packed(arguments), (sha, shared), _packed((own,)), len(arguments))


def groups(calls: Iterable[Call]) -> list[list[int]]:
    """The places of those that go as one: the same script and key, and no more than the bounds."""
    made: list[list[int]] = []
    last: dict[tuple[str | int, str | int], tuple[list[int], int]] = {}
    for place, call in enumerate(calls):
        if call.shared is None:
            made.append([place])
            continue
        group, size = last.get(call.shared, ([], 0))
        size += len(call.arguments)
        if not group or len(group) == MOST_JOINED or size > MOST_JOINED_BYTES:
            group, size = [], len(call.arguments)
            made.append(group)
        group.append(place)
        last[call.shared] = group, size
    return made


def pack_group(calls: Sequence[Call]) -> bytes:
    """All of a group as one command."""
    shared, number = calls[0].shared, calls[0].number
    if shared is None:
        return calls[0].arguments
    sha, key = shared
    head = f"*{4 + len(calls) * (1 + number)}\r\n".encode() + _packed(("EVALSHA", sha, 1 + len(calls), key))
    return b"".join([head, *[call.key for call in calls], *[call.arguments for call in calls]])


def pack(parts: Sequence[str | int]) -> bytes:
    """One command."""
    return f"*{len(parts)}\r\n".encode() + _packed(parts)


def _packed(parts: Sequence[str | int]) -> bytes:
    texts = [str(part) for part in parts]
    packed = "".join([f"${len(text)}\r\n{text}\r\n" for text in texts])
    if not packed.isascii():  # lengths are bytes
        packed = "".join([f"${len(text.encode())}\r\n{text}\r\n" for text in texts])
    return packed.encode()
