"""`tokensvc revoke`: one credential, or all that a subject, a profile or an account was issued before a second."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import BinaryIO, Final

import click

from tokensvc import use_cases, wiring
from tokensvc.core.watermarks import Scope, Watermark
from tokensvc.ports import Outcome

from .credentials import credential_argument, read_token
from .spending import OPERATOR
from .telling import REFUSED, STATUSES, answering, json_option, settings_or_exit, tell_json

_OUTCOMES: Final = {
    Outcome.REVOKED: "it cannot be spent here any more.",
    Outcome.REPLAYED: "it was spent before; what was uploaded with it stays.",
    Outcome.STALE: "the store was replaced since it was issued; it is refused anyway.",
    Outcome.UNISSUED: "it is not on record: not issued here, or long expired.",
}


@click.command(epilog=STATUSES)
@credential_argument
@click.option("--subject", metavar="NAME", help="Revoke what was issued to this subject.")
@click.option(
    "--source", metavar="NAME", help="With --subject: only what this caller source vouched for. [default: any]"
)
@click.option("--profile", metavar="NAME", help="Revoke what was issued by this profile.")
@click.option("--account", metavar="NAME", help="Revoke what was issued for this account.")
@click.option("--issued-before", type=int, metavar="SECONDS", help="Unix time. [default: all until now]")
@json_option
def revoke(
    *,
    file: BinaryIO,
    subject: str | None,
    source: str | None,
    profile: str | None,
    account: str | None,
    issued_before: int | None,
    as_json: bool,
) -> None:
    """Make a credential unspendable here, or all of a subject, a profile or an account that are not spent yet.

    FILE (standard input if it is left out) is a credential as /auth answered it, or its token alone. It is not read
    with --subject, --profile or --account. ImageKit does not ask here: what it has not seen yet it still takes, once.

    Status 1 says that there was nothing to revoke: it was spent before, or is on no record.
    """
    names: dict[Scope, str | None] = {"subject": subject, "profile": profile, "account": account}
    whose: dict[Scope, str] = {scope: name for scope, name in names.items() if name is not None}
    if whose or source is not None or issued_before is not None:
        _revoke_before(whose, source, issued_before, as_json)
        return
    token, settings = read_token(file), settings_or_exit(wiring.load_settings, "Nothing was revoked")
    with answering(as_json):
        outcome = use_cases.revoke(settings, use_cases.nonce_store(settings))(token, OPERATOR)
    revoked = outcome is Outcome.REVOKED
    if as_json:
        tell_json({"revoked": int(revoked), "outcome": str(outcome)})
    else:
        click.echo(f"{'REVOKED' if revoked else 'NOT REVOKED'}: {_OUTCOMES[outcome]}")
    sys.exit(0 if revoked else REFUSED)


def _revoke_before(names: Mapping[Scope, str], source: str | None, second: int | None, as_json: bool) -> None:
    if len(names) != 1 or (source is not None and "subject" not in names) or not all(names.values()) or source == "":
        raise click.UsageError("Give one of --subject, --profile and --account; --source with --subject only.")
    settings = settings_or_exit(wiring.load_settings, "Nothing was revoked")
    ((scope, name),) = names.items()
    mark = Watermark(scope, name, wiring.clock() + 1 if second is None else second, source or "")
    with answering(as_json):
        use_cases.revoke(settings, use_cases.nonce_store(settings)).before(mark, OPERATOR)
    if as_json:
        tell_json({"revoked": "watermark", "issued_before": mark.issued_before})
        return
    of = f" of {source}" if source else ""
    what = f"what {scope} {name!r}{of} was issued before {mark.issued_before}"
    click.echo(f"REVOKED: {what} cannot be spent here any more.")
