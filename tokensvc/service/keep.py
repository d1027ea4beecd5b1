"""Keep: the last step of accepting. A file gets its name, its ids and its place in the file store."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
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
    commit: Callable[[], None] | None = None,
) -> StoredFile:
    """Seal the file and make it visible where its form (`core.forms`) wants it, or refuse because the name is taken.

    `commit` is called when all that can be known to stand in the way has been asked, and before anything is visible;
    what it raises keeps nothing. With the bytes of `chance` that kept a file before, that file is the answer.
    """
    unique = upload.flag(settled, "useUniqueFileName", default=True)
    replace = not unique and upload.flag(settled, "overwriteFile", default=True)
    drafts = _drafts(account, settled, file, kind, now, chance, unique=unique)
    first = next(drafts)
    if commit is not None:
        file.secure()  # a disk that is full, or fails, spends nothing as yet
        if not unique:
            _require_room(files, first, replace=replace)
        commit()
    for stored in chain([first], drafts):
        try:
            return files.keep(file, stored, replace=replace)
        except NameTaken:
            continue
    raise _taken()


def _drafts(
    account: str, settled: Mapping[str, str], file: Incoming, kind: Kind, now: int, chance: Chance, *, unique: bool
) -> Iterator[StoredFile]:
    """The file under each name that may be tried."""
    wanted = wanted_name(settled)
    folder = upload.safe_folder(settled.get("folder", ""))
    sha256 = file.seal()
    for _ in range(_MOST_SUFFIXES if unique else 1):
        name = upload.unique_name(wanted, _suffix(chance)) if unique else wanted
        yield StoredFile(
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


def _require_room(files: FileStore, draft: StoredFile, *, replace: bool) -> None:
    """Refuse what `keep` would refuse now, unless it is that very file which is there."""
    found = files.find(draft.account, draft.file_path)
    if found is None:
        return
    found[1].close()
    if found[0].at_version(draft.version_id) is None:
        if not replace:
            raise _taken()
        draft.after(found[0])


def _taken() -> Refusal:
    return Refusal(
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
