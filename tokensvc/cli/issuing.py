"""`tokensvc issue`: what somebody would be granted, and why, with nothing granted."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from typing import Any

import click

from tokensvc import wiring
from tokensvc.core import strict_json
from tokensvc.core.grants import Grant
from tokensvc.core.policy import AskV1, AskV2
from tokensvc.core.rehearsal import Rehearsed

from .telling import REFUSED, json_option, pairs_of, settings_or_exit, tell_json
from .trying import Stage


def _payload(_context: click.Context, _option: click.Parameter, text: str | None) -> dict[str, Any] | None:
    try:
        return None if text is None else strict_json.loads_object(text.encode(errors="surrogateescape"))
    except ValueError as exc:
        raise click.BadParameter(f"{exc}. Write a JSON object of upload parameters.") from None


@click.command()
@click.option("--as", "subject", required=True, metavar="SUBJECT", help="Who asks.")
@click.option("--source", metavar="NAME", help="Caller source that vouches for it. [default: the profile's first]")
@click.option(
    "--claims", multiple=True, metavar="NAME=VALUE", callback=pairs_of, help="A claim of it; may be repeated."
)
@click.option("--profile", default="default", show_default=True, metavar="NAME", help="Under which profile.")
@click.option(
    "--v2", "payload", metavar="JSON", callback=_payload, help="Ask for v2 with this uploadPayload. [default: v1]"
)
@click.option("--file-name", metavar="TEXT", help="Ask for v2 with this fileName (in --v2, if that is given too).")
@click.option("--expire", metavar="SECONDS", help="As a client sends it: v1 the Unix time of expiry, v2 a lifetime.")
@click.option("--token", metavar="TEXT", help="A token that a v1 client chose.")
@json_option
def issue(
    *,
    subject: str,
    source: str | None,
    claims: dict[str, str],
    profile: str,
    payload: dict[str, Any] | None,
    file_name: str | None,
    expire: str | None,
    token: str | None,
    as_json: bool,
) -> None:
    """Say what SUBJECT would be granted, rule by rule. A dry run: nothing is signed, recorded or counted.

    Exit status: 0 it would be granted, 1 it would be refused, 2 wrong usage or configuration. Limits that are counted
    (rate, per_day, outstanding) are not looked at.
    """
    ask = _ask(payload, file_name, expire, token)
    stage = Stage.of(settings_or_exit(wiring.load_settings, "Nothing can be said"))
    if source is not None and source not in stage.sources:
        raise click.BadParameter(f"there is no source {source}.", param_hint="--source")
    rehearsed = stage.rehearse(profile, source, subject, claims, ask, wiring.clock())
    if as_json:
        tell_json(as_members(rehearsed))
    else:
        _tell(rehearsed)
    sys.exit(0 if rehearsed.refusal is None else REFUSED)


def _ask(payload: dict[str, Any] | None, file_name: str | None, expire: str | None, token: str | None) -> AskV1 | AskV2:
    if payload is None and file_name is None:
        return AskV1(token, expire)
    if token is not None:
        raise click.BadParameter("only a v1 client chooses one.", param_hint="--token")
    members = dict(payload or {})
    if file_name is not None:
        if "fileName" in members:
            raise click.BadParameter("fileName is in --v2 too.", param_hint="--file-name")
        members["fileName"] = file_name
    is_number = expire is not None and re.fullmatch("-?[0-9]{1,18}", expire, re.ASCII)
    return AskV2(members, int(expire) if expire is not None and is_number else expire)


def _tell(rehearsed: Rehearsed) -> None:
    for line in rehearsed.trace:
        click.echo(f"  {line}")
    if rehearsed.refusal is not None:
        refusal = rehearsed.refusal
        click.echo(f"REFUSED with {refusal.code}{f', field {refusal.field}' if refusal.field else ''}")
        click.echo("\n".join(f"  {line}" for line in (refusal.detail, refusal.remedy) if line))
    if rehearsed.grant is not None:
        grant = rehearsed.grant
        click.echo(f"GRANTED: {grant.version} of account {grant.account}, good for {grant.window.lifetime} s")
        if rehearsed.claims is not None:
            click.echo("  The JWT would bind:")
            click.echo("\n".join(f"    {name}: {_json(value)}" for name, value in rehearsed.claims.items()))
    click.echo("A dry run: nothing was signed, recorded or counted.")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def as_members(rehearsed: Rehearsed) -> dict[str, Any]:
    """What came of it, as JSON has it."""
    members: dict[str, Any] = {"granted": rehearsed.refusal is None, "trace": list(rehearsed.trace)}
    if rehearsed.grant is not None:
        members |= {"grant": _grant_members(rehearsed.grant), "claims": rehearsed.claims}
    if rehearsed.refusal is not None:
        refusal = rehearsed.refusal
        members["refusal"] = {
            "code": refusal.code,
            "field": refusal.field,
            "detail": refusal.detail,
            "remedy": refusal.remedy,
        }
    return members


def _grant_members(grant: Grant) -> Mapping[str, Any]:
    restrictions = grant.restrictions
    return {
        "version": grant.version,
        "account": grant.account,
        "profile": grant.profile,
        "source": grant.source,
        "subject": grant.subject,
        "lifetime": grant.window.lifetime,
        "uses": grant.uses.count,
        "spend": grant.uses.spend,
        "token": grant.token,
        "parameters": dict(grant.parameters),
        "own_endpoint": {
            "max_bytes": restrictions.max_bytes,
            "types": list(restrictions.types),
            "forced": dict(restrictions.forced),
        },
    }
