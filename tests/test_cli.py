"""The command line, as subprocesses: what it refuses, what it starts, and what it leaves."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from tests.support.processes import PATIENCE_SECONDS, until
from tests.support.service import (
    ROOT,
    Client,
    Deployment,
    Running,
    await_ready,
    clean_environment,
    free_port,
    running,
    tokensvc,
)
from tokensvc import __version__, config, launcher
from tokensvc.cli import main

if TYPE_CHECKING:
    from tests.support.valkey import Valkey
USAGE, OUTAGE = 2, 3


# What is asked and answered


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_lists_the_commands(option: str) -> None:
    told = tokensvc(option)
    assert (told.returncode, told.stderr) == (0, "")
    assert set(re.findall(r"^  ([a-z]+)  ", told.stdout, re.MULTILINE)) == {
        "audit",
        "config",
        "dev",
        "doctor",
        "explain",
        "issue",
        "keys",
        "policy",
        "redeem",
        "revoke",
        "serve",
        "store",
        "verify",
        "upload",
    }


def test_version() -> None:
    told = tokensvc("--version")
    assert (told.returncode, told.stdout) == (0, f"tokensvc, version {__version__}\n")


def test_a_command_that_does_not_exist_is_wrong_usage() -> None:
    assert tokensvc("sreve").returncode == USAGE


def test_a_new_key_is_printed_with_the_configuration_that_works(tmp_path: Path) -> None:
    told = tokensvc("keys", "new", "--id", "ci-1", "--subject", 'Zoë "😀" \\ Bär')
    assert told.returncode == 0
    text, _, rest = told.stdout.partition("\n")
    table = tomllib.loads(rest.partition("tokensvc.toml:\n")[2])
    key = table["callers"]["backend"]["keys"][0]
    assert key["sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert (key["id"], key["subject"], key["may"]) == ("ci-1", 'Zoë "😀" \\ Bär', ["issue"])
    assert text.startswith("tsk_")
    assert len(text) == 36
    file = tmp_path / "tokensvc.toml"
    file.write_text(rest.partition("tokensvc.toml:\n")[2] + '\n[profiles.default]\ncallers = ["backend"]\n')
    deployment = Deployment(tmp_path)
    assert config.load({**deployment.environment, "TOKENSVC_CONFIG": str(file)}).callers["backend"].kind == "api_key"


def test_a_new_key_as_json() -> None:
    told = tokensvc("keys", "new", "--json", "--id", "ci", "--subject", "build")
    key = json.loads(told.stdout)
    assert key == {
        "api_key": key["api_key"],
        "id": "ci",
        "subject": "build",
        "sha256": hashlib.sha256(key["api_key"].encode()).hexdigest(),
    }
    assert json.loads(tokensvc("keys", "new", "--json").stdout)["api_key"] != key["api_key"]


@pytest.mark.parametrize("arguments", [["--id", "a b"], ["--id", ""], ["--subject", ""], ["--subject", "x" * 129]])
def test_a_key_that_could_not_be_configured_is_not_made(arguments: list[str]) -> None:
    told = tokensvc("keys", "new", *arguments)
    assert (told.returncode, told.stdout) == (USAGE, "")


# What does not start


@pytest.mark.parametrize("command", ["serve", "store", "preflight"])
def test_nothing_starts_with_nothing_configured(tmp_path: Path, command: str) -> None:
    told = tokensvc(command, TOKENSVC_DATA_DIR=str(tmp_path / "d"))
    assert (told.returncode, told.stdout) == (USAGE, "")
    assert "tokensvc does not start: 3 faults in the configuration." in told.stderr
    assert re.findall(r"^  (\w+): ", told.stderr, re.MULTILINE) == ["accounts", "callers", "profiles"]
    assert not (tmp_path / "d").exists()


def test_serve_refuses_the_demo_s_configuration(deployment: Deployment) -> None:
    deployment.write(f'[callers.demo]\nkind = "demo"\nsecret_key = "{"x" * 32}"\n')
    told = tokensvc("serve", **deployment.environment)
    assert told.returncode == USAGE
    assert "callers.demo.kind" in told.stderr


def test_serve_says_in_words_that_its_files_have_no_place(deployment: Deployment) -> None:
    deployment.write('[upload]\nstore = "file:///proc/nowhere"\n')
    told = tokensvc("serve", **deployment.environment)
    assert told.returncode == OUTAGE
    said = "tokensvc does not start: The file store does not work: No such file or directory."
    assert told.stderr.splitlines()[-1] == said  # a warning that the test's folder is in memory may be before it


def test_serve_says_in_words_that_its_store_does_not_start(deployment: Deployment) -> None:
    (deployment.data / "store").mkdir(parents=True)
    (deployment.data / "store" / "letter.txt").write_text("Dear Sir,")
    told = tokensvc("serve", **deployment.environment)
    assert told.returncode == OUTAGE
    assert "holds files and is no store" in told.stderr
    assert "Traceback" not in told.stderr


def test_store_has_nothing_to_do_where_another_is_named(deployment: Deployment) -> None:
    told = tokensvc("store", **deployment.environment, REDIS_URL="redis://127.0.0.1")
    assert told.returncode == USAGE
    assert "REDIS_URL is set" in told.stderr
    assert not deployment.data.exists()


@pytest.mark.parametrize(
    "bind",
    [
        "0.0.0.0:8000",
        "192.168.1.2:8000",
        "10.0.0.1:80",
        "[::]:8000",
        ":8000",
        "8000",
        "",
        "127.0.0.1",
        "localhost",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:http",
        "127.0.0.1:８０",
        "::1:8000",
        "evil.example:8000",
        "unix:/tmp/s",
    ],
)
def test_dev_refuses_what_others_can_reach(tmp_path: Path, bind: str) -> None:
    told = CliRunner().invoke(main, ["dev", "--bind", bind, "--data", str(tmp_path / "d")])
    assert told.exit_code == USAGE
    assert "not a loopback address with a port" in " ".join(told.stderr.split())
    assert not (tmp_path / "d").exists()


def test_dev_says_in_words_that_its_folder_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told = tokensvc("dev", "--data", str(tmp_path / "file" / "d"))
    assert told.returncode == USAGE
    assert "cannot be used: Not a directory" in told.stderr


def test_dev_refuses_an_origin_that_is_none(tmp_path: Path) -> None:
    told = tokensvc("dev", "--data", str(tmp_path), "--origin", "*")
    assert told.returncode == USAGE
    assert "cors.origins[0]" in told.stderr


# What starts


def test_serve_with_redis_url_starts_no_store(deployment: Deployment, valkey: Valkey) -> None:
    """On a unix socket here, whose peers gunicorn always trusts: their headers are not believed all the same."""
    address = deployment.folder / "s"
    command = [sys.executable, "-m", "tokensvc", "serve", "--bind", f"unix:{address}", "--workers", "1"]
    client = Client(address, deployment.api_key)
    with running(command, deployment, client, REDIS_URL=valkey.url) as service:
        assert "valkey" not in service.command_lines()
        assert "embedded" not in service.command_lines()
        assert not (deployment.data / "store").exists()
        assert address.stat().st_mode & 0o777 == 0o660
        headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Ssl": "on", "X-Forwarded-Protocol": "ssl"}
        answer = client.upload(client.credential(), headers)
        assert answer.json["url"].startswith("http://localhost/files/")
        assert service.stop() == 0


@pytest.mark.parametrize(
    ("arguments", "settings", "bind", "workers"),
    [
        ([], {}, "0.0.0.0:8000", str(len(os.sched_getaffinity(0)))),
        ([], {"PORT": "5000", "WEB_CONCURRENCY": "7"}, "0.0.0.0:5000", "7"),
        (["--bind", "unix:/run/s", "--workers", "3"], {"PORT": "5000", "WEB_CONCURRENCY": "7"}, "unix:/run/s", "3"),
    ],
)
def test_serve_listens_where_it_is_told(
    deployment: Deployment,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    settings: dict[str, str],
    bind: str,
    workers: str,
) -> None:
    """The command is looked at and not run: tests listen on loopback only."""
    ran: list[list[str]] = []

    def run(command: list[str], *_rest: object) -> int:
        ran.append(command)
        return 0

    monkeypatch.setattr(launcher, "run", run)
    for name, value in {"PORT": "", "WEB_CONCURRENCY": "", **deployment.environment, **settings}.items():
        monkeypatch.setenv(name, value)
    assert CliRunner().invoke(main, ["serve", *arguments]).exit_code == 0
    (command,) = ran
    assert command[command.index("--bind") + 1] == bind
    assert command[command.index("--workers") + 1] == workers


def test_dev_keeps_its_keys_for_itself_and_over_restarts(tmp_path: Path) -> None:
    """Keys and numbers of the environment are not the demo's."""
    port, data = free_port(), tmp_path / "d"
    command = [sys.executable, "-m", "tokensvc", "dev", "--bind", f"localhost:{port}", "--data", str(data)]
    settings = {"IMAGEKIT_PRIVATE_KEY": "private_CANARY_of_production", "PORT": "x", "WEB_CONCURRENCY": "x"}

    def kept() -> dict[str, str]:
        written_anew = ("tokensvc.toml", "emulation.json", "emulation.json.lock")
        return {path.name: path.read_text() for path in (data / "dev").iterdir() if path.name not in written_anew}

    with Running(command, settings, log=tmp_path / "log", data=data) as service:
        await_ready(service, Client(port))
        keys = kept()
        assert keys.keys() == {"public-key", "private-key", "api-key", "sign-in-secret"}
        client = Client(port, keys["api-key"].strip())
        assert client.credential()["publicKey"] == keys["public-key"].strip()
        told = service.log + service.command_lines()
        for secret in ("CANARY", *(keys[name].strip() for name in ("private-key", "api-key", "sign-in-secret"))):
            assert secret not in told
        assert service.stop() == 0
    with Running(command, settings, log=tmp_path / "again", data=data) as service:
        await_ready(service, Client(port))
        assert "Ctrl-C ends it." in service.log
        assert kept() == keys
        assert keys["public-key"].strip() in service.log
        assert service.stop() == 0
    assert (data / "dev").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (data / "dev").iterdir()} == {0o600}


