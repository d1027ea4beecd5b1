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
    "record_batch": scripts.RECORD_BATCH,
    "redeem": scripts.REDEEM,
    "commit": scripts.COMMIT,
    "release": scripts.RELEASE,
    "finish": scripts.FINISH,
    "revoke": scripts.REVOKE,
    "look": scripts.LOOK,
    "outstanding": scripts.OUTSTANDING,
    "mark": scripts.MARK,
    "ready": scripts.READY,
    "heal": scripts.HEAL,
}


@pytest.mark.parametrize(
    ("name", "sha"),
    [
        ("record", "3f5d76a5db6423180a583aaddce2b77a58efda56"),
        ("record_batch", "91e60cc1d5ec2666ba61f42aa90e98a7306f846b"),
        ("redeem", "bb46cab48180ed69271febc6d03f4e6f4d8c9dd4"),
        ("commit", "522e9d418ffbe95ae89668bfd8ff94b5a3a9c4ce"),
        ("release", "6f7709ac5bde60627a519402b32c3a0c205082e1"),
        ("finish", "aefeb5eab4a443d49e615c0d082cefb420df0f4f"),
        ("revoke", "54ee619814eaa700876008ac4bd76a28b7e8bc14"),
        ("look", "c4ebdaa71fd2ddfc0e040d526f24515a47612f0d"),
        ("outstanding", "1ac95a0ff84429c0b3464850090e9dde1fc565bb"),
        ("mark", "7a9140adb36624c2ef07a5aed27f6b3aaeba5dbf"),
        ("ready", "8ecee838c86e41ba339a1e45d22474d220231eb0"),
        ("heal", "08d8647a235d730b93137b2adebb6f04b0a3b55c"),
    ],
)
def test_a_script_changes_only_on_purpose(valkey: Valkey, name: str, sha: str) -> None:
    """Two versions of the service run at once while it is deployed: who changes a script thinks of the other one."""
    assert NAMED[name].sha == sha
    assert valkey.command("SCRIPT", "LOAD", NAMED[name].text).decode() == sha


@pytest.mark.parametrize("script", NAMED.values(), ids=NAMED)
def test_only_what_adds_a_record_is_refused_by_a_full_store(script: Script) -> None:
    flags = script.text.partition("\n")[0]
    adds = {scripts.RECORD, scripts.RECORD_BATCH, scripts.READY}
    assert flags == ("#!lua" if script in adds else "#!lua flags=allow-oom")


@pytest.mark.parametrize("script", NAMED.values(), ids=NAMED)
def test_only_record_writes_an_issued_record_and_only_where_there_is_none(script: Script) -> None:
    """A batch looks before, in the same step."""
    assert script.text.count("value_of('I'") == 1  # in the preamble, for the one function that does
    writes = [line for line in script.text.splitlines() if " issued(" in line and "function" not in line]
    assert len(writes) == (script in {scripts.RECORD, scripts.RECORD_BATCH})
    assert all("'NX'" in line for line in writes if script is scripts.RECORD)


@pytest.mark.parametrize("script", NAMED.values(), ids=NAMED)
def test_claims_are_removed_by_release_and_where_their_time_has_ended(script: Script) -> None:
    """And where the same request claims again. Nothing else makes a use free."""
    own = script.text.rpartition("'C', nil")[2]
    removals = {scripts.REDEEM: 1, scripts.RELEASE: 1}
    assert own.count("table.remove") == removals.get(script, 0)
    with_uses = script.text.count("table.remove") - own.count("table.remove")
    assert with_uses == ("local function make_room" in script.text)


@pytest.mark.parametrize("script", NAMED.values(), ids=NAMED)
def test_every_write_of_a_record_sets_its_end_or_keeps_it(script: Script) -> None:
    writes = re.findall(r"redis\.call\('SET', .*", script.text.replace("replid .. ':' .. new)", "epoch record"))
    writes = [line for line in writes if not line.startswith("redis.call('SET', key, epoch")]  # a count
    records = [line for line in writes if "epoch record" not in line]
    assert all(("'KEEPTTL'" in line) != ("'EXAT'" in line) for line in records)


@pytest.mark.parametrize("name", NAMED)
def test_every_script_looks_at_the_fence_before_it_does_anything(name: str) -> None:
    own = (files("tokensvc.adapters.nonces") / f"{name}.lua").read_text("utf-8").splitlines()
    head, _, tail = ("\n".join(own[1:]) + "\n").partition("-- uses.lua\n")
    assert head in NAMED[name].text
    assert NAMED[name].text.endswith(tail)
    assert ("local function read_uses" in NAMED[name].text) is bool(tail)
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
            assert store.commit(nonce, request=request) is Outcome.UNISSUED
            store.release(nonce, request=request)
            assert store.record(nonce, grant="g", until=soon(), request=new_request()).recorded
            own.command("SCRIPT", "FLUSH")
            assert store.redeem(nonce, request=request).outcome is Outcome.SPENT
            store.finish(nonce, request=request, result="file")
            assert store.redeem(nonce, request=request).result == "file"
            assert store.revoke(nonce, actor="ops") is Outcome.REPLAYED
            store.ready()
        assert own.command("INFO", "commandstats")["cmdstat_eval"]["calls"] == 8 + 7
