"""A pytest plugin: the development server of tokensvc for another project's tests.

    # conftest.py
    pytest_plugins = ["tokensvc.embed.pytest"]

    # a test
    def test_an_avatar_is_uploaded(tokensvc):
        ...  # tokensvc.auth_url, tokensvc.upload_url, tokensvc.public_key

It runs `tokensvc dev` as a program, on a free port of the loopback and with data of its own; with pytest-xdist one for
each worker. It is not loaded unless it is named, and nothing else of tokensvc needs pytest.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 20.0
_ANSWER_SECONDS: Final = 30.0
_LOOK_AGAIN_SECONDS: Final = 0.05
_TRIES: Final = 3
_OK: Final = 200
_LOG_CHARACTERS: Final = 4000
_NOT_FOR_THE_EMULATOR: Final = ("REDIS_URL", "REDIS_URL_FILE", "GUNICORN_CMD_ARGS")
_MARK: Final = (
    "tokensvc(*faults, seed=None, clock=None): what the emulator does wrong in this test, such as "
    "'reject=x1' or 'latency=500ms', and its clock, such as '+2h'; see docs/testing.md of tokensvc."
)


class EmulatorError(Exception):
    """The emulator did not start, or did not do as it was told. The message says why."""


@dataclass(frozen=True, slots=True)
class Emulator:
    """A running `tokensvc dev`. `url` is its scheme, host and port."""

    url: str
    public_key: str
    private_key: str = field(repr=False)
    api_key: str = field(repr=False)
    data: Path
    pid: int

    @property
    def auth_url(self) -> str:
        """The authentication endpoint: GET issues v1 credentials, POST v2."""
        return f"{self.url}/auth"

    @property
    def headers(self) -> Mapping[str, str]:
        """What to send to `auth_url`."""
        return {"Authorization": f"Bearer {self.api_key}"}

    @property
    def upload_url(self) -> str:
        """The upload endpoint for v1 credentials and the private key; for `uploadEndpoint` of the SDKs."""
        return f"{self.url}/api/v1/files/upload"

    @property
    def upload_v2_url(self) -> str:
        """The upload endpoint for v2 credentials."""
        return f"{self.url}/api/v2/files/upload"

    @property
    def url_endpoint(self) -> str:
        """Where uploaded files are; for `urlEndpoint` of the SDKs."""
        return f"{self.url}/files"

    def reset(self) -> None:
        """Forget credentials, counts and files, and do nothing wrong any more."""
        self._tell("reset", {})

    def faults(self, *faults: str, seed: int | None = None) -> None:
        """Do this wrong from now on, and nothing else; EmulatorError if it is no fault."""
        self._tell("faults", {"faults": list(faults), **({} if seed is None else {"seed": seed})})

    def set_clock(self, text: str) -> None:
        """Set its clock: `now`, `+300s`, Unix seconds, or a time such as `2026-01-31T12:00:00Z` at which it stands."""
        self._tell("clock", {"set": text})

    def move_clock(self, text: str) -> None:
        """Move its clock on or back: `+1h`, `-30s`."""
        self._tell("clock", {"move": text})

    def state(self) -> dict[str, Any]:
        """Faults, seed, clock, and how many files it has."""
        return _ask(self.url, "GET", "state", None)

    def _tell(self, what: str, body: Mapping[str, Any]) -> None:
        _ask(self.url, "POST", what, body)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say what can be set."""
    parser.addini(
        "tokensvc_origins", "Origins whose pages may ask tokensvc's emulator, one a line.", type="linelist", default=[]
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark, for `--strict-markers`."""
    config.addinivalue_line("markers", _MARK)


@pytest.fixture(scope="session")
def tokensvc_server(pytestconfig: pytest.Config) -> Iterator[Emulator]:
    """One emulator for all tests of this process. What one test does to it the next one sees; see `tokensvc`."""
    data = Path(tempfile.mkdtemp(prefix="tokensvc-"))  # not below tmp_path, which may be too long for a socket
    try:
        with running(data, pytestconfig.getini("tokensvc_origins")) as emulator:
            yield emulator
    finally:
        shutil.rmtree(data, ignore_errors=True)


@pytest.fixture
def tokensvc(request: pytest.FixtureRequest, tokensvc_server: Emulator) -> Emulator:
    """The emulator as new: no credential, no count and no file of a test before; with the faults of the mark."""
    tokensvc_server.reset()
    mark = request.node.get_closest_marker("tokensvc")
    if mark is not None:
        wanted = dict(mark.kwargs)
        clock, seed = wanted.pop("clock", None), wanted.pop("seed", None)
        if wanted:
            raise EmulatorError(f"The mark tokensvc has no {', '.join(wanted)}; it takes faults, seed and clock.")
        tokensvc_server.faults(*mark.args, seed=seed)
        if clock is not None:
            tokensvc_server.set_clock(clock)
    return tokensvc_server


@contextlib.contextmanager
def running(data: Path, origins: Sequence[str] = ()) -> Iterator[Emulator]:
    """An emulator while the block lasts, for where there are no fixtures. `data` is an existing folder, its own.

    EmulatorError if it does not start. The path of `data` has to be short: a socket is in it.
    """
    for _ in range(_TRIES):  # between its choice and its use somebody else may take the port
        with contextlib.ExitStack() as stack:
            emulator = _start(stack, data, origins)
            if emulator is not None:
                yield emulator
                return
    raise EmulatorError(f"tokensvc dev did not start.\n{_log(data)}")


def _start(stack: contextlib.ExitStack, data: Path, origins: Sequence[str]) -> Emulator | None:
    """Start it and wait until it answers; None if its port was taken meanwhile."""
    port = _free_port()
    command = ["env", *(part for name in _NOT_FOR_THE_EMULATOR for part in ("-u", name))]
    command += [sys.executable, "-m", "tokensvc", "dev", "--end-with-parent"]
    command += ["--bind", f"127.0.0.1:{port}", "--data", str(data), "--seed", "0"]
    command += [part for origin in origins for part in ("--origin", origin)]
    with (data / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own command line
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    stack.callback(_end, process)
    url, until = f"http://127.0.0.1:{port}", time.monotonic() + _START_SECONDS
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException, EmulatorError, KeyError):
            texts = {
                name: (data / "dev" / name).read_text().strip() for name in ("public-key", "private-key", "api-key")
            }
            if _ask(url, "GET", "state", None)["publicKey"] == texts["public-key"]:
                return Emulator(url, texts["public-key"], texts["private-key"], texts["api-key"], data, process.pid)
        if process.poll() is not None:
            if "in use" in _log(data):
                return None
            raise EmulatorError(f"tokensvc dev ended with status {process.returncode}.\n{_log(data)}")
        if time.monotonic() > until:
            raise EmulatorError(f"tokensvc dev did not answer within {_START_SECONDS:g} s.\n{_log(data)}")
        time.sleep(_LOOK_AGAIN_SECONDS)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End this process, which ends all that it has started, and wait for it."""
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _log(data: Path) -> str:
    return (data / "log").read_text(errors="replace")[-_LOG_CHARACTERS:]


def _ask(url: str, method: str, what: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
    """Ask the emulator's control; by http.client, which no proxy variable of the environment leads astray."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=_ANSWER_SECONDS)
    with contextlib.closing(connection):
        sent = None if body is None else json.dumps(body)
        connection.request(method, f"/dev/{what}", sent, {"X-Tokensvc-Dev": "1", "Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
    try:
        members = json.loads(text)
    except ValueError:
        members = {}
    if answer.status != _OK or not isinstance(members, dict):
        detail = members.get("detail", "") if isinstance(members, dict) else ""
        raise EmulatorError(detail or f"The emulator answered {method} /dev/{what} with status {answer.status}.")
    return members