# Without our launcher


def procfile() -> dict[str, list[str]]:
    """Process type to command."""
    lines = (ROOT / "Procfile").read_text().splitlines()
    return {name: shlex.split(command) for name, _, command in (line.partition(": ") for line in lines)}


def procfile_command(name: str) -> list[str]:
    """The command with this environment's programs."""
    program, *arguments = procfile()[name]
    return [str(Path(sys.executable).with_name(program)), *arguments]


def test_the_procfile_has_the_web_process_alone() -> None:
    """Hosts that read it give REDIS_URL, and no disk that two process types could share."""
    assert procfile() == {"web": ["gunicorn", "-c", "deploy/gunicorn.conf.py", "wsgi:app"]}


def test_the_procfile_s_command_works_beside_a_store_that_comes_a_little_later(deployment: Deployment) -> None:
    port = free_port()
    settings = {**deployment.environment, "PORT": str(port), "WEB_CONCURRENCY": "2"}
    log, data = deployment.folder / "log", deployment.data
    store = [sys.executable, "-m", "tokensvc", "store"]
    with Running(procfile_command("web"), settings, log=log, data=data) as web:
        until(lambda: "Starting gunicorn" in web.log)
        with Running(store, settings, log=log, data=data) as beside:
            client = Client(port, deployment.api_key)
            await_ready(web, client)
            assert client.upload(client.credential()).status == 200
            told = web.command_lines()
            assert "CANARY" not in told + web.log
            web.send(signal.SIGTERM)
            assert web.process.wait(PATIENCE_SECONDS) == 0
            assert beside.stop() == 0


