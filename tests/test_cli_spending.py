"""`tokensvc verify`, `explain`, `redeem` and `revoke`, as a shell runs them: a credential on standard input."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.support.processes import PATIENCE_SECONDS
from tests.support.service import Deployment, clean_environment
from tests.support.valkey import Valkey
from tokensvc import use_cases, wiring
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.cli import main
from tokensvc.core.callers import Presented
from tokensvc.core.policy import AskV1, AskV2
from tokensvc.service.batch import Batch
from tokensvc.service.issue import Issue

YES, REFUSED, USAGE, OUTAGE = 0, 1, 2, 3


@dataclass(frozen=True, slots=True)
class Shell:
    """A deployment on a store, what issues there, and its commands."""

    deployment: Deployment
    store_url: str
    issue: Issue

    def run(self, *arguments: str, given: Any = "", **settings: str) -> subprocess.CompletedProcess[str]:
        """A command to its end, with a text, or JSON, on standard input. It tells no secret."""
        environment = {**self.deployment.environment, "REDIS_URL": self.store_url, **settings}
        told = subprocess.run(
            [sys.executable, "-m", "tokensvc", *arguments],
            env=clean_environment(environment),
            cwd="/",
            input=given if isinstance(given, str) else json.dumps(given),
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        for secret in (self.deployment.private_key, self.deployment.api_key):
            assert secret not in told.stdout + told.stderr
        assert "Traceback" not in told.stderr
        return told

    def json(self, *arguments: str, given: Any = "", status: int = YES) -> Any:
        """What it tells as JSON, with that exit status and nothing on standard error."""
        told = self.run(*arguments, "--json", given=given)
        assert (told.returncode, told.stderr) == (status, ""), told
        return json.loads(told.stdout)

    @property
    def presented(self) -> Presented:
        return Presented({"authorization": f"Bearer {self.deployment.api_key}"}, {}, "127.0.0.1")

    def v1(self) -> dict[str, Any]:
        """As GET /auth answers."""
        made = asdict(self.issue.v1("default", self.presented, AskV1()).credential)
        made["publicKey"] = made.pop("public_key")
        return made

    def v2(self) -> str:
        """The JWT in what POST /auth answers."""
        return self.issue.v2("default", self.presented, AskV2({"fileName": f"{os.urandom(4).hex()}.png"})).credential


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    deployment = Deployment(tmp_path)
    deployment.write()
    with Valkey() as own, contextlib.closing(own.client()) as client:
        settings = wiring.load_settings({**deployment.environment, "REDIS_URL": own.url})
        nonces = RedisNonces(client, chance=os.urandom)
        issue = use_cases.issue(settings, nonces, use_cases.caller_sources(settings), None)  # type: ignore[arg-type] # nobody is slowed
        yield Shell(deployment, own.url, issue)


def test_a_credential_is_verified_without_a_store(shell: Shell) -> None:
    """As /auth answers it, or a JWT alone; from a file too."""
    v1, token = shell.v1(), shell.v2()
    nowhere = {"REDIS_URL": "unix:///nowhere.sock"}
    told = shell.json("verify", given=v1)
    assert told == {
        "good": True,
        "version": "v1",
        "account": "default",
        "public_key": shell.deployment.public_key,
        "issued_at": None,
        "expires_at": v1["expire"],
        "fields": None,
    }
    file = shell.deployment.folder / "credential"
    file.write_text(f"{token}\n")
    told = shell.run("verify", str(file), **nowhere)
    assert (told.returncode, told.stderr) == (YES, "")
    assert told.stdout.startswith(
        f"GOOD: v2 of account default, signed with the key {shell.deployment.public_key}; it ends in "
    )
    assert "not looked up" in told.stdout
    bound = shell.json("verify", given={"token": token})
    assert bound["expires_at"] - bound["issued_at"] == 3600
    assert bound["fields"].keys() == {"fileName"}
    name = bound["fields"]["fileName"]
    assert shell.json("verify", "--field", f"fileName={name}", given=token)["good"] is True
    refused = shell.json("verify", "--field", "fileName=b.png", given=token, status=REFUSED)
    assert refused["refusal"]["code"] == "parameter.forbidden"
    forged = shell.run("verify", given={**v1, "signature": "0" * 40})
    assert forged.returncode == REFUSED
    assert forged.stdout.startswith("REFUSED with credential.invalid")


def test_a_credential_is_redeemed_once_and_by_its_name_again(shell: Shell) -> None:
    v1, token = shell.v1(), shell.v2()
    assert shell.json("redeem", "--idempotency-key", "k1", given=v1)["outcome"] == "spent"
    grant = shell.json("redeem", "--idempotency-key", "k1", given=v1)["grant"]
    assert (grant["subject"], grant["profile"], grant["account"], grant["version"]) == ("t", "default", "default", "v1")
    assert shell.json("redeem", given=v1, status=REFUSED)["refusal"]["code"] == "credential.replayed"
    wrong = shell.run("redeem", "--field", "fileName=b", given=token)
    assert (wrong.returncode, wrong.stderr) == (REFUSED, "")
    told = shell.run("redeem", given=token)
    assert (told.returncode, told.stderr) == (YES, "")
    assert told.stdout.splitlines()[:2] == [
        "SPENT: v2 of account default",
        "  issued to 't' of backend by profile default",
    ]


def test_all_that_is_wrong_is_explained(shell: Shell) -> None:
    token = shell.v2()
    assert shell.json("explain", given=token) == {"good": True, "reasons": []}
    assert shell.run("explain", given=token).stdout == "GOOD: it could be spent now.\n"
    assert shell.json("redeem", given=token)["outcome"] == "spent"
    told = shell.run("explain", "--field", "fileName=b.png", given=token)
    assert (told.returncode, told.stderr) == (REFUSED, "")
    head, first, second = told.stdout.splitlines()
    assert head == "REFUSED"
    assert first.startswith("  parameter.forbidden: `fileName` differs: signed ")
    assert second == "  credential.replayed: The credential has been used before."
    reasons = shell.json("explain", given={"version": "v2", "token": token}, status=REFUSED)["reasons"]
    assert [one["code"] for one in reasons] == ["credential.replayed"]


def test_one_is_revoked_by_its_token(shell: Shell) -> None:
    v1, token = shell.v1(), shell.v2()
    assert shell.json("revoke", given=v1["token"]) == {"revoked": 1, "outcome": "revoked"}
    assert shell.json("redeem", given=v1, status=REFUSED)["refusal"]["code"] == "credential.revoked"
    told = shell.run("revoke", given={"token": token})
    assert (told.returncode, told.stdout) == (YES, "REVOKED: it cannot be spent here any more.\n")
    told = shell.run("revoke", given="00000000-0000-4000-8000-000000000000")
    assert (told.returncode, told.stderr) == (REFUSED, "")
    assert told.stdout.startswith("NOT REVOKED: it is not on record")


def test_all_until_now_is_revoked_by_a_watermark(shell: Shell) -> None:
    gone = shell.v1()
    told = shell.json("revoke", "--subject", "t", "--source", "backend")
    assert told["revoked"] == "watermark"
    assert 0 <= wiring.clock() + 1 - told["issued_before"] < PATIENCE_SECONDS
    assert shell.json("redeem", given=gone, status=REFUSED)["refusal"]["code"] == "credential.revoked"
    batch = Batch(replace(shell.issue, clock=lambda: told["issued_before"]))
    later = batch.v1("default", shell.presented, 1).credential
    given = {"token": later.tokens[0], "expire": later.expire, "signature": later.signatures[0]}
    assert shell.json("explain", given=given)["good"]
    human = shell.run("revoke", "--profile", "default", "--issued-before", str(told["issued_before"]))
    assert human.stdout.startswith(f"REVOKED: what profile 'default' was issued before {told['issued_before']} cannot")


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        (("redeem",), b""),
        (("redeem",), b"{"),
        (("redeem",), b"\xff"),
        (("redeem",), b"a" * 65_537),
        (("redeem",), b'{"token":"a","more":1}'),
        (("redeem",), b'{"token":"a","token":"b"}'),
        (("verify",), b'{"version":"v3","token":"a"}'),
        (("explain",), b'{"version":"v1","token":"a"}'),
        (("redeem", "--field", "fileName"), b"a.b.c"),
        (("redeem", "--idempotency-key", "a b"), b"a.b.c"),
        (("redeem", "/nowhere"), b""),
        (("revoke",), b'{"version":"v1"}'),
        (("revoke",), b'{"token":1}'),
        (("revoke", "--subject", "t", "--profile", "default"), b""),
        (("revoke", "--subject", ""), b""),
        (("revoke", "--profile", "default", "--source", "backend"), b""),
        (("revoke", "--profile", "defalt"), b""),
        (("revoke", "--subject", "t", "--source", "nobody"), b""),
        (("revoke", "--issued-before", "1795361538"), b""),
        (("revoke", "--source", "backend"), b""),
        (("revoke", "--subject", "t", "--issued-before", "1795361538000"), b""),
        (("revoke", "--subject", "t", "--issued-before", "now"), b""),
    ],
)
def test_what_is_no_use_is_told_with_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], given: bytes
) -> None:
    """Before any store is asked: there is none."""
    deployment = Deployment(tmp_path)
    deployment.write()
    variables = {**deployment.environment, "REDIS_URL": f"unix://{tmp_path}/nowhere.sock"}
    monkeypatch.setattr(wiring, "environment", lambda: variables)
    told = CliRunner().invoke(main, arguments, input=given)
    assert isinstance(told.exception, SystemExit)
    assert told.exit_code == USAGE, told.output
    assert told.output


def test_a_store_that_does_not_answer_is_status_3(shell: Shell) -> None:
    token = shell.v2()
    nowhere = {"REDIS_URL": f"unix://{shell.deployment.folder}/nowhere.sock"}
    for command in (("explain",), ("revoke", "--subject", "t")):
        told = shell.run(*command, given=token, **nowhere)
        assert (told.returncode, told.stdout) == (OUTAGE, ""), told
        assert told.stderr.startswith("No answer: ")
    as_json = shell.run("redeem", "--json", given=token, **nowhere)
    assert json.loads(as_json.stdout).keys() == {"outage"}


def test_no_configuration_and_no_store_of_our_own_are_status_2(shell: Shell) -> None:
    token = shell.v2()
    told = shell.run("redeem", given=token, REDIS_URL="")
    assert told.returncode == USAGE
    assert "tokensvc store" in told.stderr
    told = shell.run("verify", given=token, IMAGEKIT_PRIVATE_KEY="")
    assert told.returncode == USAGE
