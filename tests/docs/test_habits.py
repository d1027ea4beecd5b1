"""What contributors and reporters are told is so: hooks call tools that exist, the threats name tests that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import yaml

from tests.support.pages import PAGES
from tests.support.service import ROOT

HOOKS: Final = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]


def test_hooks_call_the_locked_tools_and_download_nothing() -> None:
    assert [repo["repo"] for repo in HOOKS] == ["local"]
    locked = (ROOT / "requirements-dev.lock").read_text()
    for hook in HOOKS[0]["hooks"]:
        assert hook["language"] == "system"
        (program,) = re.findall(r"\.venv/bin/([\w-]+)", hook["entry"])
        package = {"lint-imports": "import-linter"}.get(program, program)
        assert package == "python" or f"\n{package}==" in locked, program


def test_hooks_check_all_that_make_lint_does() -> None:
    recipe = (ROOT / "Makefile").read_text().partition("\nlint:")[2].partition("\n\n")[0]
    tools = set(re.findall(r"\$\(BIN\)/([\w-]+(?: check| format)?)", recipe))
    entries = " ".join(hook["entry"] for hook in HOOKS[0]["hooks"])
    assert tools == {"ruff check", "ruff format", "mypy", "lint-imports"}
    assert [tool for tool in tools if f".venv/bin/{tool}" not in entries] == []


def test_every_threat_names_tests_that_exist() -> None:
    _, _, table = PAGES["docs/security.md"].partition("| Threat | Defence | Tested in |\n")
    rows = re.findall(r"^\|([^|]+)\|([^|]+)\|([^|]+)\|$", table, re.MULTILINE)[1:]
    assert len(rows) >= 15
    for threat, _, tests in rows:
        folder = ROOT
        named = re.findall(r"`([^`]+)`", tests)
        assert named, threat
        for name in named:
            path = ROOT / name if "/" in name else folder / name
            assert path.exists(), f"{threat}: {name}"
            folder = path.parent


def test_what_make_test_installs_is_what_the_guides_are_tested_with() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (packages,) = re.findall(r"^DEBIAN := (.*)$", makefile, re.MULTILINE)
    assert {"kotlin", "libandroid-json-java", "curl"} <= set(packages.split())
    assert Path(ROOT / ".ci" / "run").exists()
