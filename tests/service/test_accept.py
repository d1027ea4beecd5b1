"""Accept: verified before redeemed, redeemed before visible; an outage is never a yes."""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

import pytest

from tests.support.app import KEPT_NONE, KEPT_ONE, Service, png
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.valkey import Valkey
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.adapters.redis_client import connect
from tokensvc.core.errors import Code, Outage, Refusal
from tokensvc.core.keys import AcceptedKeys, KeyPair, Secret
from tokensvc.core.nonces import NonceId, nonce_id
from tokensvc.core.policy import AskV1
from tokensvc.ports import Audit, Incoming, NameTaken, Outcome, Redemption
from tokensvc.service.accept import Accept, Offer

from .conftest import Notes, bearer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tokensvc.core.upload import Kind, StoredFile


def received(service: Service, content: bytes = b"") -> Incoming:
    incoming = service.files.receive()
    incoming.write(content or png())
    return incoming


def form_v1(service: Service) -> dict[str, str]:
    credential = service.issue.v1("default", bearer(service.api_key), AskV1()).credential
    return {
        "fileName": "a.png",
        "token": credential.token,
        "expire": str(credential.expire),
        "signature": credential.signature,
        "publicKey": credential.public_key,
    }


def offer(service: Service, fields: Mapping[str, str], content: bytes = b"", key: str | None = None) -> Offer:
    return Offer("v1", fields, received(service, content), key=key)


def nonce_of(fields: Mapping[str, str]) -> NonceId:
    return nonce_id("default", "v1", fields["token"].encode())


def state_of(service: Service, fields: Mapping[str, str]) -> str:
    """I, C or D: issued, spent, finished."""
    (key,) = [key for key in service.on_record() if nonce_of(fields).encode() in key]
    value = service.redis.get(key.decode())
    assert isinstance(value, bytes)
    return value.decode()[0]


def refused(call: Callable[[], object], code: Code) -> Refusal:
    with pytest.raises(Refusal) as caught:
        call()
    assert caught.value.code is code
    return caught.value


class Steps(Audit):
    """The stores, the inspector and the audit, all real, with the order in which they are used."""

    def __init__(self, service: Service) -> None:
        self.taken: list[str] = []
        self._service = service

    def accept(self, **changed: Any) -> Accept:
        mine: Any = self
        return replace(
            self._service.accept, **{"nonces": mine, "files": mine, "inspect": self.inspect, "audit": mine, **changed}
        )

    def redeem(self, nonce: NonceId, **asked: Any) -> Redemption:
        self.taken.append(f"redeem with {sum(self._service.on_disk().values())} file on disk")
        return self._service.nonces.redeem(nonce, **asked)

    def commit(self, nonce: NonceId, *, request: str) -> Outcome:
        self.taken.append("commit")
        return self._service.nonces.commit(nonce, request=request)

    def release(self, nonce: NonceId, *, request: str) -> None:
        self.taken.append("release")
        self._service.nonces.release(nonce, request=request)

    def finish(self, nonce: NonceId, *, request: str, result: str) -> None:
        self.taken.append("finish")
        self._service.nonces.finish(nonce, request=request, result=result)

    def keep(self, incoming: Incoming, file: StoredFile, *, replace: bool) -> StoredFile:
        self.taken.append("keep")
        return self._service.files.keep(incoming, file, replace=replace)

    def inspect(self, content: BinaryIO, name: str) -> Kind:
        self.taken.append("inspect")
        return self._service.accept.inspect(content, name)

    def note(self, event: str, _facts: object) -> None:
        self.taken.append(event)


def test_the_order_of_the_steps(service: Service) -> None:
    """The file is whole on disk before the nonce is spent, and visible only after."""
    steps = Steps(service)
    steps.accept()(offer(service, form_v1(service)))
    assert steps.taken == ["redeem with 1 file on disk", "redeemed", "inspect", "keep", "stored"]


def test_what_does_not_verify_reaches_neither_store(service: Service) -> None:
    steps = Steps(service)
    fields = {**form_v1(service), "signature": "0" * 40}
    refused(lambda: steps.accept()(offer(service, fields)), Code.CREDENTIAL_INVALID)
    assert steps.taken == []
    assert state_of(service, fields) == "I"


def test_what_is_not_redeemed_is_not_even_looked_into(service: Service) -> None:
    steps, fields = Steps(service), form_v1(service)
    service.accept(offer(service, fields))
    refused(lambda: steps.accept()(offer(service, fields)), Code.CREDENTIAL_REPLAYED)
    assert steps.taken == ["redeem with 3 file on disk", "replayed"]


