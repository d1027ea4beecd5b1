"""What was decided once, and the note of it that the nonce's record keeps until the credential is spent.

A v1 credential binds nothing about the file, so at the own upload endpoint the note is all that holds it to its
profile. A credential that was minted elsewhere and is crossed off has no note, and nothing restricts it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

from . import strict_json
from .checks import Restrictions
from .nonces import Version
from .uses import ONCE, Uses
from .window import Window

UNRESTRICTED: Final = Restrictions()


@dataclass(frozen=True, slots=True)
class GrantNote:
    """Who was granted what by which profile of which account. `issued_at` is Unix seconds.

    The nonce store holds the first five against watermarks, by these names.
    """

    account: str
    profile: str
    source: str
    subject: str
    issued_at: int
    restrictions: Restrictions = UNRESTRICTED

    def to_text(self) -> str:
        """Compact JSON; what restricts nothing is left out."""
        limits, quoted = self.restrictions, strict_json.quoted
        text = (
            f'{{"account":{quoted(self.account)},"profile":{quoted(self.profile)},"source":{quoted(self.source)},'
            f'"subject":{quoted(self.subject)},"issued_at":{self.issued_at}'
        )
        if limits.forced:
            text += f',"forced":{strict_json.dumps(dict(limits.forced)).decode()}'
        if limits.max_bytes is not None:
            text += f',"max_bytes":{limits.max_bytes}'
        if limits.types:
            text += f',"types":[{",".join(map(quoted, limits.types))}]'
        return text + "}"

    @staticmethod
    @lru_cache(maxsize=512)
    def from_text(text: str) -> GrantNote:
        """The inverse of `to_text`; a text that is no note is a `ValueError`, never a note that restricts nothing.

        What one caller is granted in one second, such as a batch, has one text. Who asks for the same text may get
        the same note, so nobody can change it.
        """
        members = strict_json.loads_object(text.encode())
        forced, types = members.pop("forced", {}), members.pop("types", [])
        max_bytes = members.pop("max_bytes", None)
        if (
            members.keys() != {"account", "profile", "source", "subject", "issued_at"}
            or type(members["issued_at"]) is not int
            or not _are_texts(members[name] for name in ("account", "profile", "source", "subject"))
            or not (isinstance(forced, dict) and _are_texts(forced.values()))
            or not (isinstance(types, list) and _are_texts(types))
            or (max_bytes is not None and type(max_bytes) is not int)
        ):
            raise ValueError("the recorded grant is not one")
        return GrantNote(**members, restrictions=Restrictions(max_bytes, tuple(types), MappingProxyType(forced)))


@dataclass(frozen=True, slots=True)
class Grant:
    """What was decided this once. `parameters` are the form texts that a v2 credential binds; v1 binds none."""

    version: Version
    account: str
    profile: str
    source: str
    subject: str
    window: Window
    token: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    restrictions: Restrictions = UNRESTRICTED
    uses: Uses = ONCE

    def to_text(self) -> str:
        """The part that the record keeps: see `GrantNote`."""
        return self.note().to_text()

    def note(self) -> GrantNote:
        """As the record keeps it, which is the same for much that one caller is granted in one second."""
        who = (self.account, self.profile, self.source, self.subject)
        return GrantNote(*who, self.window.issued_at, self.restrictions)


def _are_texts(values: Any) -> bool:  # noqa: ANN401 - members of a record, whatever they are
    return all(isinstance(value, str) for value in values)
