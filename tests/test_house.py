"""The rules of the house that no tool checks for us, and that the tools which check the others are run."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from gunicorn.app.wsgiapp import WSGIApplication

from tests.support.processes import PATIENCE_SECONDS
from tests.support.service import ROOT, clean_environment
from tokensvc.adapters.logs.server import JsonServerLog

if TYPE_CHECKING:
    from gunicorn.config import Config

PACKAGE = ROOT / "tokensvc"
MODULES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES = 300


def name_of(path: Path) -> str:
    """A path as it is written in the tree."""
    return str(path.relative_to(ROOT))


def run(*command: str | Path, cwd: Path = ROOT, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run to the end."""
    return subprocess.run(
        command,
        cwd=cwd,
        env=clean_environment(settings),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


# The package


@pytest.mark.parametrize(
    ("what", "files"),
    [
        (r"\btime\.time\b|\btime_ns\b|datetime\.now|utcnow", {"tokensvc/wiring.py"}),
        (r"\bos\.environ\b|\bgetenv\b", {"tokensvc/wiring.py"}),
        (r"\buuid4\b|\buuid\.UUID\(", set()),
        (r"\bfrom_url\b|\bredis\.Redis\(|\bRedis\.from_pool\(|= Lined\(", {"tokensvc/adapters/redis_client/pools.py"}),
        (r"compare_digest", {"tokensvc/core/mac.py"}),
    ],
)
def test_what_is_dangerous_has_one_place(what: str, files: set[str]) -> None:
    """The clock, the environment, randomness, Redis clients: each is handed on from one file."""
    code = {path: "\n".join(_code_lines(path)) for path in MODULES}
    assert {name_of(path) for path, text in code.items() if re.search(what, text)} == files


def _code_lines(path: Path) -> list[str]:
    """Without comments and docstrings, which may well speak of them."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body[0] = ast.Pass()
    return ast.unparse(tree).splitlines()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_says_what_it_is_and_is_not_long(path: Path) -> None:
    text = path.read_text()
    assert not text.strip() or ast.get_docstring(ast.parse(text)), "opens with a docstring"
    assert len(text.splitlines()) <= MOST_LINES


def test_no_room_without_a_purpose() -> None:
    rooms = {part.removesuffix(".py") for path in MODULES for part in path.relative_to(PACKAGE).parts}
    assert not rooms & {"utils", "util", "helpers", "helper", "common", "models", "constants", "misc", "base", "lib"}


def test_the_arrows_point_downwards() -> None:
    told = run(Path(sys.executable).with_name("lint-imports"), "--no-cache")
    assert told.returncode == 0, told.stdout
    assert ", 0 broken." in told.stdout


def test_no_version_is_written_twice() -> None:
    assert "version = attr: tokensvc.__version__" in (ROOT / "setup.cfg").read_text()
    assert "version" not in (ROOT / "pyproject.toml").read_text().replace("target-version", "").lower()


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("cli.running", ("flask", "gevent", "http", "jwt", "prometheus_client", "redis", "structlog", "tomlkit")),
        ("adapters.embedded.__main__", ("gevent", "pydantic", "tokensvc.config", "tokensvc.core.rules")),
        (
            "application",
            ("cryptography.hazmat", "jwt", "obstore", "pymediainfo", "tokensvc.adapters.tracing", "tomlkit"),
        ),
    ],
)
def test_a_start_loads_nothing_that_a_plain_configuration_does_not_need(module: str, absent: tuple[str, ...]) -> None:
    """Each is loaded by who needs it: a start is little else than imports."""
    program = f"import sys, tokensvc.{module}; print([name for name in {absent} if name in sys.modules])"
    told = run(sys.executable, "-c", program)
    assert told.stdout == "[]\n", told.stderr


# The commands


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    told = run("make", "help")
    assert told.returncode == 0, told.stderr
    assert re.findall(r"^  make ([a-z]+) ", told.stdout, re.MULTILINE) == phony.split()
    assert run("make").stdout == told.stdout
    assert set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE)) == set(phony.split())


def test_no_recipe_goes_on_after_a_failure() -> None:
    recipes = [line[1:] for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("\t")]
    assert not [line for line in recipes if line.lstrip("@").startswith("-") or "|| true" in line or "|| :" in line]


@pytest.mark.parametrize("status", [0, 7])
def test_the_whole_check_is_make_test_and_its_last_lines_and_status_are_pytest_s(tmp_path: Path, status: int) -> None:
    (tmp_path / "tree" / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "run", tmp_path / "tree" / ".ci" / "run")
    make = tmp_path / "make"
    make.write_text(f'#!/bin/sh\necho "make $* in $PWD"\necho "=== 9 passed in 1.00s ==="\nexit {status}\n')
    make.chmod(0o755)
    told = run(tmp_path / "tree" / ".ci" / "run", cwd=Path("/"), PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert told.returncode == status
    assert told.stdout == f"make test in {tmp_path / 'tree'}\n=== 9 passed in 1.00s ===\n"


def test_the_whole_check_is_bash_that_stops_at_the_first_failure() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111 == 0o111
    assert script.read_text().startswith("#!/usr/bin/env bash\n")
    assert "\nset -euo pipefail\n" in script.read_text()


# gunicorn


@pytest.fixture(params=["python:tokensvc.gunicorn_settings", "deploy/gunicorn.conf.py"])
def loaded(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Config:
    """What gunicorn itself makes of a settings file of ours."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["gunicorn", "-c", request.param, "wsgi:app"])
    for name in ("GUNICORN_CMD_ARGS", "FORWARDED_ALLOW_IPS", "WEB_CONCURRENCY", "PORT"):
        monkeypatch.delenv(name, raising=False)
    return WSGIApplication("%(prog)s [OPTIONS] [APP_MODULE]").cfg


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("worker_class_str", "tokensvc.worker.Worker"),
        ("worker_connections", 1000),
        ("timeout", 30),
        ("graceful_timeout", 60),
        ("keepalive", 5),
        ("max_requests", 100_000),
        ("max_requests_jitter", 10_000),
        ("limit_request_line", 4094),
        ("limit_request_fields", 50),
        ("limit_request_field_size", 8190),
        ("forwarded_allow_ips", []),
        ("secure_scheme_headers", {}),
        ("forwarder_headers", []),
        ("header_map", "drop"),
        ("proxy_protocol", "off"),
        ("control_socket_disable", True),
        ("umask", 0o117),
        ("reuse_port", False),
        ("preload_app", False),
        ("worker_tmp_dir", "/dev/shm"),
        ("http_protocols", ["h1"]),
        ("dirty_workers", 0),
        ("daemon", False),
        ("accesslog", None),
        ("logger_class", JsonServerLog),
        ("reload", False),
        ("strip_header_spaces", False),
        ("permit_obsolete_folding", False),
        ("permit_unconventional_http_method", False),
        ("permit_unconventional_http_version", False),
        ("casefold_http_method", False),
    ],
)
def test_gunicorn_is_told(loaded: Config, name: str, value: Any) -> None:
    """Some are its defaults: a newer one may have others."""
    assert getattr(loaded, name) == value
