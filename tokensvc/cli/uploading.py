"""`tokensvc upload`: many files of this disk, to the own endpoint or to ImageKit."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from secrets import SystemRandom
from typing import Any, Final

import click

from tokensvc.bulk.addresses import Address
from tokensvc.bulk.manifest import Manifest, ManifestError
from tokensvc.bulk.outcomes import Manner, Outcome, Result
from tokensvc.bulk.plan import Item, NothingThereError, Plan, plan
from tokensvc.bulk.progress import Progress, line_of, plain
from tokensvc.bulk.run import Run
from tokensvc.bulk.wire import Wire
from tokensvc.core.errors import Refusal
from tokensvc.core.params import PARAMETERS, require_text

from .telling import OUTAGE, REFUSED, USAGE, counted
from .upload_order import NAMES, Order

_INTERRUPTED: Final = 130
_DRAW_SECONDS: Final = 0.1
_MOST_JOBS: Final = 32


def _parameters(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or name not in PARAMETERS or name in parameters or name in ("fileName", "folder"):
            raise click.BadParameter(f"{text!r} is not NAME=VALUE of an upload parameter, such as tags=summer,dress.")
        try:
            parameters[name] = require_text(name, value)
        except Refusal as refusal:
            raise click.BadParameter(refusal.detail) from None
    return parameters


def _address(_context: click.Context, _option: click.Parameter, url: str | None) -> Address | None:
    try:
        return None if url is None else Address.parse(url)
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from None


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--to", callback=_address, metavar="URL", help="Service, or upload endpoint. [default: a local one]")
@click.option("--auth", callback=_address, metavar="URL", help="Service that issues the credentials. [default: --to]")
@click.option("--profile", default="default", show_default=True, metavar="NAME", help="Under which profile.")
@click.option("--key-file", type=click.Path(path_type=Path), help="File with an api key. [default: TOKENSVC_API_KEY]")
@click.option("--sign", is_flag=True, help="Sign here, with the private key of the configuration.")
@click.option("--v2", is_flag=True, help="Use v2 credentials, which bind the parameters.")
@click.option("--into", default="/", show_default=True, metavar="FOLDER", help="Folder over there.")
@click.option(
    "--names",
    type=click.Choice(list(NAMES)),
    default="keep",
    show_default=True,
    help="keep: never onto another file; overwrite: as a new version; unique: with a suffix.",
)
@click.option("--set", "parameters", multiple=True, callback=_parameters, metavar="NAME=VALUE", help="A parameter.")
@click.option("--jobs", type=click.IntRange(1, _MOST_JOBS), default=4, show_default=True, help="Files at a time.")
@click.option("--tries", type=click.IntRange(1, 100), default=6, show_default=True, help="For each file.")
@click.option("--manifest", type=click.Path(path_type=Path, dir_okay=False), help="Notes what is done, to go on later.")
@click.option("--dry-run", is_flag=True, help="Say what would be sent where, and send nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line for each file.")
def upload(*, dry_run: bool, as_json: bool, paths: tuple[str, ...], into: str, **options: Any) -> None:  # noqa: ANN401 - see `Order`
    """Upload files, folders and patterns; a credential for each, just before it is used. See docs/bulk.md.

    Exit status: 0 all are there, 1 some were refused, 2 wrong usage, key or configuration, 3 no answer, 130 Ctrl-C.
    """
    try:
        planned = plan(paths, into=into)
    except NothingThereError as exc:
        raise click.BadParameter(str(exc), param_hint="PATH") from None
    except Refusal as refusal:
        raise click.BadParameter(refusal.detail, param_hint="--into") from None
    order = Order(**options)
    teller = _Teller(as_json, len(planned.items), sum(item.size for item in planned.items))
    for passed in planned.passed:
        teller.tell_passed(str(passed.path), passed.why)
    if dry_run:
        for item in planned.items:
            teller.tell_planned(item, str(order.endpoint))
        sys.exit(REFUSED if planned.passed else 0)
    with _manifest(order) as manifest:
        wire = Wire(order.endpoint)
        manner = Manner({**NAMES[order.names], **order.parameters}, order.jobs, order.tries)
        run = Run(wire, order.lender(), manner, teller, SystemRandom().random, manifest)
        interrupted = _attend(run, planned, teller)
    sys.exit(teller.finish(run, interrupted=interrupted))


class _Teller(Progress):
    """Progress on standard error, results on standard output."""

    def __init__(self, as_json: bool, files: int, size: int) -> None:
        super().__init__(sys.stderr, files=files, size=size, bars=sys.stderr.isatty())
        self._as_json = as_json
        self._counts: Counter[Outcome] = Counter()
        self._passed = 0
        self._printing = threading.Lock()

    def ended(self, result: Result) -> None:
        super().ended(result)
        with self._printing:
            self._counts[result.outcome] += 1
            if self._as_json:
                _print(_members(result))

    def tell_passed(self, path: str, why: str) -> None:
        self._passed += 1
        if self._as_json:
            _print({"path": path, "outcome": "refused", "why": why})
        click.echo(f"{Outcome.REFUSED:<10} {plain(path)}: {why}", err=True)

    def tell_planned(self, item: Item, endpoint: str) -> None:
        if self._as_json:
            _print({**_place(item), "outcome": "planned", "to": endpoint})
        else:
            click.echo(line_of(Result(item, Outcome.UNSENT)).replace(f"{Outcome.UNSENT:<10}", "would send", 1))

    def finish(self, run: Run, *, interrupted: bool) -> int:
        """Say how it ended; the exit status."""
        counts = self._counts
        unsent = counts[Outcome.UNSENT] + len(run.unsent)
        refused = counts[Outcome.REFUSED] + self._passed
        said = [f"{number} {outcome}" for outcome, number in counts.items() if outcome not in _COUNTED_BESIDE]
        said += [f"{number} {word}" for number, word in ((refused, "refused"), (unsent, "not sent")) if number]
        click.echo(
            f"{counted(sum(counts.values()) + self._passed + len(run.unsent), 'file')}: {', '.join(said)}.", err=True
        )
        if run.fault:
            click.echo(run.fault, err=True)
            return USAGE
        if interrupted:
            click.echo("Interrupted. Run the same command with the same --manifest to go on.", err=True)
            return _INTERRUPTED
        if counts[Outcome.UNANSWERED] or unsent:
            return OUTAGE
        return REFUSED if refused else 0


_COUNTED_BESIDE: Final = frozenset({Outcome.REFUSED, Outcome.UNSENT})


@contextlib.contextmanager
def _manifest(order: Order) -> Iterator[Manifest | None]:
    if order.manifest is None:
        yield None
        return
    try:
        manifest = Manifest(order.manifest, str(order.endpoint))
    except ManifestError as exc:
        raise click.BadParameter(str(exc), param_hint="--manifest") from None
    with manifest:
        yield manifest


def _attend(run: Run, planned: Plan, progress: Progress) -> bool:
    """Until all is over; whether it was interrupted. The first Ctrl-C lets what is being sent end, the second none."""
    asked = 0

    def on_signal(_number: int, _frame: object) -> None:
        nonlocal asked
        asked += 1  # no more: the thread that is interrupted may hold any lock

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        run.start(planned.items)
        while not run.over(_DRAW_SECONDS):
            if asked and not run.ending:
                run.end()
                progress.say("Ending when what is being sent has arrived. Ctrl-C again ends at once.")
            if asked > 1:
                run.abort()
            progress.draw()
    finally:
        progress.clear()
        for number, handler in before.items():
            signal.signal(number, handler)
    return asked > 0


def _members(result: Result) -> dict[str, Any]:
    members: dict[str, Any] = {**_place(result.item), "outcome": str(result.outcome), "tries": result.tries}
    if result.why:
        members["why"] = result.why
    return members | {name: result.answer[name] for name in ("fileId", "filePath", "url") if name in result.answer}


def _place(item: Item) -> dict[str, Any]:
    return {"path": str(item.path), "target": item.target, "size": item.size}


def _print(members: Mapping[str, Any]) -> None:
    click.echo(json.dumps(members).encode())  # ASCII: a path may hold bytes that are no text
    sys.stdout.flush()
