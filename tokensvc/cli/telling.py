"""What several commands say alike: the configuration's faults, JSON, and how they end."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

import click

from tokensvc.config import ConfigurationError, Fault, Settings

REFUSED: Final = 1
USAGE: Final = 2
OUTAGE: Final = 3

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def settings_or_exit(load: Callable[[], Settings], consequence: str = "tokensvc does not start") -> Settings:
    """The settings, or the faults in them and status 2."""
    try:
        return load()
    except ConfigurationError as exc:
        tell_faults(exc.faults, consequence)
        click.echo("To try it out without configuration: tokensvc dev", err=True)
        sys.exit(USAGE)


def tell_faults(faults: Sequence[Fault], consequence: str, where: str = "the configuration") -> None:
    """On standard error, all of them."""
    click.echo(f"{consequence}: {counted(len(faults), 'fault')} in {where}.", err=True)
    for fault in faults:
        click.echo("\n".join(lines_of(fault)), err=True)


def lines_of(fault: Fault) -> list[str]:
    """A fault as people read it: place and what, then the remedy."""
    return [f"  {fault.place}: {fault.what}", *([f"      {fault.remedy}"] if fault.remedy else [])]


def counted(number: int, noun: str) -> str:
    """`1 fault`, `2 faults`."""
    return f"{number} {noun}{'s' * (number != 1)}"


def members_of(fault: Fault) -> dict[str, str]:
    """A fault as JSON has it."""
    return {"place": fault.place, "what": fault.what, "remedy": fault.remedy}


def tell_json(value: Any) -> None:  # noqa: ANN401 - any JSON
    """On standard output, for programs and people."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))
