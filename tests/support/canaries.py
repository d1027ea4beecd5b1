"""Looks at everything that is said while the tests run, for what must never be said.

The secrets of the tests' configurations begin with CANARY and go on at random, so that one is known wherever it turns
up. Looked at are: what a test prints and logs, by a hook; logs, command lines and answers of the servers under test, by
those who run them; and in the end each log file that any test left behind.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from pathlib import Path

KEYS: Final = re.compile(rb"(?:private_|tsk_)?CANARY[0-9A-Za-z_-]{16,}")
"""Keys of every kind. The tests have texts with CANARY in them that are no keys; they are shorter, or end in a word."""

CREDENTIALS: Final = re.compile(rb"eyJ[\w-]{8,}\.[\w-]{6,}\.[\w-]{20,}|CANARYcredential")
"""JWTs, tickets, signed cookies: what may be in an answer, and never in a log."""

LOG_FILES: Final = re.compile(r"log|.*\.(?:log|jsonl|out|err|prom)(?:\.\d+)?")
_SHOWN: Final = 14
_MOST_BYTES: Final = 50_000_000

_handed_out: set[bytes] = set()


class LeakedError(AssertionError):
    """Something secret was said."""


def never_say(*texts: str) -> None:
    """These were handed out to the test, and must not turn up in a log of this process or of its servers."""
    _handed_out.update(text.encode() for text in texts)


def leaks_in(said: bytes | str, *, log: bool = True) -> list[str]:
    """The beginnings of the secrets in it. Answers to clients, which are no `log`, may hold credentials."""
    text = said.encode(errors="replace") if isinstance(said, str) else said
    found = KEYS.findall(text)
    if log:
        found += CREDENTIALS.findall(text)
        found += [secret for secret in _handed_out if secret in text]
    return sorted({f"{secret[:_SHOWN].decode()}…" for secret in found})


def require_silence(said: bytes | str, where: str, *, log: bool = True) -> None:
    """Fail if there is a secret in it."""
    if leaks := leaks_in(said, log=log):
        raise LeakedError(f"{where} has {', '.join(leaks)}")


def logs_below(folder: Path) -> Iterator[Path]:
    """Every file that is a log by its name."""
    for path in folder.rglob("*"):
        if LOG_FILES.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            yield path


def leaks_of_files(paths: Iterable[Path]) -> list[str]:
    """What is in them, each with its path."""
    return [
        f"{path} has {', '.join(leaks)}"
        for path in paths
        if path.stat().st_size < _MOST_BYTES and (leaks := leaks_in(path.read_bytes()))
    ]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """A test that printed or logged a secret has failed, whatever it asserts."""
    report = yield
    on_purpose = item.get_closest_marker("quotes_a_key") is not None
    if report.when == "teardown" and report.passed:
        for name, text in report.sections:
            if on_purpose and name.startswith("Captured log"):
                continue  # as it was raised; what is written of it passes through the redaction
            if leaks := leaks_in(text):
                report.outcome = "failed"
                report.longrepr = f"{item.nodeid}: {name} has {', '.join(leaks)}"
    return report


@pytest.fixture(scope="session", autouse=True)
def silent_logs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """In the end there is no secret in any log below this worker's temporary folder."""
    yield
    leaks = leaks_of_files(logs_below(tmp_path_factory.getbasetemp()))
    assert not leaks, "\n".join(leaks)
