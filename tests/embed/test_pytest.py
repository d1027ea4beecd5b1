"""The pytest plugin, in a project of its own: three lines, a server for each worker, and nothing left at the end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import PATIENCE_SECONDS, alive, inside, until
from tests.support.service import clean_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFTEST = 'pytest_plugins = ["tokensvc.embed.pytest"]\n'
CLIENT = """
import json, urllib.error, urllib.request, uuid
from pathlib import Path
import pytest

def issue(emulator):
    asked = urllib.request.Request(emulator.auth_url, headers=dict(emulator.headers))
    with urllib.request.urlopen(asked) as answer:
        return json.load(answer)

def upload(emulator, credential, **fields):
    fields = {"fileName": "a.txt", "file": "aGVsbG8gaGVsbG8gaGVsbG8gaGVsbG8=", **credential, **fields}
    boundary = uuid.uuid4().hex
    parts = [f'--{boundary}\\r\\nContent-Disposition: form-data; name="{name}"\\r\\n\\r\\n{text}\\r\\n'
             for name, text in fields.items()]
    body = ("".join(parts) + f"--{boundary}--\\r\\n").encode()
    asked = urllib.request.Request(
        emulator.upload_url, body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})
    try:
        with urllib.request.urlopen(asked) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)

@pytest.fixture(autouse=True)
def note(tokensvc_server):
    path = Path("servers")
    path.mkdir(exist_ok=True)
    (path / str(tokensvc_server.pid)).write_text(str(tokensvc_server.data))
