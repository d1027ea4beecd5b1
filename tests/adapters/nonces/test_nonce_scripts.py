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
}


@pytest.mark.parametrize(
    ("name", "sha"),
    [
        ("record", "9e7408b1bbf685e8c540c5db3c95758d0bc5f73a"),
        ("redeem", "162bc888c843f43235fe706bc013823e92bb4bc4"),
        ("finish", "b98c3e255e478d8ae0c359847990569d9e2b120a"),
        ("revoke", "5fdd42eec61fa0f3bda06d492e5067280c6dfb52"),
        ("ready", "88d35c526c1352758880cb071844acd1f88f4faf"),
        ("heal", "d2a6ec408f61f556987b0d49b5030219ee7cd4cd"),
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
