"""What an upload becomes: safe names, the binding of a v2 credential to the form, and the stored file."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from .errors import Code, Refusal

UNIQUE_SUFFIX_LENGTH: Final = 9
"""Characters after the `_` of a unique name: `photo_doAbVVtZJ.jpg`."""

MAX_FOLDER_DEPTH: Final = 50
MAX_NAME_BYTES: Final = 255
MAX_VERSIONS: Final = 100

_CREDENTIAL_FIELDS: Final = frozenset({"file", "token"})
_KEPT_UNLESS: Final = {"tags": "overwriteTags", "customMetadata": "overwriteCustomMetadata"}
_WHO_MAY_SEE: Final = frozenset({"isPrivateFile", "isPublished"})
_UNSAFE_IN_NAME = re.compile(r"[^\w.\-]")
_SAFE_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.\-]{{0,{MAX_NAME_BYTES - UNIQUE_SUFFIX_LENGTH - 2}}}")
_FOLDER = re.compile(r"[\w\-/]*")


@dataclass(frozen=True, slots=True)
class Kind:
    """What the bytes of a file are: MIME type by magic number (text by extension), and pixels if it is to be looked at.

    Of a video also seconds, bits a second, and codecs. None is unknown.
    """

    mime: str
    width: int | None = None
    height: int | None = None
    duration: float | None = None
    bit_rate: int | None = None
    video_codec: str | None = None
    audio_codec: str | None = None

    @property
    def file_type(self) -> Literal["image", "non-image"]:
        """ImageKit's two classes."""
        return "image" if self.mime.startswith("image/") else "non-image"


