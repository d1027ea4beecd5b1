"""Which files go where: folders, patterns and single files of the disk, and the folder and name of each over there.

Two files may come to one place, since some characters are not possible there; the second is refused before anything is
sent, and not put over the first.
"""

from __future__ import annotations

import glob
import os
import re
import stat
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tokensvc.core.errors import Refusal
from tokensvc.core.upload import join_path, safe_folder, safe_name

_IMPOSSIBLE_IN_FOLDER: Final = re.compile(r"[^\w\-]")


@dataclass(frozen=True, slots=True)
class Item:
    """One file to upload. `size` and `modified_ns` are those of when it was found."""

    path: Path
    folder: str
    name: str
    size: int
    modified_ns: int

    @property
    def target(self) -> str:
        """Where it will be."""
        return join_path(self.folder, safe_name(self.name))


@dataclass(frozen=True, slots=True)
class Passed:
    """A file that is not sent, and why."""

    path: Path
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is sent, in order, and what is not."""

    items: tuple[Item, ...]
    passed: tuple[Passed, ...]


class NothingThereError(ValueError):
    """An argument that names no file."""


def plan(arguments: Iterable[str], *, into: str = "/") -> Plan:
    """Find the files; NothingThereError for an argument that names none, Refusal for an impossible folder `into`.

    A folder comes with its name, `folder/` only with what is in it. What a pattern matches keeps the folders below the
    first one with a wildcard. Hidden files, and folders behind symbolic links, are left out unless named themselves.
    """
    into = safe_folder(into)
    items: dict[str, Item] = {}
    seen: set[Path] = set()
    passed: list[Passed] = []
    for argument in arguments:
        for path, below in _found(argument):
            if path in seen:
                continue
            seen.add(path)
            found = _item(path, into, below)
            if isinstance(found, Passed):
                passed.append(found)
            elif found.target in items:
                other = items[found.target].path
                passed.append(Passed(path, f"{other} comes to the same place, {found.target}: rename one of them"))
            else:
                items[found.target] = found
    return Plan(tuple(items.values()), tuple(passed))


def _found(argument: str) -> Iterator[tuple[Path, Path]]:
    """Each file, and the folder below `into` in which it is to be."""
    path = Path(argument)
    if not argument:  # a variable of a shell that is not set, and surely not all of this folder
        raise NothingThereError("A path is empty.")
    if path.is_dir():
        keep = Path() if argument.endswith("/") else Path(path.name)
        yield from _walk(path, keep)
    elif path.exists() or path.is_symlink():
        yield path, Path()
    elif glob.has_magic(argument):
        matches = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 - of any pattern, absolute ones too
        files = [Path(match) for match in matches if not Path(match).is_dir()]
        if not files:
            raise NothingThereError(f"No file matches {argument}.")
        fixed = Path(*_before_wildcard(argument))
        for file in files:
            yield file, file.parent.relative_to(fixed)
    else:
        raise NothingThereError(f"There is no file {argument}.")


def _before_wildcard(pattern: str) -> Iterator[str]:
    for part in Path(pattern).parent.parts:
        if glob.has_magic(part):
            return
        yield part


def _walk(root: Path, keep: Path) -> Iterator[tuple[Path, Path]]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(folder, name), keep / Path(folder).relative_to(root)


def _item(path: Path, into: str, below: Path) -> Item | Passed:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            return Passed(path, "not a regular file")
        parts = [_possible(part) for part in below.parts]
        name = unicodedata.normalize("NFC", os.fsencode(path.name).decode())
        item = Item(path, safe_folder("/".join([into, *parts])), name, found.st_size, found.st_mtime_ns)
        safe_name(name)  # or its Refusal
    except OSError as exc:
        return Passed(path, exc.strerror or "cannot be read")
    except Refusal as refusal:
        return Passed(path, refusal.detail)
    except ValueError:
        return Passed(path, "its name is not UTF-8")
    return item


def _possible(part: str) -> str:
    return _IMPOSSIBLE_IN_FOLDER.sub("_", unicodedata.normalize("NFC", part))
