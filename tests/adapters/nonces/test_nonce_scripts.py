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
        ("record", "2e23ac209f316ae2026185643fd2672c8dd00729"),
        ("record_batch", "32be9ca6120bbefbd111b1bc4db921d729b6fa6b"),
        ("redeem", "e700d71615bf62dd2da28e864434895f2240b4a7"),
        ("commit", "656969aea4149f4cdd1d43421132357b857bd1ac"),
        ("release", "157c3c081ce5f11205761272d4db6c657241e59e"),
        ("finish", "4d667934a0f91d85dd59d695efffdf1d03acd4f2"),
        ("revoke", "61f770a26a77a819882fd5d122990519897b470b"),
        ("look", "3d6ee8222d07d2d7079c069fec9989cbcd77e85f"),
        ("outstanding", "c33586425c8829dc6af33bde8a5991ca76d5a07a"),
        ("mark", "a09d7a0ad65cbac31e89fbaf61ae5e81b4847a48"),
        ("ready", "53012cd40b01f4e1a23e17eb5e7315d594f9831e"),
        ("heal", "568e0b203733a545aee10ed92acd89dac13e67c7"),
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
