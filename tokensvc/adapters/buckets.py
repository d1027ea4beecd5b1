"""A door to `s3_files`, which needs packages that only the extra `s3` brings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from tokensvc.ports import FileStore

from .aside import Blocking


def bucket_files(name: str, prefix: str, variables: Mapping[str, str]) -> Callable[[Path, Blocking], FileStore]:
    """Who makes the file store of a bucket, given a folder to receive files in; connects to nothing.

    Of the environment's variables only `AWS_ALLOW_HTTP` is looked up in `variables`; see `s3_files.s3_bucket`.

    ValueError says, as in "the bucket …", why there can be none here.
    """
    try:
        from .s3_files import S3Files, s3_bucket  # noqa: PLC0415 - may be absent
    except ModuleNotFoundError:
        raise ValueError("needs the extra s3: pip install 'tokensvc[s3]'") from None
    allow_http = variables.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true")
    return partial(S3Files, s3_bucket(name, prefix, allow_http=allow_http))
