"""Accept where a profile has said how often, and what spends a use: claimed, committed, given back; and resumed."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from tests.support.app import KEPT_NONE, KEPT_ONE, Service, Tables, png
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.nonces import new_request
from tests.support.valkey import Valkey
from tokensvc.adapters.nonces import scripts
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.adapters.redis_client import connect
from tokensvc.core.errors import Code, Outage, Refusal
from tokensvc.core.policy import AskV1
from tokensvc.core.upload import Kind, StoredFile
from tokensvc.ports import Incoming, NameTaken, Outcome, Standing
from tokensvc.service.accept import Accept, Offer

from .conftest import Notes, bearer
from .test_accept import Steps, form_v1, nonce_of, offer, received, refused

PROFILES: dict[str, dict[str, Any]] = {
    "succeed": {"spend": "on-success"},
    "thrice": {"uses": 3},
    "succeed-thrice": {"uses": 3, "spend": "on-success"},
}


def add_profiles(tables: Tables) -> None:
    for name, members in PROFILES.items():
        tables["profiles"][name] = {"callers": ["backend"], **members}


@pytest.fixture
def service(valkey: Valkey, tmp_path: Path) -> Iterator[Service]:
    with contextlib.closing(Service(valkey.url, tmp_path, change=add_profiles)) as made:
        yield made


def form(service: Service, profile: str = "succeed", **more: str) -> dict[str, str]:
    credential = service.issue.v1(profile, bearer(service.api_key), AskV1()).credential
    return {
        "fileName": "a.png",
        "token": credential.token,
        "expire": str(credential.expire),
        "signature": credential.signature,
        "publicKey": credential.public_key,
        **more,
    }


def upload(service: Service, fields: Mapping[str, str], content: bytes = b"", key: str | None = None) -> StoredFile:
    return attempt(service.accept, service, fields, content, key)


def attempt(
    accept: Accept, service: Service, fields: Mapping[str, str], content: bytes = b"", key: str | None = None
) -> StoredFile:
    """As a request does it."""
    incoming = received(service, content)
    try:
        return accept(Offer("v1", fields, incoming, key=key))
    finally:
        incoming.discard()


def standing(service: Service, fields: Mapping[str, str]) -> Standing:
    return replace(service.nonces.look(nonce_of(fields)), grant="")


FREE, HELD, SPENT = Standing(None, "", 1), Standing(Outcome.HELD), Standing(Outcome.REPLAYED)


# On success: what gives it back


def test_the_order_of_the_steps(service: Service) -> None:
    """It is committed when all that can be known is known, and before the file is visible."""
    steps = Steps(service)
    steps.accept()(offer(service, form(service)))
    assert steps.taken == [
        "redeem with 1 file on disk",
        "claimed",
        "inspect",
        "commit",
        "redeemed",
        "keep",
        "stored",
    ]


def test_a_form_that_is_refused_gives_the_credential_back(service: Service) -> None:
    notes, fields = Notes(), form(service)
    accept = replace(service.accept, audit=notes)
    for wrong in ({"fileName": ""}, {"folder": "a b"}, {"tags": "%"}, {"checks": '"file.size" > "1MB"'}):
        with pytest.raises(Refusal):
            attempt(accept, service, {**fields, **wrong})
        assert standing(service, fields) == FREE
    assert notes.events == ["claimed", "released"] * 4
    upload(service, fields)
    assert standing(service, fields) == SPENT
    assert service.on_disk() == KEPT_ONE


def test_under_the_default_a_form_that_is_refused_does_not(service: Service) -> None:
    fields = form_v1(service)
    refused(lambda: upload(service, {**fields, "fileName": ""}), Code.PARAMETER_INVALID)
    refused(lambda: upload(service, fields), Code.CREDENTIAL_REPLAYED)


def test_a_form_without_a_file_gives_it_back(service: Service) -> None:
    fields = form(service)
    refused(lambda: service.accept(Offer("v1", fields, None)), Code.REQUEST_MALFORMED)
    assert standing(service, fields) == FREE


def test_a_name_that_is_taken_gives_it_back(service: Service) -> None:
    """Asked before it is committed, though only keeping it can be sure."""
    exact = {"useUniqueFileName": "false", "overwriteFile": "false"}
    upload(service, form(service, **exact))
    fields = form(service, **exact)
    refused(lambda: upload(service, fields), Code.PARAMETER_INVALID)
    assert standing(service, fields) == FREE
    upload(service, {**fields, "fileName": "b.png"})


def test_a_file_with_a_hundred_versions_gives_it_back(service: Service) -> None:
    exact = {"useUniqueFileName": "false", "overwriteFile": "true"}
    for number in range(100):
        private = Offer("v1", {"fileName": "a.png", **exact}, received(service, bytes([number])), service.private_key)
        service.accept(private)
    fields = form(service, **exact)
    assert refused(lambda: upload(service, fields), Code.PARAMETER_INVALID).field == "fileName"
    assert standing(service, fields) == FREE


@pytest.mark.parametrize("error", [ValueError, Outage, KeyboardInterrupt])
def test_whatever_goes_wrong_gives_it_back(service: Service, error: type[BaseException]) -> None:
    def fail(_content: BinaryIO, _name: str) -> Kind:
        raise error("of somebody who wants that")

    fields = form(service)
    with pytest.raises(error):
        attempt(replace(service.accept, inspect=fail), service, fields)
    assert standing(service, fields) == FREE
    assert service.on_disk() == KEPT_NONE


def test_a_disk_that_is_full_when_the_bytes_get_there_gives_it_back(service: Service) -> None:
    class Unsecured:
        def __init__(self, inner: Incoming) -> None:
            self.size, self.open, self.seal = inner.size, inner.open, inner.seal

        def secure(self) -> None:
            raise Outage("There is no room left for files.")

    fields, inner = form(service), received(service)
    file: Any = Unsecured(inner)
    with pytest.raises(Outage):
        service.accept(Offer("v1", fields, file))
    inner.discard()
    assert standing(service, fields) == FREE


def test_what_fails_after_the_commit_is_spent_and_never_given_back(service: Service) -> None:
    """The next attempt with it would be the second that may have been kept."""

    class Failing:
        def find(self, *_: object) -> None:
            return None

        def keep(self, *_: object, **__: object) -> None:
            raise Outage("There is no room left for files.")

    files: Any = Failing()
    fields = form(service)
    with pytest.raises(Outage):
        attempt(replace(service.accept, files=files), service, fields)
    assert standing(service, fields) == SPENT
    refused(lambda: upload(service, fields), Code.CREDENTIAL_REPLAYED)


def test_with_its_key_what_failed_after_the_commit_is_carried_on(service: Service) -> None:
    class Failing:
        def __init__(self) -> None:
            self.find = service.files.find

        def keep(self, *_: object, **__: object) -> None:
            raise Outage("There is no room left for files.")

    files: Any = Failing()
    fields = form(service)
    with pytest.raises(Outage):
        attempt(replace(service.accept, files=files), service, fields, key="k")
    stored = upload(service, fields, key="k")
    assert upload(service, fields, key="k") == stored
    assert service.on_disk() == KEPT_ONE
    refused(lambda: upload(service, fields), Code.CREDENTIAL_REPLAYED)


# On success: others, and late ones


def test_another_upload_waits_while_one_is_under_way(service: Service) -> None:
    fields, others = form(service), []

    def look(content: BinaryIO, name: str) -> Kind:
        others.append(refused(lambda: upload(service, fields), Code.CREDENTIAL_HELD))
        return service.accept.inspect(content, name)

    attempt(replace(service.accept, inspect=look), service, fields)
    (refusal,) = others
    assert refusal.retry_after is not None
    assert 30 < refusal.retry_after <= 60
    assert service.on_disk() == KEPT_ONE


@pytest.mark.parametrize("exact", [False, True])
def test_one_that_is_too_late_keeps_nothing(service: Service, exact: bool) -> None:
    """Its lease has ended and another has been kept in the meantime: the store refuses its commit."""
    fields = form(service, **({"useUniqueFileName": "false"} if exact else {}))

    def overtaken(content: BinaryIO, name: str) -> Kind:
        upload(service, fields, b"the other")
        return service.accept.inspect(content, name)

    late = replace(service.accept, inspect=overtaken, lease=0)
    refused(lambda: attempt(late, service, fields, b"the late one"), Code.CREDENTIAL_REPLAYED)
    assert service.on_disk() == KEPT_ONE
    if exact:
        found = service.files.find("default", "/a.png")
        assert found is not None
        with found[1] as content:
            assert content.read() == b"the other"


def test_one_that_is_too_late_while_another_is_under_way_keeps_nothing(service: Service) -> None:
    fields, other = form(service), new_request()

    def overtaken(content: BinaryIO, name: str) -> Kind:
        assert service.nonces.redeem(nonce_of(fields), request=other, lease=60).outcome is Outcome.CLAIMED
        return service.accept.inspect(content, name)

    late = replace(service.accept, inspect=overtaken, lease=0)
    refused(lambda: attempt(late, service, fields), Code.CREDENTIAL_HELD)
    assert service.on_disk() == KEPT_NONE
    assert standing(service, fields) == HELD
    assert service.nonces.commit(nonce_of(fields), request=other) is Outcome.SPENT


def test_one_that_is_late_and_alone_is_kept(service: Service) -> None:
    attempt(replace(service.accept, lease=0), service, form(service))
    assert service.on_disk() == KEPT_ONE


def test_one_that_is_revoked_while_it_is_under_way_keeps_nothing(service: Service) -> None:
    fields = form(service)

    def revoked(content: BinaryIO, name: str) -> Kind:
        assert service.nonces.revoke(nonce_of(fields), actor="ops") is Outcome.REVOKED
        return service.accept.inspect(content, name)

    refused(lambda: attempt(replace(service.accept, inspect=revoked), service, fields), Code.CREDENTIAL_REVOKED)
    assert service.on_disk() == KEPT_NONE


# On success: the store's outages


@pytest.mark.parametrize("fault", [Fault.RESET, Fault.DROP_REPLY])
def test_an_outage_of_the_commit_keeps_nothing(service: Service, valkey: Valkey, fault: Fault) -> None:
    """Executed or not. If it was, it is spent for nothing: the price of never keeping two."""
    fields = form(service)
    for script in (scripts.COMMIT, scripts.REDEEM, scripts.RELEASE):
        valkey.command("SCRIPT", "LOAD", script.text)
    with FaultProxy(valkey.socket) as proxy, contextlib.closing(connect(proxy.url, connections=2)) as client:
        nonces = RedisNonces(client, chance=os.urandom, sleep=lambda _seconds: None)
        proxy.inject(fault, matching=scripts.COMMIT.sha.encode())
        with pytest.raises(Outage):
            attempt(replace(service.accept, nonces=nonces), service, fields)
        assert proxy.injected > 0
    assert service.on_disk() == KEPT_NONE
    assert standing(service, fields) == (FREE if fault is Fault.RESET else SPENT)


def test_a_lost_reply_to_the_commit_is_asked_for_again(service: Service, valkey: Valkey) -> None:
    fields = form(service)
    valkey.command("SCRIPT", "LOAD", scripts.COMMIT.text)
    with FaultProxy(valkey.socket) as proxy, contextlib.closing(connect(proxy.url, connections=2)) as client:
        nonces = RedisNonces(client, chance=os.urandom, sleep=lambda _seconds: None)
        proxy.inject(Fault.DROP_REPLY, matching=scripts.COMMIT.sha.encode(), when=lambda k: k == 1)
        attempt(replace(service.accept, nonces=nonces), service, fields)
        assert proxy.injected == 1
    assert service.on_disk() == KEPT_ONE


def test_what_cannot_be_given_back_is_free_when_its_lease_has_ended(service: Service, valkey: Valkey) -> None:
    """And the refusal is told as it is."""
    fields, notes = form(service), Notes()
    valkey.command("SCRIPT", "LOAD", scripts.RELEASE.text)
    with FaultProxy(valkey.socket) as proxy, contextlib.closing(connect(proxy.url, connections=2)) as client:
        nonces = RedisNonces(client, chance=os.urandom, sleep=lambda _seconds: None)
        proxy.inject(Fault.RESET, matching=scripts.RELEASE.sha.encode())
        broken = replace(service.accept, nonces=nonces, lease=1, audit=notes)
        refused(lambda: attempt(broken, service, {**fields, "fileName": ""}), Code.PARAMETER_INVALID)
    assert notes.events == ["claimed", "unreleased"]
    tries, began = 0, time.monotonic()
    while service.on_disk() == KEPT_NONE:
        assert time.monotonic() - began < 30
        with contextlib.suppress(Refusal):
            upload(service, fields)
        tries += 1
    assert tries > 1
    assert service.on_disk() == KEPT_ONE


# Many at once


def outcomes_of(race: Callable[[int], object], count: int) -> Counter[str]:
    start = threading.Barrier(count)

    def one(number: int) -> str:
        start.wait()
        try:
            race(number)
        except Refusal as refusal:
            return str(refusal.code)
        return "kept"

    with ThreadPoolExecutor(count) as threads:
        return Counter(threads.map(one, range(count)))


def test_of_many_at_once_one_is_kept_on_success(service: Service) -> None:
    fields = form(service)
    outcomes = outcomes_of(lambda number: upload(service, fields, bytes([number]) * 100), 40)
    assert outcomes["kept"] == 1
    assert outcomes.keys() <= {"kept", "credential.held", "credential.replayed"}
    assert service.on_disk() == KEPT_ONE


@pytest.mark.parametrize("profile", ["thrice", "succeed-thrice"])
def test_of_many_at_once_three_are_kept_with_three_uses(service: Service, profile: str) -> None:
    fields = form(service, profile)
    outcomes = outcomes_of(lambda number: upload(service, fields, bytes([number]) * 100), 40)
    assert outcomes["kept"] == 3
    assert service.on_disk() == {"incoming": 0, "objects": 3, "index": 3}
    refused(lambda: upload(service, fields), Code.CREDENTIAL_REPLAYED)


@pytest.mark.parametrize("lease", [0, 60])
def test_however_many_are_refused_and_given_back_one_is_kept(service: Service, lease: int) -> None:
    """Nine of ten are refused late; with leases that end at once they overtake each other all the time."""
    fields, accept = form(service), replace(service.accept, lease=lease)

    def race(number: int) -> None:
        for turn in range(10):
            with contextlib.suppress(Refusal):
                wrong = {"tags": "%"} if (number + turn) % 10 else {}
                attempt(accept, service, {**fields, **wrong}, bytes([number]) * 100)

    outcomes_of(race, 20)
    if service.on_disk() != KEPT_ONE:  # each good one may have met another
        assert service.on_disk() == KEPT_NONE
        upload(service, fields)
    assert service.on_disk() == KEPT_ONE
    assert standing(service, fields) == SPENT


# Uses


def test_each_use_is_a_file(service: Service) -> None:
    fields = form(service, "thrice")
    stored = [upload(service, fields) for _ in range(3)]
    assert len({file.file_path for file in stored}) == len({file.file_id for file in stored}) == 3
    refused(lambda: upload(service, fields), Code.CREDENTIAL_REPLAYED)


def test_a_refused_attempt_is_a_use_unless_the_profile_says_on_success(service: Service) -> None:
    for profile, left in (("thrice", 2), ("succeed-thrice", 3)):
        fields = form(service, profile)
        refused(partial(upload, service, {**fields, "fileName": ""}), Code.PARAMETER_INVALID)
        assert standing(service, fields) == Standing(None, "", left)


# Idempotency-Key

ALL = ["default", *PROFILES]


@pytest.mark.parametrize("profile", ALL)
def test_the_same_upload_with_the_same_key_is_answered_alike(service: Service, profile: str) -> None:
    notes, fields = Notes(), form(service, profile)
    accept = replace(service.accept, audit=notes)
    stored = [attempt(accept, service, fields, key="k-1") for _ in range(3)]
    assert stored[1:] == stored[:1] * 2
    assert service.on_disk() == KEPT_ONE
    assert notes.events.count("stored") == 1
    assert notes.events[-2:] == ["finished", "finished"]


@pytest.mark.parametrize("profile", ["default", "succeed"])
def test_anything_else_with_the_same_key_is_another_upload(service: Service, profile: str) -> None:
    fields = form(service, profile)
    upload(service, fields, key="k-1")
    for other in (
        lambda: upload(service, fields),
        lambda: upload(service, fields, key="k-2"),
        lambda: upload(service, fields, key="K-1"),
        lambda: upload(service, fields, png(9), key="k-1"),
        lambda: upload(service, {**fields, "fileName": "b.png"}, key="k-1"),
        lambda: upload(service, {**fields, "tags": "a"}, key="k-1"),
    ):
        refused(other, Code.CREDENTIAL_REPLAYED)
    assert service.on_disk() == KEPT_ONE


def test_the_same_key_with_another_credential_is_another_upload(service: Service) -> None:
    stored = [upload(service, form(service), key="k") for _ in range(2)]
    assert stored[0].file_path != stored[1].file_path


def test_each_key_is_a_use_and_no_key_is_one_each_time(service: Service) -> None:
    fields = form(service, "thrice")
    first = upload(service, fields, key="k-1")
    assert upload(service, fields, key="k-1") == first
    upload(service, fields)
    second = upload(service, fields, key="k-2")
    assert upload(service, fields, key="k-2") == second
    refused(lambda: upload(service, fields, key="k-3"), Code.CREDENTIAL_REPLAYED)
    assert upload(service, fields, key="k-1") == first


def _note_each(again: Callable[[], StoredFile], stored: list[StoredFile], _number: int) -> None:
    stored.append(again())


def test_of_many_at_once_with_one_key_all_are_told_of_one_file(service: Service) -> None:
    for profile in ALL:
        again, stored = partial(upload, service, form(service, profile), key="k"), list[StoredFile]()
        assert outcomes_of(partial(_note_each, again, stored), 20) == {"kept": 20}
        assert all(one == stored[0] for one in stored)


def test_a_key_under_a_name_that_is_not_unique_keeps_one_version(service: Service) -> None:
    fields = form(service, useUniqueFileName="false")
    first = upload(service, fields, key="k")
    later = upload(service, form(service, useUniqueFileName="false"), b"later")
    again = upload(service, fields, key="k")
    assert (again.version_id, again.file_id) == (first.version_id, first.file_id)
    assert later.version_name == "Version 2"


class Stops(BaseException):
    """The end of a process."""


@pytest.mark.parametrize("profile", ALL)
def test_wherever_a_worker_ends_the_same_key_carries_it_on(service: Service, profile: str) -> None:
    """At each step of the two stores, before it and after it; and in the end there is one file."""
    ended = 0
    for at in range(1, 20):
        fields, turn = form(service, profile), _Ending(service, at)
        with contextlib.suppress(Stops):
            attempt(turn.accept(), service, fields, key="k")
            break
        ended += 1
        before = service.on_disk()["objects"]
        stored = upload(service, fields, key="k")
        assert upload(service, fields, key="k") == stored
        assert service.on_disk()["objects"] <= before + 1
        if "thrice" not in profile:
            refused(partial(upload, service, fields), Code.CREDENTIAL_REPLAYED)
    assert ended == (8 if "succeed" in profile else 6)
    assert service.on_disk() == {"incoming": 0, "objects": ended + 1, "index": ended + 1}


class _Ending:
    """The stores of a worker that ends at a step, without any more word to them: as a kill would."""

    def __init__(self, service: Service, at: int) -> None:
        self._service, self._at, self._step, self._over = service, at, 0, False

    def accept(self) -> Accept:
        mine: Any = self
        return replace(self._service.accept, nonces=mine, files=mine)

    def _pass(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self._over:
            raise Outage("It is dead.")
        self._tell()
        answer = call(*args, **kwargs)
        self._tell()
        return answer

    def _tell(self) -> None:
        self._step += 1
        if self._step == self._at:
            self._over = True
            raise Stops

    def redeem(self, *args: Any, **kwargs: Any) -> Any:
        return self._pass(self._service.nonces.redeem, *args, **kwargs)

    def commit(self, *args: Any, **kwargs: Any) -> Any:
        return self._pass(self._service.nonces.commit, *args, **kwargs)

    def release(self, *args: Any, **kwargs: Any) -> Any:
        return self._pass(self._service.nonces.release, *args, **kwargs)

    def finish(self, *args: Any, **kwargs: Any) -> Any:
        return self._pass(self._service.nonces.finish, *args, **kwargs)

    def keep(self, *args: Any, **kwargs: Any) -> Any:
        return self._pass(self._service.files.keep, *args, **kwargs)

    def find(self, *args: Any, **kwargs: Any) -> Any:
        return self._service.files.find(*args, **kwargs)


def test_a_result_whose_file_is_gone_is_a_used_credential(service: Service) -> None:
    fields = form(service)
    upload(service, fields, key="k")
    for path in service.root.glob("index/*/*"):
        path.unlink()
    refused(lambda: upload(service, fields, key="k"), Code.CREDENTIAL_REPLAYED)


@pytest.mark.parametrize("key", ["", " ", "a b", "ä", "x" * 256, "a\n"])
def test_a_key_that_is_none_is_refused_and_nothing_is_spent(service: Service, key: str) -> None:
    fields = form_v1(service)
    assert refused(lambda: upload(service, fields, key=key), Code.REQUEST_MALFORMED).field == "Idempotency-Key"
    early = Offer("v1", fields, None, key=key)
    refused(lambda: service.accept.require_genuine(early), Code.REQUEST_MALFORMED)
    upload(service, fields, key="x" * 255)


def test_a_server_may_name_its_uploads_too(service: Service) -> None:
    """With the private key there is no credential; the key alone says that it is the same upload."""

    def send(key: str | None, content: bytes = b"") -> StoredFile:
        incoming = received(service, content)
        try:
            return service.accept(Offer("v1", {"fileName": "a.png"}, incoming, service.private_key, key=key))
        finally:
            incoming.discard()

    first = send("k")
    assert send("k") == first
    others = [send(None), send(None), send("l"), send("k", b"x")]
    assert len({file.file_path for file in (first, *others)}) == 5
    assert service.on_disk() == {"incoming": 0, "objects": 5, "index": 5}


def test_a_name_that_is_taken_in_the_last_moment_is_refused_and_spent(service: Service) -> None:
    class Taken:
        def find(self, *_: object) -> None:
            return None

        def keep(self, *_: object, **__: object) -> None:
            raise NameTaken

    files: Any = Taken()
    fields = form(service, useUniqueFileName="false", overwriteFile="false")
    late = replace(service.accept, files=files)
    refused(lambda: attempt(late, service, fields), Code.PARAMETER_INVALID)
    assert standing(service, fields) == SPENT
