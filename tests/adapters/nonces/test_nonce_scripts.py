"""The Lua files themselves."""

from __future__ import annotations

import contextlib
import os
import re
from importlib.resources import files

import pytest

from tests.support.nonces import new_nonce, new_request, soon
from tests.support.valkey import Valkey
from tokensvc.adapters.nonces import scripts
from tokensvc.adapters.nonces.scripts import Script
from tokensvc.adapters.nonces.store import RedisNonces
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
        ("record", "d79680d88a8c117fd4b75f9333e6e0678c225a4a"),
        ("record_batch", "1a4f1b3511a4aea088545d544b11f63d0e825878"),
        ("redeem", "f791ffc31314717e0643807a3cb539750df1fc52"),
        ("commit", "11e073e0b059361e6c58b780cb105e3c0c6cb00e"),
        ("release", "e1733cb90f158d427af8c07a9a5c9a6ac1ed477a"),
        ("finish", "a4b7bdb9346cf3e147a885066ec6c6c2e4839047"),
        ("revoke", "0f2477a46e1530552634e634b04e4bbc6d441da4"),
        ("look", "7c64fe8190c37a250090a639a6ce4f20d1bccc95"),
        ("outstanding", "e250d3002a8ded5d14a81abb515ee71cf9718a1b"),
        ("mark", "54b55710d2a920273dbd82c12001eee6a993f21a"),
        ("ready", "64e8f8459efe173d0a9db330299c060dccc7177c"),
        ("heal", "1b01bb7b4ae4a4f88117c482af6cf24b5e24d45b"),
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