def test_the_private_key_itself_needs_no_nonce(service: Service) -> None:
    steps = Steps(service)
    steps.accept()(Offer("v1", {"fileName": "a.png"}, received(service), service.private_key))
    assert steps.taken == ["inspect", "keep", "stored"]


def test_an_upload_is_noted_whole_and_without_its_token(service: Service) -> None:
    notes, fields = Notes(), form_v1(service)
    stored = replace(service.accept, audit=notes)(offer(service, fields))
    nonce = nonce_of(fields)
    assert notes.notes == [
        (
            "redeemed",
            {
                "version": "v1",
                "account": "default",
                "profile": "default",
                "source": "backend",
                "subject": "ci",
                "age": 0,
                "nonce": nonce,
            },
        ),
        ("stored", {"account": "default", "file": stored.file_id, "size": len(png()), "version": "v1", "nonce": nonce}),
    ]


def test_the_file_is_as_it_was_received(service: Service) -> None:
    fields = {**form_v1(service), "folder": "x", "useUniqueFileName": "false", "tags": "a", "unknown": "x"}
    stored = service.accept(offer(service, fields))
    found = service.files.find("default", "/x/a.png")
    assert found is not None
    file, content = found
    with content:
        assert content.read() == png()
    assert file == stored
    assert (stored.size, stored.uploaded_at, stored.account) == (len(png()), service.clock.now, "default")
    assert stored.fields == {"fileName": "a.png", "folder": "x", "useUniqueFileName": "false", "tags": "a"}


def test_the_result_is_noted_with_the_nonce_for_whoever_can_send_the_same_request_again(service: Service) -> None:
    """Without an Idempotency-Key that is nobody, and the store is not asked a second time."""
    steps, fields = Steps(service), form_v1(service)
    stored = steps.accept()(offer(service, fields, key="k"))
    assert steps.taken[-2:] == ["finish", "stored"]
    (key,) = [key for key in service.on_record() if nonce_of(fields).encode() in key]
    value = service.redis.get(key.decode())
    assert isinstance(value, bytes)
    noted = f"{stored.version_id} {stored.file_path}"
    assert value.startswith(b"D:")
    assert f":{len(noted)}:{noted}{{".encode() in value, "and the grant after it"


# Outages


def test_an_outage_of_the_store_keeps_nothing(tmp_path: Path) -> None:
    with Valkey() as own:
        service = Service(own.url, tmp_path)
        fields = form_v1(service)
        own.kill()
        incoming = received(service)
        with pytest.raises(Outage):
            service.accept(Offer("v1", fields, incoming))
        incoming.discard()
        assert service.on_disk() == KEPT_NONE
        service.close()


@pytest.mark.parametrize("kept", [True, False])
def test_a_lost_reply_is_asked_for_again_and_spends_once(service: Service, valkey: Valkey, *, kept: bool) -> None:
    """Whether or not the lost redeem was executed, the upload is accepted, and no other is."""
    fields = form_v1(service)
    with FaultProxy(valkey.socket) as proxy:
        proxy.inject(Fault.DROP_REPLY if kept else Fault.RESET, matching=b"EVALSHA", when=lambda k: k == 1)
        with contextlib.closing(connect(proxy.url, connections=2)) as client:
            nonces = RedisNonces(client, chance=os.urandom)
            replace(service.accept, nonces=nonces)(offer(service, fields))
        assert proxy.injected == 1
    assert service.on_disk() == KEPT_ONE
    refused(lambda: service.accept(offer(service, fields)), Code.CREDENTIAL_REPLAYED)


def test_an_outage_after_the_file_is_kept_is_no_failure(service: Service, valkey: Valkey) -> None:
    """The file is there and the nonce spent: an error would make the client upload it again."""
    notes, fields = Notes(), form_v1(service)
    with FaultProxy(valkey.socket) as proxy:
        proxy.inject(Fault.RESET, matching=b"EVALSHA", when=lambda k: k > 1)
        with contextlib.closing(connect(proxy.url, connections=2)) as client:
            nonces = RedisNonces(client, chance=os.urandom)
            stored = replace(service.accept, nonces=nonces, audit=notes)(offer(service, fields, key="k"))
        assert proxy.injected > 0
    assert stored.name.startswith("a_")
    assert notes.events == ["redeemed", "unfinished", "stored"]
    assert service.on_disk() == KEPT_ONE
    assert state_of(service, fields) == "C"
    refused(lambda: service.accept(offer(service, fields)), Code.CREDENTIAL_REPLAYED)


