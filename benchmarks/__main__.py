"""`make bench`, or `make bench ARGS=--quick`: starts the service and its peers, measures, and writes results/.

It is bounded in time, stays on loopback, and ends all that it starts. `--only v1,express` measures just these. What an
issue costs as something grows is measured by a whole run, and with `--curves` by the two short ones, too.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from . import contenders, curves, load, plot, processes, report, rounds, service, store
from .cases import NAMES, OURS, Bench
from .goals import Extras, goals
from .processes import Running
from .report import Resting
from .rounds import Case, Figures, Round

RESULTS = Path(__file__).with_name("results")
_HALF_LOAD_CONNECTIONS = 64
_ISSUES = 1000
_NOT_AT_HALF_LOAD = frozenset({"redeem", "batch-v1", "batch-v2"})


@dataclass(frozen=True, slots=True)
class Asked:
    """The command line."""

    rounds: int
    seconds: float
    workers: int
    uploads: int
    programs: Path
    only: frozenset[str]
    curves: bool
    out: Path


def main() -> None:
    """Measure, print and write."""
    asked = _read_command_line()
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        bench = Bench(
            Path(name),
            stack,
            programs=asked.programs,
            workers=asked.workers,
            uploads=asked.uploads,
            only=asked.only,
        )
        cases = bench.small()
        seen = rounds.interleaved(cases, asked.rounds, asked.seconds, _tell)
        _tell("half of the load")
        half = {
            case.name: _at_half_load(bench, case, seen[case.name], asked.seconds)
            for case in cases
            if case.name not in _NOT_AT_HALF_LOAD
        }
        extras = _extras(bench, half)
        _tell("uploads")
        seen |= rounds.interleaved(bench.large(), asked.rounds, asked.seconds, _tell)
        resting = _resting(bench)
        alone = store.at_most(Path(name))
    if asked.curves:
        extras = _with_curves(asked, extras)
    how = (
        f"{asked.workers} processes each, {load.CONNECTIONS} connections, {asked.rounds} rounds of "
        f"{asked.seconds:g} s (of batches {service.BATCH_SECONDS:g}), the service in {service.ENVIRONMENT}"
    )
    text = report.page(seen, half, resting, goals(seen, extras), how, alone)
    asked.out.mkdir(exist_ok=True)
    (asked.out / "latest.md").write_text(text)
    singles = {name: figures for name, figures in seen.items() if not name.startswith(("batch", "upload"))}
    if singles:
        (asked.out / "latest.svg").write_text(plot.bars("One credential a request", singles, frozenset(OURS)))
    print(text)


def _read_command_line() -> Asked:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks")
    parser.add_argument("--quick", action="store_true", help="3 rounds of 2 s: a few minutes")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="length of a round")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--programs", type=Path, default=Path(".venv/peers/bin"), help="where the peers' programs are")
    parser.add_argument("--only", default="", help="names of cases, with commas between")
    parser.add_argument("--curves", action="store_true", help="with --quick or --only, the curves too")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    only = frozenset(filter(None, given.only.split(",")))
    if not only <= frozenset(NAMES):
        parser.error(f"the cases are {', '.join(NAMES)}")
    return Asked(
        given.rounds or (3 if given.quick else 5),
        given.seconds or (2 if given.quick else 5),
        given.workers,
        8 if given.quick else 24,
        given.programs.absolute(),
        only,
        given.curves or not (given.quick or only),
        given.out,
    )


def _at_half_load(bench: Bench, case: Case, figures: Figures, seconds: float) -> Round:
    """Answer times when the connections pause so long that about half of the most is asked for."""
    rate = figures.median(lambda each: each.answered.rate) / 2
    pause_ms = _HALF_LOAD_CONNECTIONS / rate * 1000
    file, port = bench.file(case.name), case.running.port
    half = Case(
        case.name,
        case.label,
        case.running,
        lambda seconds: lambda: load.send(port, file, seconds, connections=_HALF_LOAD_CONNECTIONS, pause_ms=pause_ms),
    )
    return rounds.measure(half, seconds)


def _extras(bench: Bench, half: Mapping[str, Round]) -> Extras:
    def trips(answer: Callable[[], int]) -> float:
        before = store.reads(bench.service_folder)
        answered = answer()
        return (store.reads(bench.service_folder) - before) / answered

    def one_by_one() -> int:
        service.issue(bench.service.port, _ISSUES)
        return _ISSUES

    def together() -> int:
        file = load.write_requests(bench.file("together"), service.v1_requests())
        return load.send(bench.service.port, file, 1).requests

    return Extras(
        half["v1"].answered.p99 if "v1" in half else None,
        _megabytes(bench.service),
        bench.service.start_seconds,
        trips(one_by_one),
        trips(together),
    )


def _with_curves(asked: Asked, extras: Extras) -> Extras:
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        made = curves.curves(Path(name) / "curves", asked.rounds, asked.seconds, _tell)
    asked.out.mkdir(exist_ok=True)
    (asked.out / "curves.md").write_text(curves.page(made))
    return replace(
        extras,
        million_against_empty=curves.ratio(made, "1,000,000 outstanding", "0 outstanding"),
        two_workers_against_one=curves.ratio(made, "2 workers", "1 worker", rate=True),
        room_for_two=curves.room(made, "2 workers", "1 worker"),
    )


def _resting(bench: Bench) -> dict[str, Resting]:
    labels = {each.name: each.label for each in contenders.ALL}
    servers = {"tokensvc, with its store": bench.service} | {labels[name]: each for name, each in bench.peers.items()}
    return {label: Resting(running, _megabytes(running)) for label, running in servers.items()}


def _megabytes(running: Running) -> float:
    return processes.memory(running.pids)[0] / 1e6


def _tell(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
