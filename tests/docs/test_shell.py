"""Every command line of every page, run by a shell as it stands: only addresses, keys and files are put in.

A block without a case here fails. Those that cannot run here are listed with the reason.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from tests.support.pages import Block, blocks
from tests.support.processes import PATIENCE_SECONDS, until
from tests.support.service import ROOT, Client, Deployment, Running, await_ready, clean_environment, free_port, serving

Key = tuple[str, str]
"""A page, and the first line of a block of it."""

NOT_HERE: Final[dict[Key, str]] = {
    ("docs/deploy.md", "docker build -f deploy/Dockerfile -t tokensvc ."): (
        "needs Docker's daemon. tests/deploy/test_container.py builds that file with a builder that needs none"
    ),
    ("docs/deploy.md", "python3 -m venv /opt/tokensvc && /opt/tokensvc/bin/pip install tokensvc"): (
        "writes to /opt, /etc and systemd. tests/deploy/test_artefacts.py verifies the unit, and runs it sandboxed"
    ),
    ("docs/releasing.md", "python3 -m build"): (
        "builds into the tree, with packages from outside. tests/test_packaging.py builds and runs the wheel"
    ),
    ("CONTRIBUTING.md", ".venv/bin/pip install pre-commit && .venv/bin/pre-commit install"): (
        "installs from outside, and writes into .git. test_habits.py holds the hooks to tools that exist"
    ),
}
ELSEWHERE: Final[dict[Key, str]] = {
    (
        "docs/callers.md",
        (
            'curl https://uploads.app.example/auth -H "Authorization: Bearer $ACCESS_TOKEN" '
            '-d \'{"uploadPayload": {"fileName": "a.jpg"}}\''
        ),
    ): "tests/test_recipes.py::test_a_phone_with_an_access_token_gets_its_own_folder",
}
CASES: Final[dict[Key, str]] = {}

SERVICE: Final = "https://uploads.app.example"
IMAGEKIT: Final = "https://upload.imagekit.io"
PICTURE: Final = ROOT / "tokensvc/web/static/demo-mark.svg"


def case(page: str, *firsts: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The test runs the blocks of that page that begin with these lines."""

    def note(test: Callable[..., None]) -> Callable[..., None]:
        for first in firsts:
            assert (page, first) not in CASES
            CASES[page, first] = test.__name__
        return test

    return note


def text(page: str, first: str) -> str:
    """The block of that page that begins with that line."""
    (found,) = [each.text for each in blocks("sh") if (each.page, each.first) == (page, first)]
    return found


def lines(page: str, first: str) -> list[str]:
    """Its commands: comments left out, continued lines joined."""
    joined = text(page, first).replace("\\\n", "")
    return [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]


