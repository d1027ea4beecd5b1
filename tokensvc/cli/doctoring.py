"""`tokensvc doctor`: what keeps the service from working, or soon will, and what to do about each."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from tokensvc import wiring
from tokensvc.config import ConfigurationError
from tokensvc.core.doctor import Finding, Level
from tokensvc.examination import Beyond, examine

from .telling import OUTAGE, REFUSED, USAGE, counted, json_option, members_of, settings_or_exit, tell_json


@click.command()
@json_option
@click.option(
    "--nginx",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A configuration file of the nginx in front, to compare its limits with ours.",
)
@click.option("--upstream/--no-upstream", default=True, help="Compare our clock with that of the URL endpoint.")
def doctor(as_json: bool, nginx: Path | None, upstream: bool) -> None:
    """Look at the configuration, the store, the clocks and this machine; tell what is wrong, each with a remedy.

    One nonce of nobody is recorded and redeemed in the store. Exit status: 0 it is fine, with warnings or without,
    1 there is something that stops the service, 2 the configuration has faults, 3 the store does not answer.
    """
    if as_json:
        try:
            settings = wiring.load_settings()
        except ConfigurationError as exc:
            tell_json({"fine": False, "faults": [members_of(fault) for fault in exc.faults]})
            sys.exit(USAGE)
    else:
        settings = settings_or_exit(wiring.load_settings, "tokensvc would not start")
    findings = examine(settings, Beyond(upstream=upstream, nginx=nginx))
    status = status_of(findings)
    if as_json:
        tell_json({"fine": status == 0, "findings": [_members(finding) for finding in findings]})
    else:
        _tell(findings)
    sys.exit(status)


def status_of(findings: Sequence[Finding]) -> int:
    """The exit status that they come to."""
    levels = {finding.level for finding in findings}
    if Level.FATAL in levels:
        return REFUSED
    return OUTAGE if Level.OUTAGE in levels else 0


def _tell(findings: Sequence[Finding]) -> None:
    for finding in findings:
        click.echo(f"{finding.level:8} {finding.place}: {finding.what}")
        if finding.remedy:
            click.echo(f"{'':8} -> {finding.remedy}")
    bad = [finding for finding in findings if finding.level in {Level.FATAL, Level.OUTAGE}]
    warnings = sum(finding.level is Level.WARNING for finding in findings)
    verdict = f"{counted(len(bad), 'finding')} that must be mended" if bad else "Nothing keeps the service from working"
    click.echo(f"{verdict}; {counted(warnings, 'warning')}.")


def _members(finding: Finding) -> dict[str, str]:
    return {"level": finding.level, "place": finding.place, "what": finding.what, "remedy": finding.remedy}
