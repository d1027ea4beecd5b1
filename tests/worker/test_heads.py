"""What the worker keeps of the heads that it has seen."""

from __future__ import annotations

import pytest

from tokensvc.worker.heads import Heads

ASKED = b"GET /forward-auth HTTP/1.1"


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "Cookie",
        "X-Upload-Token",
        "X-Upload-Signature",
        "Idempotency-Key",
        "X-Forwarded-User",
        "Referer",
        "X-Any",
    ],
)
def test_what_may_be_secret_is_passed_on_and_not_kept(name: str) -> None:
    heads = Heads(0, 0, 0, ())
    environ = heads.environ(b"\r\n".join([ASKED, b"Host: shop.example", f"{name}: tsk_CANARY".encode()]))
    assert environ[f"HTTP_{name.upper().replace('-', '_')}"] == "tsk_CANARY"
    assert list(heads._fields) == [b"Host: shop.example"]


def test_what_clients_say_again_and_again_is_kept_up_to_so_many_lines() -> None:
    heads = Heads(0, 0, 0, ())
    for number in range(513):
        heads.environ(b"\r\n".join([ASKED, f"Host: shop-{number}.example".encode()]))
        assert len(heads._fields) == (number + 1 if number < 512 else 1)


def test_what_is_asked_for_is_kept_without_a_query_only() -> None:
    heads = Heads(0, 0, 0, ())
    for asked in (b"GET /auth?token=tsk_CANARY HTTP/1.1", b"GET /auth? HTTP/1.1", b"GET /auth HTTP/1.1"):
        environ = [heads.environ(asked + b"\r\nHost: shop.example") for _ in range(2)]
        assert environ[0] == environ[1]
        assert environ[0]["RAW_URI"] == asked.split(b" ")[1].decode()
    assert list(heads._asked) == [b"GET /auth HTTP/1.1"]


def test_what_is_kept_of_it_is_not_what_is_handed_out() -> None:
    heads = Heads(0, 0, 0, ())
    heads.environ(b"GET /auth HTTP/1.1\r\nHost: shop.example")["PATH_INFO"] = "/other"
    assert heads.environ(b"GET /auth HTTP/1.1\r\nHost: shop.example")["PATH_INFO"] == "/auth"


def test_no_more_of_it_is_kept_than_so_many_lines() -> None:
    heads = Heads(0, 0, 0, ())
    for number in range(513):
        heads.environ(f"GET /{number} HTTP/1.1\r\nHost: shop.example".encode())
        assert len(heads._asked) == (number + 1 if number < 512 else 1)