"""


class Project:
    """Another project's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "conftest.py").write_text(CONFTEST)

    def command(self, *arguments: str) -> list[str]:
        """Its test run."""
        return [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--strict-markers", *arguments]

    def run(self, tests: str, *arguments: str, ini: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
        """Run these tests to the end."""
        self.write(tests, ini)
        return subprocess.run(
            self.command(*arguments),
            env=self.environment(settings),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS * 2,
            check=False,
        )

    def write(self, tests: str, ini: str = "") -> None:
        """Its tests, after what they all use."""
        (self.folder / "pytest.ini").write_text(f"[pytest]\n{ini}")
        (self.folder / "test_uploads.py").write_text(CLIENT + tests)

    @staticmethod
    def environment(settings: Mapping[str, str]) -> dict[str, str]:
        """A clean one: nothing of the run that we are in."""
        inherited = clean_environment(settings)
        return {name: value for name, value in inherited.items() if not name.startswith("PYTEST_")}

    def servers(self) -> dict[int, Path]:
        """Every server that a test was given, with its data."""
        return {int(path.name): Path(path.read_text()) for path in (self.folder / "servers").iterdir()}

    def assert_nothing_is_left(self) -> None:
        """Neither a process nor a folder."""
        servers = self.servers()
        until(lambda: not any(alive(pid) or inside(data) for pid, data in servers.items()))
        assert not any(data.exists() for data in servers.values())


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_three_lines_and_a_project_uploads(project: Project) -> None:
    told = project.run(
        """
def test_a_credential_is_good_once(tokensvc):
    credential = issue(tokensvc)
    status, stored = upload(tokensvc, credential)
    assert (status, credential["publicKey"]) == (200, tokensvc.public_key)
    assert stored["url"].startswith(tokensvc.url_endpoint + "/a_")
    assert upload(tokensvc, credential)[0] == 400
    assert tokensvc.state()["files"] == 1

def test_the_next_test_finds_nothing_of_it(tokensvc):
    assert tokensvc.state()["files"] == 0

def test_with_the_private_key(tokensvc):
    import base64
    assert tokensvc.private_key.startswith("private_")
    assert tokensvc.private_key not in repr(tokensvc) and tokensvc.api_key not in repr(tokensvc)

@pytest.mark.tokensvc("reject=x2", "status=503@x1", seed=5, clock="2026-01-31T12:00:00Z")
class TestAllOfThese:
    def test_goes_wrong(self, tokensvc):
        with pytest.raises(urllib.error.HTTPError, match="503"):
            issue(tokensvc)
        assert [upload(tokensvc, issue(tokensvc))[0] for _ in range(3)] == [400, 400, 200]

    def test_goes_wrong_again(self, tokensvc):
        self.test_goes_wrong(tokensvc)
        assert tokensvc.state()["seed"] == 5
        assert tokensvc.state()["clock"]["now"] == 1769860800

def test_faults_and_the_clock_in_the_middle(tokensvc):
    credential = issue(tokensvc)
    tokensvc.move_clock("+2h")
    assert "expire" in upload(tokensvc, credential)[1]["message"]
    tokensvc.faults("replay=1")
    assert "used before" in upload(tokensvc, issue(tokensvc))[1]["message"]
    tokensvc.set_clock("now")
    tokensvc.reset()
    assert upload(tokensvc, issue(tokensvc))[0] == 200

def test_what_is_no_fault_is_said(tokensvc):
    with pytest.raises(Exception, match="how often is a share"):
        tokensvc.faults("reject=7")
""",
        REDIS_URL="redis://127.0.0.1:1/0",
        HTTP_PROXY="http://127.0.0.1:1",
        http_proxy="",
        no_proxy="127.0.0.1",
        GUNICORN_CMD_ARGS="--nonsense",
    )
    assert "7 passed" in told.stdout, told.stdout + told.stderr
    assert len(project.servers()) == 1
    project.assert_nothing_is_left()


def test_each_worker_of_xdist_has_a_server_of_its_own(project: Project) -> None:
    told = project.run(
        """
@pytest.mark.parametrize("number", range(12))
def test_it_is_alone(tokensvc, number):
    assert tokensvc.state()["files"] == 0
    assert upload(tokensvc, issue(tokensvc))[0] == 200
    assert tokensvc.state()["files"] == 1
""",
        *("-n", "2"),
    )
    assert "12 passed" in told.stdout, told.stdout + told.stderr
    assert len(project.servers()) == 2
    project.assert_nothing_is_left()


def test_pages_of_listed_origins_may_ask(project: Project) -> None:
    told = project.run(
        """
def test_a_page(tokensvc):
    asked = urllib.request.Request(tokensvc.auth_url, headers={**tokensvc.headers, "Origin": "http://localhost:5173"})
    with urllib.request.urlopen(asked) as answer:
        assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:5173"
""",
        ini="tokensvc_origins = http://localhost:5173\n",
    )
    assert "1 passed" in told.stdout, told.stdout + told.stderr


def test_what_is_wrong_is_said_and_nothing_runs(project: Project) -> None:
    told = project.run(
        """
@pytest.mark.tokensvc("reject=x1", sede=5)
def test_misspelt(tokensvc):
    pass
""",
        ini="tokensvc_origins = *\n",
    )
    assert told.returncode == 1
    assert "tokensvc dev ended with status 2" in told.stdout
    assert "cors.origins[0]" in told.stdout


def test_a_member_of_the_mark_that_is_misspelt_is_an_error(project: Project) -> None:
    told = project.run("@pytest.mark.tokensvc(sede=5)\ndef test_misspelt(tokensvc):\n    pass\n")
    assert told.returncode == 1
    assert "The mark tokensvc has no sede" in told.stdout


def test_a_run_that_is_killed_leaves_no_server(project: Project) -> None:
    project.write("\ndef test_hangs(tokensvc):\n    Path('hangs').touch()\n    import time\n    time.sleep(600)\n")
    with subprocess.Popen(
        project.command(), cwd=project.folder, env=project.environment({}), stdout=subprocess.DEVNULL
    ) as run:
        until((project.folder / "hangs").exists)
        os.kill(run.pid, signal.SIGKILL)
    ((pid, data),) = project.servers().items()
    until(lambda: not alive(pid) and not inside(data))
    shutil.rmtree(data)  # nobody was left to do so


def test_nothing_else_of_tokensvc_needs_pytest() -> None:
    script = (
        "import sys, pkgutil, importlib, tokensvc\n"
        "sys.modules['pytest'] = None\n"
        "for found in pkgutil.walk_packages(tokensvc.__path__, 'tokensvc.'):\n"
        "    if found.name not in ('tokensvc.embed.pytest', 'tokensvc.__main__'):\n"
        "        importlib.import_module(found.name)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], env=clean_environment(), capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
