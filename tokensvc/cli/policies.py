"""`tokensvc policy test`: what a policy has to grant and to refuse, written down and held against the configuration."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tokensvc import wiring
from tokensvc.config import ConfigurationError
from tokensvc.config.cases import load_cases
from tokensvc.core.cases import Case, objections
from tokensvc.core.rehearsal import Rehearsed

from .issuing import as_members
from .telling import REFUSED, USAGE, counted, json_option, members_of, settings_or_exit, tell_faults, tell_json
from .trying import Stage


@click.group()
def policy() -> None:
    """Try what the profiles grant."""


@policy.command(name="test")
@click.argument("cases", type=click.Path(path_type=Path))
@json_option
def test_command(cases: Path, as_json: bool) -> None:
    """Hold the profiles to CASES, a TOML file of asks and what has to come of them; see docs/policy.md.

    Exit status: 0 all came out as expected, 1 some did not, 2 a fault in the file or in the configuration. Nothing is
    signed, recorded or counted.
    """
    stage = Stage.of(settings_or_exit(wiring.load_settings, "Nothing was tested"))
    try:
        read = load_cases(cases, sources=stage.sources)
    except ConfigurationError as exc:
        if as_json:
            tell_json({"faults": [members_of(fault) for fault in exc.faults]})
            sys.exit(USAGE)
        tell_faults(exc.faults, "Nothing was tested", str(cases))
        sys.exit(USAGE)
    now = wiring.clock()
    results = [(case, _try(stage, case, now)) for case in read]
    failed = sum(1 for case, rehearsed in results if objections(case.expected, rehearsed))
    if as_json:
        tell_json({"passed": len(read) - failed, "failed": failed, "cases": [_members(*each) for each in results]})
    else:
        for result in results:
            _tell(*result)
        click.echo(f"{counted(len(read), 'case')}, {failed} failed.")
    sys.exit(REFUSED if failed else 0)


def _try(stage: Stage, case: Case, now: int) -> Rehearsed:
    at = now if case.at is None else case.at
    return stage.rehearse(case.profile, case.source, case.subject, case.claims, case.ask, at)


def _tell(case: Case, rehearsed: Rehearsed) -> None:
    found = objections(case.expected, rehearsed)
    click.echo(f"{'FAILED' if found else 'ok':<7} {case.name}")
    for sentence in found:
        click.echo(f"        {sentence}")
    for line in rehearsed.trace if found else ():
        click.echo(f"          | {line}")


def _members(case: Case, rehearsed: Rehearsed) -> dict[str, object]:
    found = objections(case.expected, rehearsed)
    return {"name": case.name, "ok": not found, "objections": found, "result": as_members(rehearsed)}
