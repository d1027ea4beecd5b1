"""Keep: the last step of accepting. A sealed file gets its name, its ids and its place in the file store."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Final

from tokensvc.core import upload
from tokensvc.core.errors import Code, Refusal
from tokensvc.core.upload import Kind, StoredFile
from tokensvc.ports import Chance, FileStore, Incoming, NameTaken

_MOST_SUFFIXES: Final = 8


def keep(
    files: FileStore,
    account: str,
    settled: Mapping[str, str],
    file: Incoming,
    kind: Kind,
    *,
    now: int,
    chance: Chance,
) -> StoredFile:
    """Make the sealed file visible where its form (see `core.forms`) wants it, or refuse because the name is taken."""
    wanted = wanted_name(settled)
    folder = upload.safe_folder(settled.get("folder", ""))
    unique = upload.flag(settled, "useUniqueFileName", default=True)
    replace = not unique and upload.flag(settled, "overwriteFile", default=True)
    sha256 = file.seal()
    for _ in range(_MOST_SUFFIXES):
        name = upload.unique_name(wanted, _suffix(chance)) if unique else wanted
        stored = StoredFile(
            file_id=chance(12).hex(),
            version_id=chance(12).hex(),
            account=account,
            name=name,
            file_path=upload.join_path(folder, name),
            size=file.size,
            sha256=sha256,
            kind=kind,
            uploaded_at=now,
            fields=dict(settled),
        )
        try:
            return files.keep(file, stored, replace=replace)
        except NameTaken:
            if not unique:
                break
    raise Refusal(
        Code.PARAMETER_INVALID,
        "A file of that name exists, and both overwriteFile and useUniqueFileName are false.",
        "Choose another fileName, or let one of the two be true.",
        field="overwriteFile",
    )


def wanted_name(settled: Mapping[str, str]) -> str:
    """The name that the form asks for, as ImageKit keeps it; a form without one is refused."""
    if not settled.get("fileName"):
        raise Refusal(Code.PARAMETER_INVALID, "fileName is missing.", "Send fileName with the file.", field="fileName")
    return upload.safe_name(settled["fileName"])


def _suffix(chance: Chance) -> str:
    return base64.urlsafe_b64encode(chance(9)).decode()[: upload.UNIQUE_SUFFIX_LENGTH]
