"""What one caller may have, asked of several workers at once: their counts are one."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.service import Answer, Client, Deployment, Running, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import redis

    from tests.support.valkey import Valkey

pytestmark = pytest.mark.alone
REQUESTS, WORKERS = 100, 3
MINUTE = 60


@contextlib.contextmanager
def limited(folder: Path, valkey: Valkey, limits: str) -> Iterator[tuple[Running, Client]]:
    """The service with three workers, one store, and these limits."""
    deployment = Deployment(folder)
    deployment.write(f"[profiles.default.limits]\n{limits}\n")
    with serving(deployment, "--workers", str(WORKERS), REDIS_URL=valkey.url) as (service, client):
        assert len(service.workers) == WORKERS
        yield service, client


def at_once(client: Client) -> list[Answer]:
    start = threading.Barrier(REQUESTS)

    def ask(_: int) -> Answer:
        start.wait()
        return client.issue()

    with ThreadPoolExecutor(REQUESTS) as threads:
        return list(threads.map(ask, range(REQUESTS)))


def test_of_a_hundred_requests_at_once_exactly_ten_are_issued_where_ten_may_be_outstanding(
    tmp_path: Path, valkey: Valkey
) -> None:
    """And what is spent makes room for as many again."""
    with limited(tmp_path, valkey, "outstanding = 10") as (_, client):
        for _ in range(2):
            answers = at_once(client)
            issued = [answer for answer in answers if answer.status == 200]
            assert len(issued) == 10
            assert [answer.json["code"] for answer in answers if answer.status != 200] == ["quota.exceeded"] * 90
            assert sorted(answer.headers["ratelimit"] for answer in issued) == [
                f'"outstanding";r={left}' for left in range(10)
            ]
            for answer in issued:
                fields = {name: str(value) for name, value in answer.json.items()}
                assert client.upload(fields).status == 200


def counts(store: redis.Redis) -> set[bytes]:
    """The keys under which each subject's requests within a window are counted."""
    return set(store.scan_iter("ik*:q:*:c"))


def test_the_sixty_first_in_the_minute_is_refused_and_the_window_slides(tmp_path: Path, valkey: Valkey) -> None:
    """Time passes here by moving what is counted back in it: the store's clock cannot be set."""

    with contextlib.closing(valkey.client()) as store:
        of_others = counts(store)

        def pass_by(seconds: int) -> None:
            for key in counts(store) - of_others:
                entries: Any = store.zrange(key, 0, -1, withscores=True)
                store.zadd(key, {entry: score - seconds * 1_000_000 for entry, score in entries})

        with limited(tmp_path, valkey, f'rate = "60/{MINUTE}s"') as (_, client):
            answers = at_once(client)
            assert sorted(answer.status for answer in answers) == [200] * 60 + [429] * 40
            for answer in answers:
                if answer.status != 200:
                    assert answer.json["code"] == "rate.limited"
                    assert 1 <= int(answer.headers["retry-after"]) <= MINUTE
            pass_by(30)
            assert [client.issue().status for _ in range(2)] == [429, 429]
            assert int(client.issue().headers["retry-after"]) <= MINUTE - 30
            pass_by(30)
            assert sorted(answer.status for answer in at_once(client)) == [200] * 60 + [429] * 40
