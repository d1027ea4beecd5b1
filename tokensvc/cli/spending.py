"""`tokensvc verify`, `explain` and `redeem`: about a credential in hand, by the use cases that are behind HTTP."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any, BinaryIO, Final

import click

from tokensvc import use_cases, wiring
from tokensvc.config import Settings
from tokensvc.core import upload
from tokensvc.core.callers import Caller
from tokensvc.service.redeem import Spend
from tokensvc.service.verify import Genuine, verify, with_public_key
from tokensvc.web.redeem import granted

from .credentials import credential_argument, fields_option, read_given
from .telling import REFUSED, STATUSES, answering, json_option, settings_or_exit, tell_json

OPERATOR: Final = Caller("command line", "command line", frozenset({"redeem", "operate"}))
"""Who runs a command: whoever can read the configuration may do all that it lets anybody do."""


@click.command(name="verify", epilog=STATUSES)
@credential_argument
@fields_option
@json_option
def verify_command(file: BinaryIO, fields: dict[str, str], as_json: bool) -> None:
    """Say whether a credential is genuine and within its time, and binds these fields. No store is asked.

    FILE (standard input if it is left out) is the JSON that /auth answered or that /redeem takes, or a JWT alone.
    Whether it was spent or revoked, `tokensvc explain` says.
    """
    given, settings = read_given(file, fields), _settings()
    keys, credential = wiring.accepted_keys(settings), given.credential
    with answering(as_json):
        if given.version == "v1":
            credential = with_public_key(keys, credential)
        genuine = verify(keys, given.version, credential, wiring.clock())
        if genuine.claims is not None and given.fields is not None:
            upload.require_binding(genuine.claims, given.fields)
    if as_json:
        tell_json({"good": True, **_members(genuine)})
        return
    window = genuine.window
    click.echo(
        f"GOOD: {genuine.version} of account {genuine.pair.account}, signed with the key {genuine.pair.public_key}; "
        f"it ends in {window.expires_at - wiring.clock()} s"
    )
    _tell_texts(genuine.claims or {})
    click.echo("Whether it was spent or revoked was not looked up.")


@click.command(epilog=STATUSES)
@credential_argument
@fields_option
@json_option
def explain(file: BinaryIO, fields: dict[str, str], as_json: bool) -> None:
    """Tell every reason why a credential would be refused now. Nothing is spent.

    FILE (standard input if it is left out) is the JSON that /auth answered or that /redeem takes, or a JWT alone.
    """
    given, settings = read_given(file, fields), _settings()
    with answering(as_json):
        tell = use_cases.explain(settings, use_cases.nonce_store(settings))
        reasons = tell(given.version, given.credential, given.fields)
    if as_json:
        told = [{"code": str(one.code), "field": one.field, "detail": one.detail} for one in reasons]
        tell_json({"good": not reasons, "reasons": told})
    elif reasons:
        click.echo("REFUSED")
        click.echo("\n".join(f"  {one.code}: {one.detail}" for one in reasons))
    else:
        click.echo("GOOD: it could be spent now.")
    sys.exit(REFUSED if reasons else 0)


@click.command(epilog=STATUSES)
@credential_argument
@fields_option
@click.option(
    "--idempotency-key",
    "key",
    metavar="TEXT",
    help="A name of this request: asked again with it, the answer is the same.",
)
@json_option
def redeem(file: BinaryIO, fields: dict[str, str], key: str | None, as_json: bool) -> None:
    """Spend a credential, and say what was granted with it.

    FILE (standard input if it is left out) is the JSON that /auth answered or that /redeem takes, or a JWT alone.
    Fields are compared before it is spent. After status 3 it is not known whether it is spent: ask again with the
    same --idempotency-key.
    """
    given, settings = read_given(file, fields), _settings()
    with answering(as_json):
        spend = use_cases.redeem(settings, use_cases.nonce_store(settings))
        spent = spend(Spend(given.version, given.credential, given.fields, OPERATOR, key))
    grant = granted(spent)
    if as_json:
        tell_json({"outcome": "spent", "grant": grant})
        return
    click.echo(f"SPENT: {spent.version} of account {spent.account}")
    if spent.note is None:
        click.echo("  It was minted elsewhere: to whom, and with which restrictions, is not known here.")
    else:
        click.echo(f"  issued to {spent.note.subject!r} of {spent.note.source} by profile {spent.note.profile}")
    _tell_texts(spent.claims or {})


def _settings() -> Settings:
    return settings_or_exit(wiring.load_settings, "Nothing was done")


def _members(genuine: Genuine) -> dict[str, Any]:
    """As JSON has it. v1 does not say when it was issued, and binds no fields."""
    is_v1 = genuine.version == "v1"
    return {
        "version": genuine.version,
        "account": genuine.pair.account,
        "public_key": genuine.pair.public_key,
        "issued_at": None if is_v1 else genuine.window.issued_at,
        "expires_at": genuine.window.expires_at,
        "fields": None if genuine.claims is None else dict(genuine.claims),
    }


def _tell_texts(fields: Mapping[str, str]) -> None:
    for name, text in fields.items():
        click.echo(f"  {name}: {json.dumps(text, ensure_ascii=False)}")