@dataclass(frozen=True, slots=True)
class Earlier:
    """A version of a file that a later one has taken the place of; `fields` say who may see it."""

    version_id: str
    size: int
    sha256: str
    kind: Kind
    uploaded_at: int
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file as it was kept. `file_path` starts with `/`; sizes are bytes; `uploaded_at` is Unix seconds.

    `file_id` stays with the path; `version_id` names the bytes. `earlier` are its versions before this one.
    """

    file_id: str
    version_id: str
    account: str
    name: str
    file_path: str
    size: int
    sha256: str
    kind: Kind
    uploaded_at: int
    fields: Mapping[str, str] = field(default_factory=dict)
    earlier: tuple[Earlier, ...] = ()

    @property
    def version_name(self) -> str:
        """As ImageKit counts: the first is `Version 1`."""
        return f"Version {len(self.earlier) + 1}"

    def after(self, current: StoredFile) -> StoredFile:
        """This file as the next version of the one that is at its path now; refused if that has 100 already.

        Tags and custom metadata are given up, as ImageKit does, unless the form keeps them with overwriteTags or
        overwriteCustomMetadata false and sends no others.
        """
        if len(current.earlier) + 1 >= MAX_VERSIONS:
            raise Refusal(
                Code.PARAMETER_INVALID,
                f"The file at that path has {MAX_VERSIONS} versions, and may not have more.",
                "Choose another fileName, or leave useUniqueFileName true.",
                field="fileName",
            )
        kept = {
            name: current.fields[name]
            for name, switch in _KEPT_UNLESS.items()
            if name in current.fields and name not in self.fields and not flag(self.fields, switch, default=True)
        }
        earlier = Earlier(
            current.version_id,
            current.size,
            current.sha256,
            current.kind,
            current.uploaded_at,
            {name: text for name, text in current.fields.items() if name in _WHO_MAY_SEE},
        )
        return replace(
            self, file_id=current.file_id, fields={**self.fields, **kept}, earlier=(*current.earlier, earlier)
        )

    def at_version(self, version_id: str) -> StoredFile | None:
        """The same file with the bytes of that version, or None if it has no such version."""
        if version_id == self.version_id:
            return self
        for number, earlier in enumerate(self.earlier):
            if earlier.version_id == version_id:
                return replace(
                    self,
                    version_id=version_id,
                    size=earlier.size,
                    sha256=earlier.sha256,
                    kind=earlier.kind,
                    uploaded_at=earlier.uploaded_at,
                    fields=earlier.fields,
                    earlier=self.earlier[:number],
                )
        return None

    @property
    def is_private(self) -> bool:
        """Whether it is served under a signed URL only."""
        return flag(self.fields, "isPrivateFile", default=False)

    @property
    def is_published(self) -> bool:
        """Whether it is served at all."""
        return flag(self.fields, "isPublished", default=True)

    def to_record(self) -> dict[str, Any]:
        """Plain values, for a store to keep."""
        earlier = [{**_members(each), "kind": _members(each.kind)} for each in self.earlier]
        return {**_members(self), "kind": _members(self.kind), "earlier": earlier}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> StoredFile:
        """The inverse of `to_record`."""
        earlier = (Earlier(**{**each, "kind": Kind(**each["kind"])}) for each in record.get("earlier", ()))
        return cls(**{**record, "kind": Kind(**record["kind"]), "earlier": tuple(earlier)})


def _members(value: Kind | Earlier | StoredFile) -> dict[str, Any]:
    """As `dataclasses.asdict`, which looks into each member and copies it: four times as long."""
    return {name: getattr(value, name) for name in value.__slots__}


def require_binding(claims: Mapping[str, str], fields: Mapping[str, str]) -> None:
    """Refuse a v2 upload whose form is not, field by field and text by text, what was signed.

    `claims` are the signed parameters without `iat` and `exp`; `fields` all text fields of the form.
    """
    sent = {name: value for name, value in fields.items() if name not in _CREDENTIAL_FIELDS}
    for name in claims.keys() | sent.keys():
        if name not in sent:
            raise _unbound(name, f"{name} was signed, but not sent")
        if name not in claims:
            raise _unbound(name, f"{name} was sent, but not signed")
        if claims[name] != sent[name]:
            raise _unbound(name, f"{name} differs from what was signed")


def _unbound(name: str, reason: str) -> Refusal:
    return Refusal(
        Code.PARAMETER_FORBIDDEN,
        f"The form does not match the credential: {reason}.",
        "Send exactly the fields of uploadPayload, as the same text.",
        field=f"uploadPayload.{name}",
    )


def flag(fields: Mapping[str, str], name: str, *, default: bool) -> bool:
    """Read a true-or-false field. Empty, `null` and `undefined` mean unset: old SDKs send them."""
    text = fields.get(name, "")
    if text in ("", "null", "undefined"):
        return default
    if text not in ("true", "false"):
        raise Refusal(
            Code.PARAMETER_INVALID,
            f"{name} is neither true nor false.",
            "Send the text true or false.",
            field=name,
        )
    return text == "true"


def safe_name(file_name: str) -> str:
    """Return `fileName` as ImageKit keeps it: NFC, and `_` for all but letters, digits, `.`, `-` and `_`."""
    if _SAFE_NAME.fullmatch(file_name):  # most are
        return file_name
    name = _UNSAFE_IN_NAME.sub("_", unicodedata.normalize("NFC", file_name))
    if not name.strip("._"):
        name = "_" * len(name)
    stem, dot, extension = name.rpartition(".")
    if len(name.encode()) > MAX_NAME_BYTES - UNIQUE_SUFFIX_LENGTH - 1:
        room = MAX_NAME_BYTES - UNIQUE_SUFFIX_LENGTH - 1 - len(f"{dot}{extension}".encode())
        if not stem or room < 1:
            raise Refusal(
                Code.PARAMETER_INVALID,
                "fileName is too long.",
                "Send at most 200 characters.",
                field="fileName",
            )
        name = stem.encode()[:room].decode(errors="ignore") + dot + extension
    if not name:
        raise Refusal(
            Code.PARAMETER_INVALID,
            "fileName is empty.",
            "Send the name to store the file under.",
            field="fileName",
        )
    return name


def unique_name(name: str, suffix: str) -> str:
    """Put `_suffix` before the extension."""
    stem, dot, extension = name.rpartition(".")
    return f"{stem}_{suffix}.{extension}" if dot and stem else f"{name}_{suffix}"


def safe_folder(folder: str) -> str:
    """Return a normal absolute folder (`/`, `/a/b`), or refuse what ImageKit refuses."""
    folder = folder if folder.isascii() else unicodedata.normalize("NFC", folder)
    if not _FOLDER.fullmatch(folder):
        raise Refusal(
            Code.PARAMETER_INVALID,
            "folder may hold letters, digits, _, - and / only.",
            "Replace other characters, dots among them.",
            field="folder",
        )
    parts = [part for part in folder.split("/") if part]
    if len(parts) > MAX_FOLDER_DEPTH or any(len(part.encode()) > MAX_NAME_BYTES for part in parts):
        raise Refusal(
            Code.PARAMETER_INVALID,
            f"folder is deeper than {MAX_FOLDER_DEPTH} levels, or a level is too long.",
            field="folder",
        )
    return "/" + "/".join(parts)


def join_path(folder: str, name: str) -> str:
    """The `filePath` of a file in a folder."""
    return posixpath.join(folder, name)
