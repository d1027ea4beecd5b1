"""`tokensvc audit`: whether the audit is as it was written."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tokensvc import events, wiring
from tokensvc.adapters.audit import Report, Seal
from tokensvc.adapters.audit import verify as look_at

from .telling import REFUSED, USAGE, counted, json_option, settings_or_exit, tell_json


@click.group()
def audit() -> None:
    """Look at the audit."""


@audit.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "--key-file", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="Key that lines are sealed with."
)
@json_option
def verify(files: tuple[Path, ...], key_file: Path | None, as_json: bool) -> None:
    """Tell whether FILES, parts of one audit in any order, are as they were written: every line, and none missing.

    Without FILES: the configured file with the configured key. Status 1 if something was changed.
    """
    seal = Seal(key_file.read_bytes().removesuffix(b"\n").removesuffix(b"\r") if key_file is not None else None)
    if not files:
        settings = settings_or_exit(wiring.load_settings, "nothing was looked at")
        if settings.audit.file is None:
            click.echo("No audit file is configured. Name the files, or set [audit] file.", err=True)
            sys.exit(USAGE)
        files = (settings.audit.file,)
        seal = seal if key_file is not None else events.audit_seal(settings)
    try:
        report = look_at(files, seal)
    except (OSError, EOFError) as exc:
        click.echo(f"{exc}", err=True)
        sys.exit(USAGE)
    if as_json:
        tell_json(_members(report))
    else:
        _tell(report)
    sys.exit(0 if report.intact else REFUSED)


def _tell(report: Report) -> None:
    for finding in report.notes:
        click.echo(f"{finding.place}: note: {finding.what}")
    for finding in report.faults:
        click.echo(f"{finding.place}: {finding.what}")
    if report.wrong_key:
        click.echo("Look at it again with the key that it is sealed with: --key-file.")
    head = f"numbers {report.first} to {report.last.number}, the last sealed {report.last.seal}" if report.lines else ""
    said = "intact" if report.intact else counted(len(report.faults), "fault")
    click.echo(f"{counted(report.lines, 'line')}, {said}" + (f": {head}" if head else ""))


def _members(report: Report) -> dict[str, object]:
    return {
        "intact": report.intact,
        "lines": report.lines,
        "first": report.first,
        "last": report.last.number,
        "seal": report.last.seal,
        "faults": [{"file": str(f.place.path), "line": f.place.line, "what": f.what} for f in report.faults],
        "notes": [{"file": str(f.place.path), "line": f.place.line, "what": f.what} for f in report.notes],
    }
