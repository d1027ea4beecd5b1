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
        ("record", "f6226ec6068de05e8da0d0176a38efd167151cda"),
        ("record_batch", "abf36d5b1d8751be503769cb90aa2010569f3423"),
        ("redeem", "848c3f516f4de4740524aeea68b03f64e0eb1ccf"),
        ("commit", "1767a079944a956096963b031d8371f0f50a34ed"),
        ("release", "af9b3f40bed19066b590c6dacd9c405666ad3400"),
        ("finish", "0b0111b5515c72e902fb6b27db537686f64759e6"),
        ("revoke", "6445bc8f1ec643e3bd55ad27ebaed215622d1b9b"),
        ("look", "c7ce9bcd71ddd613ac77a9d70c56689acad82f6e"),
        ("outstanding", "8769fe3b2b716b7e8e26342cf084c29c375ec997"),
        ("mark", "c6a388001d1ac16e7fee9e2655bb09dbfd3382c5"),
        ("ready", "84f537ed43f82b194a989a1fbaf803f67a00257d"),
        ("heal", "1704fc55e30c81ca38cc8f1aafb277dcbd4e08c7"),
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
    records = script in {scripts.RECORD, scripts.RECORD_BATCH}
    assert script.text.count("value_of('I'") == records  # in the one function that does
    writes = [line for line in script.text.splitlines() if " issued(" in line and "function" not in line]
    assert len(writes) == records
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
    assert all(("'KEEPTTL'" in line) != bool(re.search("'(EX|PX)AT'", line)) for line in records)


@pytest.mark.parametrize("name", NAMED)
def test_every_script_looks_at_the_fence_before_it_does_anything(name: str) -> None:
    own = (files("tokensvc.adapters.nonces") / f"{name}.lua").read_text("utf-8")
    tail = own.rpartition(".lua\n")[2]
    assert NAMED[name].text.endswith(tail)
    deeds = [line for line in own.splitlines() if "redis.call" in line or "fence(" in line or "read(" in line]
    assert "= fence(KEYS[" in deeds[0]


@pytest.mark.parametrize("script", NAMED.values(), ids=NAMED)
def test_a_script_makes_each_function_once_and_calls_none_that_it_has_not_made(script: Script) -> None:
    shared = {
        function
        for path in files("tokensvc.adapters.nonces").iterdir()
        if path.name.endswith(".lua")
        for function in re.findall(r"^local function (\w+)", path.read_text("utf-8"), re.MULTILINE)
    }
    made: list[str] = []
    for line in script.text.splitlines():
        code = line.partition("--")[0]
        made += re.findall(r"local function (\w+)", code)
        called = set(re.findall(r"(?<![.\w])(\w+)\(", code)) & shared
        assert called <= set(made), line
    assert len(made) == len(set(made))


@pytest.mark.parametrize("name", NAMED)
def test_a_script_names_no_file_that_it_does_not_use(name: str) -> None:
    folder = files("tokensvc.adapters.nonces")
    own = (folder / f"{name}.lua").read_text("utf-8")
    for named in re.findall(r"^-- (\w+\.lua)$", own, re.MULTILINE):
        made = re.findall(r"^local function (\w+)", (folder / named).read_text("utf-8"), re.MULTILINE)
        assert re.search(rf"\b({'|'.join(made)})\(", own), named


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
