"""The Lua files themselves."""

from __future__ import annotations

import contextlib
import os
import re
from importlib.resources import files

import pytest

from tests.support.nonces import new_nonce, new_request, soon
from tests.support.valkey import Valkey
from tokensvc.adapters.nonces import RedisNonces, scripts
from tokensvc.adapters.nonces.scripts import Script
from tokensvc.ports import Outcome

NAMED = {
    "record": scripts.RECORD,
    "redeem": scripts.REDEEM,
    "finish": scripts.FINISH,
    "revoke": scripts.REVOKE,
    "ready": scripts.READY,
    "heal": scripts.HEAL,
    "look": scripts.LOOK,
    "mark": scripts.MARK,
}


@pytest.mark.parametrize(
    ("name", "sha"),
    [
        ("record", "ce54db46973f245e10351dc7569fbe0eae20b7ca"),
        ("redeem", "a3de88690f1efd1adcd8983fca3ae75e90431c70"),
        ("finish", "dd94fd5659d5e465a5b982092c8cd7b8e5729c35"),
        ("revoke", "e5af3d143247cc8214804408ae5688250b3a236d"),
        ("ready", "cc2b4f10487b78e9be82a90371322fc73f1e306d"),
        ("heal", "f2f99a08dd34e27d8207721cdbe4f4217b96404b"),
        ("look", "475ce27fbe04c4aa1535b16b751eacc7494826ec"),
        ("mark", "272c7bcad4bf80daa7e2dc2816bcb96f658beec5"),
    ],
)
def test_a_script_changes_only_on_purpose(valkey: Valkey, name: str, sha: str) -> None:
    """Two versions of the service run at once while it is deployed: who changes a script thinks of the other one."""
    assert NAMED[name].sha == sha
    assert valkey.command("SCRIPT", "LOAD", NAMED[name].text).decode() == sha


@pytest.mark.parametrize("script", NAMED.values(), ids=NAMED)
def test_only_what_adds_a_record_is_refused_by_a_full_store(script: Script) -> None:
    flags = script.text.partition("\n")[0]
    assert flags == ("#!lua" if script in {scripts.RECORD, scripts.READY} else "#!lua flags=allow-oom")


@pytest.mark.parametrize("script", NAMED.values(), ids=NAMED)
def test_only_record_writes_an_issued_record_and_only_where_there_is_none(script: Script) -> None:
    writes = [line for line in script.text.splitlines() if "value_of('I'" in line]
    assert len(writes) == (script is scripts.RECORD)
    assert all("'NX'" in line for line in writes)


@pytest.mark.parametrize("script", NAMED.values(), ids=NAMED)
def test_every_write_of_a_record_sets_its_end_or_keeps_it(script: Script) -> None:
    writes = re.findall(r"redis\.call\('SET', .*", script.text.replace("replid .. ':' .. new)", "epoch record"))
    records = [line for line in writes if "epoch record" not in line]
    assert all(("'KEEPTTL'" in line) != ("'EXAT'" in line) for line in records)


@pytest.mark.parametrize("name", NAMED)
def test_every_script_looks_at_the_fence_before_it_does_anything(name: str) -> None:
    own = (files("tokensvc.adapters.nonces") / f"{name}.lua").read_text("utf-8").splitlines()
    assert NAMED[name].text.endswith("\n".join(own[1:]) + "\n")
    deeds = [line for line in own if "redis.call" in line or "fence(" in line or "read(" in line]
    assert "= fence(KEYS[" in deeds[0]


def test_a_server_that_does_not_know_the_scripts_learns_them_within_the_call() -> None:
    """No second attempt is needed: the pauses are made to fail."""

    def no_pause(_seconds: float) -> None:
        raise AssertionError("paused")

    with Valkey() as own, contextlib.closing(own.client()) as client:
        store = RedisNonces(client, chance=os.urandom, sleep=no_pause)
        for _ in range(2):
            nonce, request = new_nonce(), new_request()
            assert store.record(nonce, grant="g", until=soon(), request=new_request()).recorded
            own.command("SCRIPT", "FLUSH")
            assert store.redeem(nonce, request=request).outcome is Outcome.SPENT
            store.finish(nonce, request=request, result="file")
            assert store.redeem(nonce, request=request).result == "file"
            assert store.revoke(nonce, actor="ops") is Outcome.REPLAYED
            store.ready()
        assert own.command("INFO", "commandstats")["cmdstat_eval"]["calls"] == 6 + 5
