"""`tokensvc keys`: api keys, whose text is shown once and kept nowhere; and the accounts' key pairs."""

from __future__ import annotations

import json

import click

from tokensvc import wiring
from tokensvc.adapters.api_keys import new_api_key
from tokensvc.config import ApiKey

from .key_pairs import activate, add, list_pairs, remove
from .telling import json_option


@click.group()
def keys() -> None:
    """Make api keys, and change the accounts' key pairs."""


for _command in (list_pairs, add, activate, remove):
    keys.add_command(_command)


@keys.command(name="new")
@click.option("--id", "identifier", default="backend", show_default=True, help="Name of the key, for logs.")
@click.option("--subject", default="backend", show_default=True, help="Whom credentials are issued to.")
@json_option
def new_key(identifier: str, subject: str, as_json: bool) -> None:
    """Make an api key. Its text is shown once; only its SHA-256 is configured."""
    text, digest = new_api_key(wiring.chance)
    try:
        ApiKey(id=identifier, sha256=digest, subject=subject)
    except ValueError:
        raise click.BadParameter(
            "An id has 1 to 64 letters, digits, `_`, `.` and `-`; a subject has 1 to 128 characters.",
            param_hint="--id or --subject",
        ) from None
    if as_json:
        click.echo(json.dumps({"api_key": text, "id": identifier, "subject": subject, "sha256": digest}))
        return
    name = json.dumps(subject, ensure_ascii=False)  # TOML's texts are JSON's, but for pairs of surrogates
    entry = f'{{ id = "{identifier}", sha256 = "{digest}", subject = {name}, may = ["issue"] }}'
    click.echo(f"{text}\n\nKeep it secret; it is not shown again. In tokensvc.toml:\n")
    click.echo(f'[callers.backend]\nkind = "api_key"\nkeys = [{entry}]')
