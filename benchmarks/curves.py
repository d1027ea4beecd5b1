"""What an issue costs with less of what it promises, and as something grows: records outstanding, workers, the size of
a batch, profiles and api keys.

The servers of one curve run side by side and are asked in turn, so that a curve is no drift of the machine.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from . import contenders, load, rounds, service
from .processes import Running
from .rounds import Case, Figures

_OUTSTANDING = (0, 10_000, 100_000, 1_000_000)
_WORKERS = (1, 2, 4)
_BATCHES = (1, 10, 100)
_CONFIGURED = (10, 100, 1_000, 10_000)
_COPIES_AT_ONCE = 20_000
_ROOM_FOR_ALL = "2gb"
_SETTLE_SECONDS = 120

_COPY = """
for number = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local key = 'ik{00}:n:' .. string.format('%022d', number)
  redis.call('COPY', KEYS[1], key)
  redis.call('EXPIRE', key, 3600)
end
"""


@dataclass(frozen=True, slots=True)
class Curve:
    """Figures by what grew. `divisor` is how many credentials a request of that point is for."""

    title: str
    points: Mapping[str, Figures]
    divisor: Mapping[str, int]
    notes: Mapping[str, str]


def curves(folder: Path, number: int, seconds: float, tell: Callable[[str], None]) -> list[Curve]:
    """All curves, in the order of the page."""
    folder.mkdir()
    made = []
    for measure in (_promises, _outstanding, _workers, _batches, _configured):
        with ExitStack() as stack:
            curve = measure(folder, stack)
            tell(f"curve: {curve.title}")
            points = rounds.interleaved(curve.cases, number, seconds, tell)
            made.append(Curve(curve.title, points, curve.divisor, curve.notes))
    return made


def ratio(made: Sequence[Curve], over: str, under: str, *, rate: bool = False) -> float | None:
    """One point to another, of the curve that has both: CPU, or requests a second."""
    for curve in made:
        if over in curve.points and under in curve.points:
            first, second = curve.points[over], curve.points[under]
            if rate:
                return first.median(lambda each: each.answered.rate) / second.median(lambda each: each.answered.rate)
            return first.cpu_us / second.cpu_us
    return None


def room(made: Sequence[Curve], over: str, under: str) -> float | None:
    """How many times as many requests a second these cores have room for, with all that runs on them beside it."""
    for curve in made:
        if over in curve.points and under in curve.points:
            first, second = curve.points[over], curve.points[under]
            all_us = first.cpu_us + first.median(lambda each: each.answered.generator_us)
            return len(os.sched_getaffinity(0)) * 1e6 / all_us / second.median(lambda each: each.answered.rate)
    return None


def page(made: Sequence[Curve]) -> str:
    """The page of the results, in Markdown."""
    lines = [
        "# As it grows",
        "",
        "CPU is of service and store, the median of the rounds with the least and the most.",
        "",
    ]
    for curve in made:
        lines += [
            f"## {curve.title}",
            "",
            "| | CPU µs a credential | least-most | of it the store | requests/s | |",
            "|---|---:|---:|---:|---:|---|",
        ]
        for name, figures in curve.points.items():
            each = curve.divisor.get(name, 1)
            low, high = (value / each for value in figures.spread)
            rate = figures.median(lambda one: one.answered.rate)
            note = curve.notes.get(name, "")
            store = figures.median(lambda one: one.store_us) / each
            told = f"{figures.cpu_us / each:,.0f} | {low:,.0f}-{high:,.0f} | {store:,.0f} | {rate:,.0f}"
            lines.append(f"| {name} | {told} | {note} |")
        lines.append("")
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class _Planned:
    title: str
    cases: Sequence[Case]
    divisor: Mapping[str, int]
    notes: Mapping[str, str]


def _promises(folder: Path, stack: ExitStack) -> _Planned:
    file = load.write_requests(folder / "promises.requests", service.v1_requests())
    kept: dict[str, tuple[service.Size, dict[str, str]]] = {
        "all of them": (service.Size(), {}),
        "without rate and day": (service.Size(limits=False), {}),
        "on file, not synced": (service.Size(), {"appendfsync": "no"}),
        "on no file": (service.Size(), {"appendonly": "no"}),
        "on no file, without rate and day": (service.Size(limits=False), {"appendonly": "no"}),
    }
    cases = []
    for number, (name, (size, settings)) in enumerate(kept.items()):
        own = folder / f"promises-{number}"
        running = stack.enter_context(_on_store_of_its_own(own, size, **settings))
        cases.append(_case(name, running, file))
    return _Planned("What each promise costs", cases, {}, {})


@contextmanager
def _on_store_of_its_own(folder: Path, size: service.Size, **settings: str) -> Iterator[Running]:
    folder.mkdir()
    with (
        contenders.store(folder, **settings) as (socket, pid),
        service.service(folder / "service", size, store=f"unix://{socket}") as running,
    ):
        yield Running(running.port, (*running.pids, pid), running.start_seconds)


def _outstanding(folder: Path, stack: ExitStack) -> _Planned:
    file = load.write_requests(folder / "outstanding.requests", service.v1_requests())
    cases = []
    for number in _OUTSTANDING:
        running = stack.enter_context(_beside_records(folder / f"records-{number}", number))
        cases.append(_case(f"{number:,} outstanding", running, file))
    return _Planned("Records outstanding", cases, {}, {})


@contextmanager
def _beside_records(folder: Path, number: int) -> Iterator[Running]:
    """A service whose store holds so many more records: copies of a real one, so of its form and size."""
    with _on_store_of_its_own(folder, service.Size(), maxmemory=_ROOM_FOR_ALL) as running:
        service.issue(running.port, 1)
        client = redis.Redis(unix_socket_path=str(folder / "store.sock"))
        record = next(client.scan_iter("ik{00}:n:*"))
        for first in range(1, number + 1, _COPIES_AT_ONCE):
            client.eval(_COPY, 1, record, first, min(first + _COPIES_AT_ONCE - 1, number))
        _settle(client)
        client.close()
        yield running


def _settle(client: redis.Redis) -> None:
    """Wait until the store has written its file anew, which it does in the background when the file has grown."""
    ends = time.monotonic() + _SETTLE_SECONDS
    while client.info("persistence")["aof_rewrite_in_progress"] and time.monotonic() < ends:
        time.sleep(0.1)


def _workers(folder: Path, stack: ExitStack) -> _Planned:
    file = load.write_requests(folder / "workers.requests", service.v1_requests())
    cases = []
    for number in _WORKERS:
        running = stack.enter_context(service.service(folder / f"workers-{number}", service.Size(workers=number)))
        cases.append(_case(f"{number} worker{'s' * (number > 1)}", running, file))
    return _Planned("Workers", cases, {}, {})


def _batches(folder: Path, stack: ExitStack) -> _Planned:
    running = stack.enter_context(service.service(folder / "batches"))
    cases, divisor = [], {}
    for version in ("v1", "v2"):
        for number in _BATCHES:
            name = f"{number} {version}"
            requests = service.batch_requests(version, number)
            file = load.write_requests(folder / f"batch-{version}-{number}", requests)
            cases.append(Case(name, name, running, load.sending(running.port, file, service.BATCH_SECONDS)))
            divisor[name] = number
    return _Planned("Credentials in a batch", cases, divisor, {})


def _configured(folder: Path, stack: ExitStack) -> _Planned:
    file = load.write_requests(folder / "configured.requests", service.v1_requests())
    cases, notes = [], {}
    for number in _CONFIGURED:
        size = service.Size(keys=number, profiles=number)
        running = stack.enter_context(service.service(folder / f"configured-{number}", size))
        name = f"{number:,} of each"
        cases.append(_case(name, running, file))
        notes[name] = f"first answer after {running.start_seconds:.1f} s"
    return _Planned("Profiles and api keys", cases, {}, notes)


def _case(name: str, running: Running, file: Path) -> Case:
    return Case(name, name, running, load.sending(running.port, file))
