"""`tokensvc keys list`, `add`, `activate`, `remove`: changing an account's key pair with no upload refused.

They edit the configuration file in one step, and only into one that is good. A running service reads it at HUP.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from tokensvc import wiring
from tokensvc.config import ConfigurationError
from tokensvc.config.key_pairs import with_active, with_pair, without_pair
from tokensvc.core.window import LEEWAY_SECONDS, MAX_LIFETIME_SECONDS

from .configuration import pairs_of, sentence_of
from .telling import USAGE, json_option, settings_or_exit, tell_faults, tell_json

RELOAD: Final = "Reload each running tokensvc now: kill -HUP, or systemctl reload."
SLACK_SECONDS: Final = 300
"""Time to reload every instance: one that was not reloaded signs with the old pair."""

account_option = click.option("--account", default="default", show_default=True, help="Name of the account.")


@click.command(name="list")
@json_option
def list_pairs(as_json: bool) -> None:
    """Show each account's key pairs, which one signs, and how long others are accepted; private keys by fingerprint."""
    rings = wiring.key_rings(settings_or_exit(wiring.load_settings, "The configuration is not good"))
    shown = {name: pairs_of(ring) for name, ring in rings.items()}
    if as_json:
        tell_json(shown)
        return
    for name, pairs in shown.items():
        for pair in pairs:
            click.echo(sentence_of(name, pair))


@click.command()
@account_option
@click.option("--public-key", required=True, help="public_…, from ImageKit's dashboard.")
@click.option("--private-key-file", required=True, help="The file that private_… is in, as the configuration has it.")
@json_option
def add(account: str, public_key: str, private_key_file: str, as_json: bool) -> None:
    """First step of a rotation: let a new pair's credentials be accepted. It does not sign yet."""
    _change(lambda text: with_pair(text, account, public_key, private_key_file))
    _tell(as_json, account, public_key, "is accepted", f"{RELOAD} Then: tokensvc keys activate {public_key}")


@click.command()
@click.argument("public_key")
@account_option
@click.option(
    "--grace",
    type=click.IntRange(MAX_LIFETIME_SECONDS + LEEWAY_SECONDS, 31_536_000),
    default=MAX_LIFETIME_SECONDS + LEEWAY_SECONDS + SLACK_SECONDS,
    show_default=True,
    help="Seconds for which what the old pair signed is accepted.",
)
@json_option
def activate(public_key: str, account: str, grace: int, as_json: bool) -> None:
    """Second step: sign with this pair. What the old one signed is accepted until the grace ends."""
    until = datetime.fromtimestamp(wiring.clock() + grace, UTC)
    _change(lambda text: with_active(text, account, public_key, until))
    next_step = f"{RELOAD} The old pair may be removed after {until:%Y-%m-%dT%H:%M:%SZ}: tokensvc keys remove"
    _tell(as_json, account, public_key, "signs", next_step)


@click.command()
@click.argument("public_key")
@account_option
@click.option("--now", "at_once", is_flag=True, help="Even if credentials that it signed are still good: refuse them.")
@json_option
def remove(public_key: str, account: str, at_once: bool, as_json: bool) -> None:
    """Last step: take a pair out, once nothing that it signed is accepted any more."""
    now = None if at_once else datetime.fromtimestamp(wiring.clock(), UTC)
    _change(lambda text: without_pair(text, account, public_key, now))
    next_step = f"{RELOAD} Then delete the key at ImageKit, and its file."
    _tell(as_json, account, public_key, "is removed", next_step)


def _tell(as_json: bool, account: str, public_key: str, what: str, next_step: str) -> None:
    if as_json:
        tell_json({"account": account, "public_key": public_key, "outcome": what, "next": next_step})
        return
    click.echo(f"{account}: {public_key} {what}.\n{next_step}")


def _change(edit: Callable[[str], str]) -> None:
    """Replace the configuration file by what `edit` makes of it, if that is good; else tell why not, and leave it."""
    path = wiring.configuration_file()
    try:
        edited = edit(path.read_text(encoding="utf-8"))
        _replace(path.resolve(), edited)
    except ConfigurationError as exc:
        tell_faults(exc.faults, "Nothing was changed", where=str(path))
        sys.exit(USAGE)
    except (OSError, UnicodeDecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
        click.echo(f"Nothing was changed: {path} cannot be rewritten: {why}.", err=True)
        sys.exit(USAGE)


def _replace(path: Path, text: str) -> None:
    """In the same folder, so that paths of secrets mean the same when it is looked at; durable before it is named."""
    kept = path.stat()
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    new = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), kept.st_mode & 0o777)
            if os.geteuid() == 0:
                os.fchown(file.fileno(), kept.st_uid, kept.st_gid)
            os.fsync(file.fileno())
        wiring.load_settings({**wiring.environment(), "TOKENSVC_CONFIG": str(new)})
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
