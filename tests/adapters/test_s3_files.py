"""What only a bucket can do to a file store: be away, refuse, lose an answer; and what a killed worker leaves there."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import obstore
import pytest
from obstore.store import S3Store

from tests.support.files import content_at, keep, received, record_of
from tests.support.object_store import BUCKET, ObjectStore, client_environment, names_in
from tests.support.topologies import free_ports
from tokensvc.adapters.s3_files import S3Files, s3_bucket
from tokensvc.core.errors import Outage
from tokensvc.core.upload import StoredFile
from tokensvc.ports import NameTaken

STEPS = ["get", "put", "head", "delete"]
"""The calls by which the store asks the bucket to keep a file."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


class KilledError(BaseException):
    """Ends what runs as a kill would: nothing handles it."""


@pytest.fixture
def bucket(object_store: ObjectStore) -> Iterator[S3Store]:
    with client_environment(object_store.environment):
        yield s3_bucket(BUCKET, f"tests/{secrets.token_hex(8)}", allow_http=True)


@pytest.fixture
def store(bucket: S3Store, tmp_path: Path) -> S3Files:
    return S3Files(bucket, tmp_path / "incoming")


def folders(bucket: S3Store) -> list[str]:
    return [name.partition("/")[0] for name in names_in(bucket)]


def much_later() -> int:
    return int(time.time()) + 100_000


class Faults:
    """Counts the calls of the bucket, and lets something happen before or after one of them."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, at: int, happen: Callable[[], None], *, after: bool = False
    ) -> None:
        self.steps: list[str] = []
        for name in STEPS:
            monkeypatch.setattr(obstore, name, self._wrapped(name, getattr(obstore, name), at, happen, after))

    def _wrapped(
        self, name: str, real: Callable[..., Any], at: int, happen: Callable[[], None], after: bool
    ) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            self.steps.append(name)
            is_it = len(self.steps) == at
            if is_it and not after:
                happen()
            try:
                return real(*args, **kwargs)
            finally:
                if is_it and after:
                    happen()

        return step


def test_one_file_is_one_object_and_one_document(store: S3Files, bucket: S3Store, tmp_path: Path) -> None:
    keep(store, b"content")
    assert folders(bucket) == ["index", "objects"]
    assert list((tmp_path / "incoming").iterdir()) == []


def test_no_text_of_a_client_names_anything_in_the_bucket(store: S3Files, bucket: S3Store) -> None:
    for path in ("/../../CLIENT", "/CLIENT\0", "/CLIENT" * 500, "/%2e%2e/CLIENT"):
        keep(store, b"content", path)
        assert content_at(store, path) == b"content"
    assert not any("CLIENT" in name for name in names_in(bucket))
    with pytest.raises(ValueError, match="version id"):
        keep(store, b"content", "/other", version_id="../x")


def test_an_object_is_nothing_that_a_browser_would_show(store: S3Files, bucket: S3Store) -> None:
    keep(store, b"<script>")
    (name,) = (name for name in names_in(bucket) if name.startswith("objects/"))
    assert obstore.get(bucket, name).attributes["Content-Type"] == "application/octet-stream"


def test_a_file_of_several_parts_is_whole(store: S3Files) -> None:
    content = secrets.token_bytes(1 << 20) * 17 + b"."
    keep(store, content)
    assert content_at(store) == content


def test_what_is_refused_is_not_sent(store: S3Files, bucket: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(store, b"first")
    before, incoming = names_in(bucket), received(store, b"second")
    with monkeypatch.context() as patch:
        faults = Faults(patch, 0, lambda: None)
        with pytest.raises(NameTaken):
            store.keep(incoming, record_of(b"second"), replace=False)
    assert faults.steps == ["get"]
    assert names_in(bucket) == before
    incoming.discard()


def test_a_name_that_is_taken_while_the_bytes_are_sent_leaves_nothing(
    store: S3Files, bucket: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    incoming = received(store, b"second")
    with monkeypatch.context() as patch:
        Faults(patch, 3, lambda: keep_meanwhile(patch, store))
        with pytest.raises(NameTaken):
            store.keep(incoming, record_of(b"second"), replace=False)
    incoming.discard()
    assert content_at(store) == b"first"
    assert folders(bucket) == ["index", "objects"]


def keep_meanwhile(patch: pytest.MonkeyPatch, store: S3Files) -> None:
    patch.undo()
    keep(store, b"first")


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("after", [False, True])
def test_a_worker_killed_at_any_step_leaves_the_old_file_or_the_new_and_sweep_the_rest(
    bucket: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replace: bool, after: bool
) -> None:
    """Before a call of the bucket, and after it but before its answer is looked at."""
    old = b"old" if replace else None
    store = S3Files(bucket, tmp_path / "incoming")
    seen = []
    for at in range(1, 100):
        path = f"/a/{at}.png"
        if old is not None:
            keep(store, old, path)
        incoming = received(store, b"new content")
        with monkeypatch.context() as patch:
            faults = Faults(patch, at, _kill, after=after)
            try:
                store.keep(incoming, record_of(b"new content", path), replace=replace)
            except KilledError:
                assert len(faults.steps) == at
            else:
                break
        seen.append(content_at(store, path))
        store.sweep(much_later(), 3600)
        assert content_at(store, path) == seen[-1]
        assert folders(bucket).count("claims") == 0
        kept = {None: 0, b"old": 1, b"new content": 1 + replace}
        assert folders(bucket).count("objects") == sum(kept[content] for content in seen)
        assert list((tmp_path / "incoming").iterdir()) == []
    published = seen.index(b"new content")
    assert seen == [old] * published + [b"new content"] * (len(seen) - published)
    assert len(seen) == 6  # look, claim, send, look again, write, drop the claim
    assert published >= 4


def _kill() -> None:
    raise KilledError


def test_an_answer_that_was_lost_is_asked_for_again(store: S3Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """As obstore does by itself: the second time, the document is there already."""
    keep(store, b"first")
    with monkeypatch.context() as patch:
        Faults(patch, 5, _tell_of_another, after=True)
        kept = keep(store, b"second", replace=True)
    assert kept.version_name == "Version 2"
    found = store.find("default", "/a/x.png")
    assert found is not None
    found[1].close()
    assert found[0] == kept


def _tell_of_another() -> None:
    raise obstore.exceptions.PreconditionError


def test_what_takes_too_long_is_not_made_visible(store: S3Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep may have taken its bytes by then."""
    begun = time.monotonic()
    with monkeypatch.context() as patch:
        Faults(patch, 4, lambda: patch.setattr(time, "monotonic", lambda: begun + 3000))
        with pytest.raises(Outage, match="too slow"):
            keep(store, b"content")
    assert content_at(store) is None


