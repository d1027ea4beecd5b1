"""How it is written where files are kept: a folder of this machine, or a bucket of S3.

No key is ever part of it: those of a bucket come from the environment, or are the machine's own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import unquote, urlsplit

from pydantic import BeforeValidator, WithJsonSchema

from .spellings import fault

_BUCKET: Final = re.compile(
    r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:/(?!\.{1,2}(?:/|\Z))[\w!.*'()-]+)*)/?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket of S3, and what the names of all objects there begin with; no slash at either end, may be empty."""

    name: str
    prefix: str


def _store(value: object) -> object:
    """`file:///a%20b` as the path `/a b`, `s3://bucket/a/b` as a bucket."""
    if not isinstance(value, str):
        raise fault("store", 'must be a text such as "file:///var/lib/tokensvc/files" or "s3://bucket/prefix"')
    if value.startswith("s3://"):
        return _bucket(value)
    parts = urlsplit(value)
    path = unquote(parts.path)
    if parts.scheme != "file" or parts.netloc or not path.startswith("/") or "\0" in path:
        raise fault(
            "store",
            "must be file:// and an absolute path, so three slashes: file:///var/lib/tokensvc/files; or s3://bucket/prefix",
        )
    if parts.query or parts.fragment:
        raise fault("store", "must not have ? or #; in a path write them as %3F and %23")
    return Path(path)


def _bucket(value: str) -> Bucket:
    match = _BUCKET.fullmatch(value)
    if match is None:
        raise fault(
            "store",
            "must be s3:// and a bucket's name (3 to 63 of a-z, 0-9, . and -), and may go on with /prefix, of letters, "
            "digits, and ! - _ . * ' ( ) in each part; keys and endpoint come from the environment",
        )
    return Bucket(match[1], match[2].strip("/"))


Place = Annotated[
    Path | Bucket, BeforeValidator(_store), WithJsonSchema({"type": "string", "pattern": "^(file|s3)://"})
]
"""A folder of this machine, written as `file:///path`, or a bucket, `s3://name/prefix`."""
