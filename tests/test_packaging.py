"""The wheel: what is in it, and that it runs where there is no source tree."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.support.processes import PATIENCE_SECONDS
from tests.support.service import ROOT, Client, Running, await_ready, clean_environment, free_port
from tokensvc import __version__

MARKER = r" ; [a-zA-Z_]+ [^\\\n]+"
"""For which interpreters a pin counts."""

LOCKS = ("requirements.lock", "requirements-extras.lock", "requirements-dev.lock")
SOURCES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "tokensvc", "tests/support", "wsgi.py", "deploy")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the sources, so that nothing is left in the tree."""
    folder = tmp_path_factory.mktemp("build")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist", cwd=folder)
    (built,) = (folder / "dist").iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with that wheel; the packages it needs are those of this environment."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False, symlinks=True)
    packages = folder / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    (packages / "these.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--force-reinstall", wheel, cwd=folder)
    return folder / "bin"


def run(*command: str | Path, cwd: Path) -> str:
    """What a command says; it must succeed."""
    told = subprocess.run(
        command,
        env=without_source_tree(),
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert told.returncode == 0, told.stdout
    return told.stdout


def without_source_tree() -> dict[str, str]:
    """The environment, in which Python finds tokensvc where it is installed."""
    environment = clean_environment({"PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    del environment["PYTHONPATH"]
    return environment


def test_the_wheel_has_all_that_the_service_reads_and_no_tests(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    files = (path.relative_to(ROOT) for path in (ROOT / "tokensvc").rglob("*") if path.is_file())
    in_tree = {str(path) for path in files if "__pycache__" not in path.parts and not path.parts[1].startswith(".")}
    metadata = {name for name in names if name.startswith(f"tokensvc-{__version__}.dist-info/")}
    assert names - metadata == in_tree
    assert {Path(name).suffix for name in in_tree} >= {".py", ".lua", ".html", ".css", ".js", ".typed"}
    assert f"tokensvc-{__version__}.dist-info/licenses/LICENSE" in metadata


def test_the_installed_program_runs_from_anywhere(installed: Path, tmp_path: Path) -> None:
    assert run(installed / "tokensvc", "--version", cwd=tmp_path) == f"tokensvc, version {__version__}\n"
    told = run(installed / "python", "-c", "import tokensvc; print(tokensvc.__file__)", cwd=tmp_path)
    assert Path(told).is_relative_to(installed.parent)


def test_the_installed_development_server_issues_a_credential(installed: Path, tmp_path: Path) -> None:
    port = free_port()
    command = [str(installed / "tokensvc"), "dev", "--bind", f"127.0.0.1:{port}"]
    shadow = {"PYTHONPATH": ""}  # the source tree is not to be found
    with Running(command, shadow, log=tmp_path / "log", data=tmp_path / "var", cwd=tmp_path) as service:
        await_ready(service, Client(port))
        client = Client(port, (tmp_path / "var/dev/api-key").read_text().strip())
        credential = client.credential()
        assert client.upload(credential).status == 200
        assert client.upload(credential).status == 400
        assert b"<html" in client.request("GET", "/").body
        assert f"{ROOT}/tokensvc" not in service.command_lines()
        assert service.stop() == 0


# What it needs


def requirements(option: str, section: str = "options") -> dict[str, str]:
    """Package, in lower case and without extras, to its version range."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    matches = [re.fullmatch(r"([A-Za-z0-9_.-]+)(?:\[[a-z,]+\])?(.*)", line) for line in setup[section][option].split()]
    return {match[1].lower().replace("_", "-"): match[2] for match in matches if match}


def locked(name: str) -> dict[str, str]:
    """Package to its version and hashes."""
    text = (ROOT / name).read_text()
    entries = re.findall(rf"^([a-z0-9.-]+)==(\S+)(?:{MARKER})?((?: \\\n    --hash=\S+)+)", text, re.MULTILINE)
    return {package: version + hashes for package, version, hashes in entries}


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-extras.lock"])
def test_a_lock_file_has_what_only_an_older_python_needs(lock: str) -> None:
    """redis wants async-timeout before 3.11.3, and Debian 12 has 3.11.2."""
    assert re.search(
        r"^async-timeout==\S+ ; python_full_version < '3\.11\.3' ",
        (ROOT / lock).read_text(),
        re.MULTILINE,
    )


def test_every_dependency_has_a_floor() -> None:
    floors = requirements("install_requires")
    assert len(floors) == 19
    for package, version in floors.items():
        assert re.fullmatch(r">=[0-9]+(\.[0-9]+)*", version), package


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_file_pins_every_dependency_at_or_above_its_floor(lock: str) -> None:
    pins = locked(lock)
    for package, floor in requirements("install_requires").items():
        version = pins[package].split()[0]
        assert _numbers(version) >= _numbers(floor.removeprefix(">=")), package


def test_the_development_lock_file_pins_what_the_tests_need_too() -> None:
    pins = locked("requirements-dev.lock")
    wanted = {**requirements("test", "options.extras_require"), **requirements("lint", "options.extras_require")}
    wanted |= requirements("docs", "options.extras_require")
    assert wanted.keys() <= pins.keys()
    assert locked("requirements.lock").items() <= locked("requirements-extras.lock").items() <= pins.items()


def test_the_image_s_lock_file_pins_what_the_extras_need() -> None:
    wanted = requirements("s3", "options.extras_require") | requirements("otel", "options.extras_require")
    assert wanted.keys() <= locked("requirements-extras.lock").keys()


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_file_has_a_hash_for_everything_and_names_no_host(lock: str) -> None:
    text = (ROOT / lock).read_text()
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    # One package may have a pin for older interpreters and another for newer ones.
    assert {line.partition("==")[0] for line in lines if not line.startswith(" ")} == locked(lock).keys()
    assert all(
        re.fullmatch(rf"[a-z0-9.-]+==\S+(?:{MARKER})? \\|    --hash=sha256:[0-9a-f]{{64}}(?: \\)?", line)
        for line in lines
    )
    assert "://" not in text
    assert "index" not in text.lower().replace("importlib", "")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"[0-9]+", version.partition("post")[0]))