@dataclass(frozen=True)
class Place:
    """A folder in which commands are run, with what they find there. Programs of ours come first on PATH."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        programs = self.folder / ".venv" / "bin"
        programs.mkdir(parents=True)
        program = programs / "tokensvc"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tokensvc "$@"\n')
        program.chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        path = f"{self.folder}/.venv/bin{os.pathsep}{os.environ['PATH']}"
        return clean_environment({"PATH": path, **self.settings})

    def run(self, command: str, status: int = 0, **put_in: str) -> str:
        """What a shell says to it; it must end with that status."""
        for name, value in put_in.items():
            command = command.replace(f"${name}", value)
        told = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert told.returncode == status, told.stdout + told.stderr
        return told.stdout


@contextlib.contextmanager
def left_running(place: Place, command: str, port: int) -> Iterator[Running]:
    """A command that goes on until it is ended, once it is ready."""
    with Running(
        ["bash", "-euo", "pipefail", "-c", f"exec {command}"],
        {**place.settings, "PATH": place.environment["PATH"]},
        log=place.folder / "log",
        data=place.folder / "var",
        cwd=place.folder,
    ) as service:
        await_ready(service, Client(port))
        yield service


@dataclass(frozen=True)
class Served:
    """A service that runs, and a place beside it."""

    deployment: Deployment = field(repr=False)
    place: Place
    url: str

    def run(self, command: str, status: int = 0) -> str:
        """Run a command that asks the service, or the ImageKit that it stands for."""
        return self.place.run(
            command.replace(SERVICE, self.url).replace(IMAGEKIT, self.url), status, API_KEY=self.deployment.api_key
        )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("s")
    deployment = Deployment(folder)
    (folder / "audit-key").write_text("CANARY" + "0123456789abcdef" * 2 + "\n")
    deployment.write(
        'unissued = "cross-off"\nallow = { fileName = true, folder = true }\n'
        f'[audit]\nfile = "{folder}/audit.jsonl"\nsecret_key_file = "audit-key"\n'
    )
    place = Place(folder, deployment.environment)
    with serving(deployment) as (_, client):
        yield Served(deployment, place, f"http://127.0.0.1:{client.address}")


# All blocks


def test_every_block_has_one_case_or_one_reason() -> None:
    there = [(each.page, each.first) for each in blocks("sh")]
    assert len(there) == len(set(there)), "two blocks of one page begin alike"
    cases = [*CASES, *ELSEWHERE, *NOT_HERE]
    assert sorted(there) == sorted(cases)


def test_no_command_is_hidden_in_another_kind_of_block() -> None:
    """Python and JavaScript are run by other tests; the blocks of docs/commands.md are usage lines."""
    program = "tokensvc|curl|make|docker|pip|python3?|systemctl|kubectl|export|npm|apt|git|kill|(?:redis|valkey)-cli"
    hidden = re.compile(rf"^\s*(?:\$ |(?:[A-Z_]+=\S+ )*(?:[\w./-]*/)?(?:{program}) )", re.MULTILINE)
    others: list[Block] = [each for each in blocks() if each.language not in ("sh", "python", "js")]
    assert [each.first for each in others if hidden.search(each.text) and each.page != "docs/commands.md"] == []


@pytest.mark.parametrize("where", ELSEWHERE.values())
def test_what_is_said_to_be_run_elsewhere_is(where: str) -> None:
    file, _, name = where.partition("::")
    assert f"def {name}(" in (ROOT / file).read_text()


# make


MAKE: Final = {
    "run": "tokensvc dev",
    "test": "-m pytest -n 2",
    "bench": "-m benchmarks",
    "soak": "-m soak",
}


@case(
    "README.md",
    "make run     # then open http://127.0.0.1:8000/ and drop some pictures. Needs Linux, Python 3.11 and make",
)
@case("docs/performance.md", "make bench                       # twenty minutes")
@case("CONTRIBUTING.md", "make test")
@case(
    "docs/sizing.md",
    "make soak TMPDIR=/var/tmp PYTEST_ARGS=tests/adapters/nonces/test_many_outstanding.py"
    "   # five minutes, on that disk",
    'make bench ARGS="--quick --only v1"   # a minute',
)
def test_make_has_the_targets_that_pages_name_and_knows_what_to_do_for_them() -> None:
    """What `make run` starts is run below; `make test` is this; a bench takes twenty minutes."""
    named = [
        line.partition("#")[0].strip()
        for (page, first), name in CASES.items()
        if "make_has" in name
        for line in lines(page, first)
    ]
    for command in named:
        told = subprocess.run(
            ["bash", "-c", command.replace("make ", "make --dry-run --always-make VENV=no-venv ", 1)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert told.returncode == 0, told.stderr
        assert MAKE[command.split()[1]] in told.stdout


@case("CONTRIBUTING.md", ".venv/bin/python -m pytest tests/core/test_v1.py")
def test_one_test_is_run_as_contributors_are_told() -> None:
    (command,) = lines("CONTRIBUTING.md", ".venv/bin/python -m pytest tests/core/test_v1.py")
    told = subprocess.run(
        [*command.replace(".venv/bin/python", sys.executable).split(), "-p", "no:cacheprovider", "-q"],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert told.returncode == 0, told.stdout


# README and quickstart

START: Final = "IMAGEKIT_PUBLIC_KEY=public_… IMAGEKIT_PRIVATE_KEY=private_… tokensvc serve"


@case("README.md", START, 'curl https://uploads.app.example/auth -H "Authorization: Bearer $API_KEY"')
def test_the_readme_s_service_starts_and_answers_with_a_key_that_keys_new_made(tmp_path: Path) -> None:
    port = free_port()
    place = Place(tmp_path, {"PORT": str(port), "TOKENSVC_DATA_DIR": str(tmp_path / "var")})
    api_key, _, printed = place.run("tokensvc keys new").partition("\n")
    (tmp_path / "tokensvc.toml").write_text(
        printed[printed.index("[callers") :] + '[profiles.default]\ncallers = ["backend"]\n'
    )
    (command,) = lines("README.md", START)
    variables, _, program = command.rpartition(" tokensvc ")
    assert variables == "IMAGEKIT_PUBLIC_KEY=public_… IMAGEKIT_PRIVATE_KEY=private_…"
    place.settings.update(IMAGEKIT_PUBLIC_KEY="public_Pq4bX1dFh2", IMAGEKIT_PRIVATE_KEY="private_CANARYPq4bX1dFh2")
    with left_running(place, f"tokensvc {program}", port):
        (asked,) = lines("README.md", 'curl https://uploads.app.example/auth -H "Authorization: Bearer $API_KEY"')
        answer = place.run(asked.replace(SERVICE, f"http://127.0.0.1:{port}"), API_KEY=api_key)
        assert json.loads(answer).keys() == {"token", "expire", "signature", "publicKey"}


QUICK: Final = "docs/quickstart.md"
FETCH: Final = 'curl -s http://127.0.0.1:8000/auth -H "Authorization: Bearer $(cat var/dev/api-key)" >credential.json'
FIELDS: Final = (
    'python3 -c \'import json; [print(f"form-string = {name}={value}") for name, value in '
    'json.load(open("credential.json")).items()]\' >fields'
)
AGAIN: Final = "curl -s http://127.0.0.1:8000/api/v1/files/upload -K fields -F fileName=hello.txt -F file=@README.md"
EXPORT: Final = "export IMAGEKIT_PUBLIC_KEY=public_… IMAGEKIT_PRIVATE_KEY=private_…"
SERVE: Final = "PORT=8080 .venv/bin/tokensvc serve"
ASK: Final = 'curl -s http://127.0.0.1:8080/auth -H "Authorization: Bearer $(cat api-key)"'


@case(QUICK, "make run", FETCH, FIELDS, AGAIN)
def test_the_first_half_of_the_quickstart(tmp_path: Path) -> None:
    """`make run` is `tokensvc dev` in an environment of its own."""
    assert "make run" in text(QUICK, "make run")
    port = free_port()
    place = Place(tmp_path)
    shutil.copy(ROOT / "README.md", tmp_path)

    def here(first: str) -> str:
        return text(QUICK, first).replace("http://127.0.0.1:8000", f"http://127.0.0.1:{port}")

    with left_running(place, f"tokensvc dev --bind 127.0.0.1:{port}", port):
        assert json.loads(place.run(here(FETCH))).keys() == {"token", "expire", "signature", "publicKey"}
        assert json.loads(place.run(here(FIELDS)))["name"].startswith("hello_")
        assert "has been used before" in json.loads(place.run(here(AGAIN)))["message"]


@case(QUICK, ".venv/bin/tokensvc keys new >new-key", EXPORT, SERVE, ASK)
def test_the_second_half_of_the_quickstart(tmp_path: Path) -> None:
    port = free_port()
    place = Place(tmp_path)
    place.run(text(QUICK, ".venv/bin/tokensvc keys new >new-key"))
    assert (tmp_path / "api-key").read_text().startswith("tsk_")
    keys = "IMAGEKIT_PUBLIC_KEY=public_Pq4bX1dFh2 IMAGEKIT_PRIVATE_KEY=private_CANARYPq4bX1dFh2"
    told = place.run(text(QUICK, EXPORT).replace("IMAGEKIT_PUBLIC_KEY=public_… IMAGEKIT_PRIVATE_KEY=private_…", keys))
    assert "Nothing keeps the service from working" in told
    place.settings.update(dict(pair.split("=", 1) for pair in keys.split()))
    command = text(QUICK, SERVE).strip().removeprefix("PORT=8080 ")
    place.settings["PORT"] = str(port)
    with left_running(place, command, port):
        answer = json.loads(place.run(text(QUICK, ASK).replace(":8080", f":{port}")))
        assert answer["publicKey"] == "public_Pq4bX1dFh2"


# A service that runs


@case("docs/guides/server.md", 'curl -s https://uploads.app.example/auth -H "Authorization: Bearer $API_KEY"')
def test_a_server_fetches_one(served: Served) -> None:
    told = served.run(
        text("docs/guides/server.md", 'curl -s https://uploads.app.example/auth -H "Authorization: Bearer $API_KEY"')
    )
    assert json.loads(told).keys() == {"token", "expire", "signature", "publicKey"}


BATCH: Final = 'curl -s https://uploads.app.example/auth/batch -H "Authorization: Bearer $API_KEY" \\'


@case("docs/guides/server.md", BATCH)
def test_a_server_fetches_many_and_the_same_again(served: Served) -> None:
    first, second = (json.loads(served.run(text("docs/guides/server.md", BATCH))) for _ in range(2))
    assert len(first["credentials"]) == 20
    assert first == second


AUDIT: Final = (
    "tokensvc audit verify                                              # the configured file, with the configured key"
)


@case("docs/audit.md", AUDIT)
def test_the_audit_is_verified_as_configured_and_by_its_files(served: Served) -> None:
    served.run(f'curl -s {SERVICE}/auth -H "Authorization: Bearer $API_KEY"')
    shutil.copy(served.place.folder / "audit-key", served.place.folder / "key")
    (served.place.folder / "audit.jsonl").rename(served.place.folder / "audit.jsonl.1")
    served.run(f'curl -s {SERVICE}/auth -H "Authorization: Bearer $API_KEY"')
    served.run(text("docs/audit.md", AUDIT))


PIPE: Final = 'curl -s -H "Authorization: Bearer $API_KEY" https://uploads.app.example/auth | tokensvc explain'


@case("docs/redeem.md", PIPE)
def test_a_credential_is_explained_and_redeemed_by_commands(served: Served) -> None:
    fetched, redeemed = lines("docs/redeem.md", PIPE)
    served.run(fetched)
    payload = '{"uploadPayload": {"fileName": "a.jpg"}}'
    served.run(f"curl -s {SERVICE}/auth -H 'Authorization: Bearer $API_KEY' -d '{payload}' >credential.json")
    served.run(redeemed)
    served.run(redeemed.replace("0b9f3c71", "another"), status=1)


BULK: Final = (
    "export TOKENSVC_API_KEY=tsk_…",
    "# to ImageKit, with credentials from your tokensvc, or signed here with the private key of the configuration",
)


@case("docs/bulk.md", *BULK)
def test_folders_are_uploaded_with_each_kind_of_credential(served: Served) -> None:
    photos = served.place.folder / "photos"
    photos.mkdir()
    export, first = lines("docs/bulk.md", BULK[0])
    for number, command in enumerate([first, *lines("docs/bulk.md", BULK[1])]):
        for path in photos.iterdir():
            path.unlink()
        shutil.copy(PICTURE, photos / f"{number}.svg")
        served.run(f"{export.replace('tsk_…', '$API_KEY')}\n{command}")
    stored = [path.name for path in (served.place.folder / "d" / "files").rglob("*") if path.is_file()]
    assert len(stored) >= 3


# Configurations


@pytest.fixture
def place(tmp_path: Path) -> Place:
    deployment = Deployment(tmp_path)
    deployment.write()
    return Place(tmp_path, dict(deployment.environment))


DOCTOR: Final = "tokensvc doctor"


@case("docs/operations.md", DOCTOR)
def test_doctor_looks_at_a_deployment_and_at_its_nginx(place: Place) -> None:
    command = text("docs/operations.md", DOCTOR).replace("/etc/nginx/nginx.conf", str(ROOT / "deploy/nginx/front.conf"))
    told = place.run(command)
    assert json.loads(told[told.index("{\n") if "{\n" in told else told.index('{"') :])["fine"] is True


ISSUE: Final = 'tokensvc issue --as u1 --claims org=acme --v2 \'{"fileName": "a.jpg", "folder": "/admin"}\''


@case("docs/policy.md", ISSUE, "tokensvc config schema >tokensvc.schema.json")
def test_a_policy_is_tried_and_its_schema_written(place: Place) -> None:
    (place.folder / "flask-secret-key").write_text("CANARY-Flask-Key-7c1f09d2-55e8b0\n")
    Path(place.settings["TOKENSVC_CONFIG"]).write_text(
        '[callers.web]\nkind = "session"\nsecret_key_file = "flask-secret-key"\nclaims = ["org"]\n'
        '[profiles.default]\ncallers = ["web"]\nforce = { folder = "/{claims.org}/{subject}" }\n'
    )
    told = place.run(text("docs/policy.md", ISSUE))
    (shown,) = [each.text for each in blocks("text") if each.page == "docs/policy.md" and "GRANTED" in each.text]
    for line in shown.replace("    …\n", "").splitlines():
        if "fileName: 'a.jpg' is allowed" not in line:
            assert line.strip() in told, told
    place.run(text("docs/policy.md", "tokensvc config schema >tokensvc.schema.json"))
    assert json.loads((place.folder / "tokensvc.schema.json").read_text())["$schema"]


ROTATE: Final = "tokensvc keys add --public-key public_… --private-key-file /run/secrets/key-b   # accepted from now on"


@case("docs/operations.md", ROTATE)
def test_a_key_pair_is_changed_step_by_step(tmp_path: Path) -> None:
    """The last step is refused until its time has come, as the page says."""
    deployment = Deployment(tmp_path)
    deployment.write(
        f'[accounts.default]\nactive = "{deployment.public_key}"\n[[accounts.default.keys]]\n'
        f'public_key = "{deployment.public_key}"\nprivate_key_file = "key-a"\n'
    )
    (tmp_path / "key-a").write_text(deployment.private_key + "\n")
    (tmp_path / "key-b").write_text("private_CANARY" + "b7" * 14 + "\n")
    settings = {name: value for name, value in deployment.environment.items() if not name.startswith("IMAGEKIT_")}
    new = "public_" + "b7" * 14
    *steps, remove, _ = lines("docs/operations.md", ROTATE)
    port = free_port()
    place = Place(tmp_path, settings)
    with left_running(place, f"tokensvc serve --bind 127.0.0.1:{port} --workers 1 --drain 0", port) as service:
        (tmp_path / "tokensvc.pid").write_text(f"{service.process.pid}\n")
        client = Client(port, deployment.api_key)
        for step in steps:
            before = service.workers
            place.run(step.replace("public_…", new).replace("/run/secrets/key-b", str(tmp_path / "key-b")))
            if step.startswith("kill"):
                until(lambda: (now := service.workers) and not now & before)  # noqa: B023 - at once
                await_ready(service, client)
            assert client.issue().status == 200
        assert client.credential()["publicKey"] == new
        place.run(remove.replace("public_…", deployment.public_key), status=2)


# The emulator

FAULT: Final = "tokensvc dev --fault reject=0.1 --fault latency=500ms --seed 7"
RESET: Final = 'curl -X POST -H "X-Tokensvc-Dev: 1" http://127.0.0.1:8000/dev/reset'


@case("docs/testing.md", FAULT, RESET)
def test_the_emulator_goes_wrong_and_starts_afresh(tmp_path: Path) -> None:
    port = free_port()
    place = Place(tmp_path)
    with left_running(place, f"{text('docs/testing.md', FAULT).strip()} --bind 127.0.0.1:{port}", port) as service:
        state = json.loads(place.run(f"curl -s http://127.0.0.1:{port}/dev/state"))
        assert state["seed"] == 7
        place.run(text("docs/testing.md", RESET).replace(":8000", f":{port}"))
        service.send(signal.SIGTERM)
        assert service.wait() == 0
