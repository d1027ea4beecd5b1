"""A credential that a command is about: read from a file or standard input, so that it need not be an argument.

What is an argument can be seen by everybody on the machine, and stays in the shell's history.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, TypeVar

import click

from tokensvc.core import strict_json
from tokensvc.core.errors import Refusal
from tokensvc.core.nonces import Version
from tokensvc.web.json_bodies import MAX_BODY_BYTES, require_members
from tokensvc.web.redeem import read_credential, read_fields

from .telling import pairs_of

_KNOWN: Final = frozenset({"version", "token", "expire", "signature", "publicKey", "fields"})
_Command = TypeVar("_Command", bound=Callable[..., None])


@dataclass(frozen=True, slots=True)
class Given:
    """As `POST /redeem` takes it. `fields` are those of the upload's form, None if nothing was said of them."""

    version: Version
    credential: Mapping[str, str]
    fields: Mapping[str, str] | None


def credential_argument(command: _Command) -> _Command:
    """The file, or standard input; as `file`."""
    return click.argument("file", type=click.File("rb"), default="-", metavar="[FILE]")(command)


def fields_option(command: _Command) -> _Command:
    """Fields of the upload's form; as `fields`."""
    return click.option(
        "--field",
        "fields",
        multiple=True,
        metavar="NAME=VALUE",
        callback=pairs_of,
        help="A field of the upload's form, to be compared with what a v2 credential binds; may be repeated.",
    )(command)


def read_given(file: BinaryIO, fields: Mapping[str, str]) -> Given:
    """The credential, and the fields that come with it or as options; what is neither is wrong usage."""
    text = read_text(file)
    members = _object(text) if text.startswith("{") else {"version": "v2", "token": text}
    try:
        require_members(members, _KNOWN)
        members.setdefault("version", "v1" if "signature" in members else "v2")
        inside = read_fields(members)
        version, credential = read_credential(members)
    except Refusal as refusal:
        raise click.BadParameter(f"{refusal.detail} {refusal.remedy}", param_hint="FILE") from None
    return Given(version, credential, {**(inside or {}), **fields} if fields else inside)


def read_token(file: BinaryIO) -> str:
    """A credential's token alone, or the member of that name."""
    text = read_text(file)
    token = _object(text).get("token") if text.startswith("{") else text
    if not isinstance(token, str) or not token:
        raise click.BadParameter("there is no token in it.", param_hint="FILE")
    return token


def read_text(file: BinaryIO) -> str:
    """All of a small file, without the blanks around it."""
    if file.isatty():
        click.echo("Paste the credential, and end with Ctrl-D:", err=True)
    content = file.read(MAX_BODY_BYTES + 1)
    if len(content) > MAX_BODY_BYTES:
        raise click.BadParameter("it is too large to be a credential.", param_hint="FILE")
    try:
        text = content.decode().strip()
    except UnicodeDecodeError:
        raise click.BadParameter("it is not text.", param_hint="FILE") from None
    if not text:
        raise click.BadParameter("it is empty. Give the answer of /auth, or a JWT.", param_hint="FILE")
    return text


def _object(text: str) -> dict[str, Any]:
    try:
        return strict_json.loads_object(text.encode())
    except ValueError as exc:
        raise click.BadParameter(f"it cannot be used: {exc}.", param_hint="FILE") from None