def test_a_sweep_leaves_what_is_claimed_and_may_still_come(
    store: S3Files, bucket: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever age it is told: from a claim to the document may pass longer."""
    with monkeypatch.context() as patch:
        Faults(patch, 4, lambda: _sweep_meanwhile(patch, store))
        keep(store, b"content")
    assert content_at(store) == b"content"
    assert folders(bucket) == ["index", "objects"]


def _sweep_meanwhile(patch: pytest.MonkeyPatch, store: S3Files) -> None:
    patch.undo()
    assert store.sweep(int(time.time()) + 1600, 1) == 1  # the received file alone


def test_a_bucket_that_is_away_is_an_outage(object_store: ObjectStore, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with client_environment(object_store.environment_at(port)):
        store = S3Files(s3_bucket(BUCKET, "", allow_http=True), tmp_path)
    incoming = received(store, b"content")
    asks: list[Callable[[], object]] = [
        lambda: store.keep(incoming, record_of(b"content"), replace=True),
        lambda: store.find("default", "/a/x.png"),
        lambda: store.sweep(0, 0),
    ]
    for ask in asks:
        with pytest.raises(Outage, match="The file store does not answer as it should") as caught:
            ask()
        assert str(port) not in str(caught.value)
        assert caught.value.__cause__ is None
    incoming.discard()


def test_keys_that_are_not_good_are_an_outage_that_does_not_tell_them(
    object_store: ObjectStore, tmp_path: Path
) -> None:
    wrong = object_store.environment | {"AWS_SECRET_ACCESS_KEY": "CANARY" * 6}
    with client_environment(wrong):
        store = S3Files(s3_bucket(BUCKET, "", allow_http=True), tmp_path)
        with pytest.raises(Outage, match=r"The file store refuses us\.") as caught:
            store.find("default", "/a/x.png")
    assert "CANARY" not in repr(caught.value) + repr(store.__dict__)


def test_plain_http_is_only_for_who_allows_it(object_store: ObjectStore, tmp_path: Path) -> None:
    with client_environment(object_store.environment):
        store = S3Files(s3_bucket(BUCKET, ""), tmp_path)
        with pytest.raises(Outage):
            store.find("default", "/a/x.png")


def test_settings_of_s3_that_cannot_be_understood_are_told() -> None:
    with client_environment({"AWS_CONDITIONAL_PUT": "CANARY"}), pytest.raises(ValueError, match="do not fit") as caught:
        s3_bucket(BUCKET, "")
    assert "CANARY" not in str(caught.value)


def test_a_document_without_its_bytes_is_as_good_as_none(store: S3Files, bucket: S3Store) -> None:
    keep(store, b"content")
    obstore.delete(bucket, next(name for name in names_in(bucket) if name.startswith("objects/")))
    assert content_at(store) is None


def test_a_document_that_cannot_be_read_is_an_outage_and_nothing_is_swept(store: S3Files, bucket: S3Store) -> None:
    file = keep(store, b"content")
    (document,) = (name for name in names_in(bucket) if name.startswith("index/"))
    obstore.put(bucket, f"claims/{document.removeprefix('index/').removesuffix('.json')}.{file.version_id}", b"")
    obstore.put(bucket, document, b"{")
    with pytest.raises(Outage, match="index cannot be read"):
        store.find("default", "/a/x.png")
    with pytest.raises(Outage, match="index cannot be read"):
        store.sweep(much_later(), 3600)
    assert folders(bucket) == ["claims", "index", "objects"]


def test_the_bucket_is_asked_in_another_thread_alone(
    bucket: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gevent worker has one thread for all its requests."""

    def aside(function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        answers: list[_T] = []
        thread = threading.Thread(target=lambda: answers.append(function(*args, **kwargs)))
        thread.start()
        thread.join()
        return answers[0]

    here, used = threading.get_ident(), set()

    def watched(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            used.add(threading.get_ident())
            return real(*args, **kwargs)

        return call

    for name in [*STEPS, "get_range"]:
        monkeypatch.setattr(obstore, name, watched(getattr(obstore, name)))
    store = S3Files(bucket, tmp_path, aside)
    keep(store, b"content")
    assert content_at(store) == b"content"
    assert len(used) > 0
    assert here not in used


def test_workers_on_two_machines_share_a_bucket(bucket: S3Store, tmp_path: Path) -> None:
    one, other = S3Files(bucket, tmp_path / "1"), S3Files(bucket, tmp_path / "2")
    first: StoredFile = keep(one, b"first", replace=True)
    second = keep(other, b"second", replace=True)
    assert (second.file_id, second.version_name) == (first.file_id, "Version 2")
    assert content_at(one) == b"second"
