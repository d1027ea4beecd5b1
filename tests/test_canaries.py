"""The watch over everything that the tests say bites: a leak of each kind fails, on several workers too."""

from __future__ import annotations

import re
import secrets
import shutil
import sys
import threading
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest

from tests.support.canaries import LeakedError, leaks_in, never_say
from tests.support.processes import until
from tests.support.service import Client, Deployment, Running
from tests.test_house import run

if TYPE_CHECKING:
    from pathlib import Path

CONFTEST = "from tests.support.canaries import pytest_runtest_makereport, silent_logs\n"
TESTS = """
import logging, sys
from tests.support.canaries import never_say
KEY = "tsk_CAN" + "ARY" + 16 * "a"
JWT = "eyJ" + 10 * "a" + "." + 10 * "b" + "." + 30 * "c"
def test_clean(): print("tsk_ CANARY, eyJ and CANARY-token", KEY[:-1])
def test_printed(): print("it is", KEY)
def test_complained(): sys.stderr.write(KEY)
def test_logged(caplog): logging.getLogger("any").warning("it is %s", KEY)
def test_jwt(): print(JWT)
def test_handed_out(): never_say("0123456789"); print("it is 0123456789")
"""
LEFT_BEHIND = 'def test_left(tmp_path): (tmp_path / "service.log").write_text("tsk_CAN" + "ARY" + 16 * "a")\n'


def outcomes(folder: Path, tests: str, *options: str) -> tuple[int, set[str], str]:
    """Status of a run of these tests, who failed, and all that it said."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_them.py").write_text(tests)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", str(folder)]
    told = run(*command, "-ra", "--basetemp", str(folder / "t"), *options, str(folder / "test_them.py"), cwd=folder)
    shutil.rmtree(folder / "t")  # or the run that we are in would find the same leak
    failed = set(re.findall(r"^(?:ERROR|FAILED) \S*::test_(\w+)", told.stdout, re.MULTILINE))
    return told.returncode, failed, told.stdout


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "two workers"])
def test_what_a_test_says_is_looked_at(tmp_path: Path, workers: tuple[str, ...]) -> None:
    status, failed, said = outcomes(tmp_path, TESTS, *workers)
    assert (status, failed) == (1, {"printed", "complained", "logged", "jwt", "handed_out"}), said


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "two workers"])
def test_what_is_left_behind_in_a_log_is_looked_at(tmp_path: Path, workers: tuple[str, ...]) -> None:
    status, failed, said = outcomes(tmp_path, LEFT_BEHIND, *workers)
    assert (status, failed) == (1, {"left"}), said
    assert "service.log has tsk_CANARYaaaa…" in said


@pytest.mark.parametrize("how", ["log", "argument"])
def test_what_a_process_says_and_its_command_line_are_looked_at(tmp_path: Path, how: str) -> None:
    deployment = Deployment(tmp_path)
    if how == "log":
        script = f"import time; print({deployment.api_key!r}, flush=True); time.sleep(60)"
        (tmp_path / "script.py").write_text(script)
        command = [sys.executable, str(tmp_path / "script.py")]
    else:
        command = [sys.executable, "-c", "import time; time.sleep(60)", deployment.api_key]
    (tmp_path / "d").mkdir()
    service = Running(command, {}, log=tmp_path / "said", data=tmp_path / "d")
    with pytest.raises(AssertionError, match="CANARY"), service:  # noqa: PT012 - it fails at the end
        if how == "log":
            until(lambda: "CANARY" in service.log)


class Indiscreet(BaseHTTPRequestHandler):
    """Answers everything with one text."""

    said = ""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.said)))
        self.end_headers()
        self.wfile.write(self.said.encode())

    def log_message(self, *_arguments: object) -> None:
        """Nothing."""


@pytest.mark.parametrize(
    ("path", "what", "is_found"),
    [
        ("/auth", "a key", True),
        ("/auth", "a JWT", False),
        ("/metrics", "a key", True),
        ("/metrics", "a JWT", True),
        ("/metrics", "what was handed out", True),
        ("/metrics", "nothing", False),
    ],
)
def test_answers_and_metrics_are_looked_at(tmp_path: Path, path: str, what: str, *, is_found: bool) -> None:
    """Credentials may be in an answer, and not in the metrics."""
    never_say(handed_out := secrets.token_hex(12))
    jwt = f"eyJ{'a' * 10}.{'b' * 10}.{'c' * 30}"
    texts = {"a key": Deployment(tmp_path).api_key, "a JWT": jwt, "what was handed out": handed_out}
    handler = type("Saying", (Indiscreet,), {"said": texts.get(what, "x 1")})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        answering = threading.Thread(target=server.handle_request)
        answering.start()
        with pytest.raises(LeakedError) if is_found else nullcontext():
            Client(server.server_port).request("GET", path)
        answering.join()


def test_an_answer_with_a_key_in_it_is_looked_at(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path)
    assert leaks_in(f'{{"detail": "{deployment.private_key}"}}', log=False) == ["private_CANARY…"]
    assert leaks_in('{"message": "eyJhbGciOiJI.eyJhbGciOiJI.aaaaaaaaaaaaaaaaaaaaaa"}', log=False) == []