class FullDisk:
    """A file store without room left."""

    def keep(self, _incoming: Incoming, _file: StoredFile, *, replace: bool) -> None:
        raise Outage(f"There is no room left for files, to replace or not: {replace}.")


def test_a_full_disk_is_an_outage_and_the_credential_is_spent(service: Service) -> None:
    fields, full = form_v1(service), FullDisk()
    files: Any = full
    incoming = received(service)
    with pytest.raises(Outage):
        replace(service.accept, files=files)(Offer("v1", fields, incoming))
    incoming.discard()
    assert service.on_disk() == KEPT_NONE
    assert state_of(service, fields) == "C"


def test_an_inspector_that_fails_leaves_nothing_visible(service: Service) -> None:
    def fail(_content: BinaryIO, _name: str) -> Kind:
        raise ValueError("a file of somebody who wants that")

    fields, incoming = form_v1(service), received(service)
    with pytest.raises(ValueError, match="somebody"):
        replace(service.accept, inspect=fail)(Offer("v1", fields, incoming))
    incoming.discard()
    assert service.on_disk() == KEPT_NONE


# Names


class Taken:
    """A file store in which the first so many names are taken."""

    def __init__(self, service: Service, count: int) -> None:
        self.asked: list[str] = []
        self._files, self._left = service.files, count

    def keep(self, incoming: Incoming, file: StoredFile, *, replace: bool) -> StoredFile:
        assert not replace
        self.asked.append(file.name)
        self._left -= 1
        if self._left >= 0:
            raise NameTaken
        return self._files.keep(incoming, file, replace=replace)


@pytest.mark.parametrize(("taken", "tries"), [(0, 1), (7, 8)])
def test_a_unique_name_that_is_taken_is_replaced_by_another(service: Service, taken: int, tries: int) -> None:
    store = Taken(service, taken)
    files: Any = store
    stored = replace(service.accept, files=files)(offer(service, form_v1(service)))
    assert len(set(store.asked)) == tries
    assert stored.name == store.asked[-1]


def test_eight_names_that_are_taken_are_given_up(service: Service) -> None:
    files: Any = Taken(service, 8)
    incoming = received(service)
    taken_names = replace(service.accept, files=files)
    refused(lambda: taken_names(Offer("v1", form_v1(service), incoming)), Code.PARAMETER_INVALID)
    incoming.discard()
    assert service.on_disk() == KEPT_NONE


# Keys


def test_a_retired_key_is_accepted_until_its_time(service: Service) -> None:
    fields = [form_v1(service) for _ in range(2)]
    (pair,) = service.accept.keys.pairs
    retiring = replace(pair, accept_until=service.clock.now + 10)
    other = KeyPair("default", "public_other", Secret("private_other_0123456789"))
    accept = replace(service.accept, keys=AcceptedKeys((other, retiring)))
    service.clock.now += 9
    accept(offer(service, fields[0]))
    accept(Offer("v1", {"fileName": "a.png"}, received(service), service.private_key))
    service.clock.now += 1
    refused(lambda: accept(offer(service, fields[1])), Code.CREDENTIAL_INVALID)
    basic = Offer("v1", {"fileName": "a.png"}, received(service), service.private_key)
    refused(lambda: accept(basic), Code.CALLER_INVALID)
    assert state_of(service, fields[1]) == "I"


# Many at once


@pytest.mark.alone
def test_of_many_uploads_at_once_with_one_credential_one_is_kept(service: Service) -> None:
    """Each has another content; the one that is kept is whole, and one's own."""
    fields = {**form_v1(service), "useUniqueFileName": "false"}
    outcomes: list[bytes | Code] = []
    start = threading.Barrier(16)

    def upload(content: bytes) -> None:
        incoming = received(service, content)
        start.wait()
        try:
            service.accept(Offer("v1", fields, incoming))
            outcomes.append(content)
        except Refusal as refusal:
            outcomes.append(refusal.code)
        finally:
            incoming.discard()

    threads = [threading.Thread(target=upload, args=(bytes([number]) * 1000,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count(Code.CREDENTIAL_REPLAYED) == 15
    (winner,) = [outcome for outcome in outcomes if isinstance(outcome, bytes)]
    found = service.files.find("default", "/a.png")
    assert found is not None
    with found[1] as content:
        assert content.read() == winner
    assert service.on_disk() == KEPT_ONE


def test_a_revocation_stands_between_issue_and_upload(service: Service) -> None:
    fields = form_v1(service)
    assert service.nonces.revoke(nonce_of(fields), actor="test") is Outcome.REVOKED
    refused(lambda: service.accept(offer(service, fields)), Code.CREDENTIAL_REVOKED)
