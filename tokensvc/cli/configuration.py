"""`tokensvc config`: every fault of a configuration, what it comes to, and its schema for editors."""

from __future__ import annotations

import sys
from typing import Any

import click

from tokensvc import wiring
from tokensvc.config import ConfigurationError, Settings, cautions
from tokensvc.config.schema import schema
from tokensvc.core.keys import KeyRing, fingerprint

from .telling import USAGE, counted, json_option, lines_of, members_of, settings_or_exit, tell_json


@click.group(name="config")
def config_group() -> None:
    """Look at the configuration."""


@config_group.command()
@json_option
def check(as_json: bool) -> None:
    """Tell every fault of the configuration at once, with its place and a remedy; or what it comes to, and warnings.

    Exit status: 0 it is good, with warnings or without, 2 it has faults. Keys are shown by fingerprint only.
    """
    if not as_json:
        settings = settings_or_exit(wiring.load_settings)
        _tell(settings)
        return
    try:
        settings = wiring.load_settings()
    except ConfigurationError as exc:
        tell_json({"good": False, "faults": [members_of(fault) for fault in exc.faults]})
        sys.exit(USAGE)
    tell_json({"good": True, **_summary(settings), "warnings": [members_of(each) for each in cautions(settings)]})


@config_group.command(name="schema")
def schema_command() -> None:
    """Print the JSON Schema (Draft 2020-12) of tokensvc.toml, for editors."""
    tell_json(schema())


def _summary(settings: Settings) -> dict[str, Any]:
    callers = {name: source.kind for name, source in settings.callers.items()}
    return {
        "accounts": {name: pairs_of(ring) for name, ring in wiring.key_rings(settings).items()},
        "callers": callers,
        "profiles": {
            name: {
                "path": "/auth" if name == "default" else f"/auth/{name}",
                "account": profile.account,
                "versions": sorted(profile.versions),
                "lifetime": profile.lifetime,
                "callers": {caller: callers[caller] for caller in profile.callers},
            }
            for name, profile in settings.profiles.items()
        },
    }


def pairs_of(ring: KeyRing) -> list[dict[str, Any]]:
    """The key pairs as JSON has them."""
    return [
        {
            "public_key": pair.public_key,
            "fingerprint": fingerprint(pair.private_key),
            "signs": pair == ring.signing,
            "accept_until": pair.accept_until,
        }
        for pair in ring.pairs
    ]


def sentence_of(account: str, pair: dict[str, Any]) -> str:
    """A key pair as people read it."""
    role = "signs" if pair["signs"] else "is accepted"
    until = "" if pair["accept_until"] is None else f" until {pair['accept_until']} (Unix time)"
    return f"{account}: {pair['public_key']} {role}{until}; private key {pair['fingerprint']}"


def _tell(settings: Settings) -> None:
    summary, warnings = _summary(settings), cautions(settings)
    click.echo("The configuration is good.\naccounts")
    for name, pairs in summary["accounts"].items():
        for pair in pairs:
            click.echo(f"  {sentence_of(name, pair)}")
    click.echo("callers")
    for name, kind in summary["callers"].items():
        click.echo(f"  {name}: {kind}")
    click.echo("profiles")
    for name, profile in summary["profiles"].items():
        who = ", ".join(f"{caller} ({kind})" for caller, kind in profile["callers"].items())
        what = f"{' and '.join(profile['versions'])} for at most {profile['lifetime']} s"
        click.echo(f"  {name}: {profile['path']} issues {what} of account {profile['account']} to {who}")
    if warnings:
        click.echo(f"{counted(len(warnings), 'warning')}")
        for warning in warnings:
            click.echo("\n".join(lines_of(warning)))
