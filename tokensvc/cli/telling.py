"""What several commands say alike: the configuration's faults, JSON, and how they end."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import click

from tokensvc.config import ConfigurationError, Fault, Settings
from tokensvc.core.errors import Code, Outage, Refusal

REFUSED: Final = 1
USAGE: Final = 2
OUTAGE: Final = 3

STATUSES: Final = "Exit status: 0 yes, 1 refused, 2 wrong usage or configuration, 3 the store does not answer."

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def pairs_of(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """The options `NAME=VALUE`, each name once."""
    pairs = {name: value for name, sign, value in (text.partition("=") for text in texts) if sign and name}
    if len(pairs) != len(texts):
        raise click.BadParameter("write NAME=VALUE, each NAME once.")
    return pairs


@contextmanager
def answering(as_json: bool) -> Iterator[None]:
    """Tell how a use case refuses, or does not answer, and end with the status for it.

    A refusal is an answer, and on standard output; that there is none is told on standard error.
    """
    try:
        yield
    except ConfigurationError as exc:
        tell_faults(exc.faults, "Nothing was done")
        sys.exit(USAGE)
    except Outage as exc:
        if as_json:
            tell_json({"outage": exc.detail})
        click.echo(f"No answer: {exc.detail}", err=True)
        sys.exit(OUTAGE)
    except Refusal as exc:
        if as_json:
            tell_json({"refusal": {"code": exc.code, "field": exc.field, "detail": exc.detail, "remedy": exc.remedy}})
        else:
            click.echo(f"REFUSED with {exc.code}{f', field {exc.field}' if exc.field else ''}")
            click.echo("\n".join(f"  {line}" for line in (exc.detail, exc.remedy) if line))
        sys.exit(USAGE if exc.code == Code.REQUEST_MALFORMED else REFUSED)


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