def test_the_procfile_s_command_says_in_words_that_there_is_no_store(deployment: Deployment) -> None:
    """And it says so once, and no worker is started."""
    settings = {**deployment.environment, "PORT": str(free_port())}
    told = run_in_root(procfile_command("web"), settings)
    assert told.returncode == OUTAGE
    assert "tokensvc does not start: there is no nonce store." in told.stdout
    assert "run `tokensvc store` beside gunicorn" in told.stdout
    assert "Booting worker" not in told.stdout
    assert "Traceback" not in told.stdout


def test_gunicorn_with_no_settings_of_ours_ends_with_the_same_words(deployment: Deployment) -> None:
    """It would start a worker that exits again and again, if it did not fail as gunicorn expects."""
    settings = {**deployment.environment, "PORT": str(free_port())}
    told = run_in_root([str(Path(sys.executable).with_name("gunicorn")), "wsgi:app"], settings)
    assert told.returncode == OUTAGE
    assert "run `tokensvc store` beside this" in told.stdout
    assert told.stdout.count("Booting worker") == 1
    assert "CANARY" not in told.stdout


def run_in_root(command: list[str], settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run to the end, in the folder of wsgi.py."""
    return subprocess.run(
        command,
        env=clean_environment(settings),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
        preexec_fn=os.setpgrp,
    )
