"""Whatever secret comes to the log does not leave it: by name, by shape, by value."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tokensvc.adapters.logs.redaction import MOST_LETTERS, REDACTED, Redaction

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJDQU5BUlkiOjF9.c2lnbmF0dXJl"


def shown(**facts: Any) -> dict[str, Any]:
    return dict(Redaction()(facts))


@pytest.mark.parametrize(
    "name", ["authorization", "Authorization", "Set-Cookie", "cookie", "signature", "token", "private_key", "api-key"]
)
def test_a_fact_with_the_name_of_a_secret_is_not_shown(name: str) -> None:
    assert shown(**{name: "CANARY"}) == {name: REDACTED}


@pytest.mark.parametrize(
    "secret",
    [
        JWT,
        JWT.rpartition(".")[0],
        JWT.partition(".")[0],
        ".eJyrVkrOSVSyUirNU9JRKi1OLVKyqgYA",
        "private_CANARY0123456789=",
        "tsk_CANARY0123",
        "Basic cHJpdmF0ZV9DQU5BUlk6",
        "Bearer CANARY0123",
        "token=CANARY",
        "signature=CANARY",
        "4f1c3a" * 6 + "beef",
        "-----BEGIN EC PRIVATE KEY-----\nCANARY\nCANARY\n-----END EC PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nCANARY",
    ],
)
@pytest.mark.parametrize("around", ["{}", "before {} after", "('{}',)", "a\n{}\nb"])
def test_what_looks_like_a_secret_is_taken_out_of_a_text(secret: str, around: str) -> None:
    facts = shown(message=around.format(secret), subject=[{"deep": around.format(secret)}])
    assert secret not in json.dumps(facts)
    assert "CANARY" not in json.dumps(facts)
    if not secret.endswith("KEY-----\nCANARY"):  # what has no end is taken out to the end
        assert facts["message"] == around.format(REDACTED)


def test_a_password_in_an_address_is_taken_out() -> None:
    assert shown(reason="redis://user:CANARY@10.0.0.1:6379 is down")["reason"] == (
        f"redis://{REDACTED}@10.0.0.1:6379 is down"
    )


def test_a_known_secret_is_taken_out_whatever_it_looks_like() -> None:
    redaction = Redaction()
    redaction.learn(["correct horse", "short"])
    facts = redaction({"detail": "said correct horse, and short", "n": ("correct horse!",)})
    assert facts == {"detail": f"said {REDACTED}, and short", "n": [f"{REDACTED}!"]}


def test_what_is_no_secret_is_left_alone() -> None:
    facts = {
        "event": "refused",
        "code": "caller.missing",
        "subject": "user@example.com",
        "nonce": "A" * 22,
        "field": "private_key",
        "detail": "private_key_file is missing; send a ticket, or Basic authentication.",
        "sha256": "ab" * 32,
        "ms": 1.5,
        "size": 7,
        "reason": None,
        "yes": True,
    }
    assert shown(**facts) == facts


def test_what_can_only_be_printed_is_redacted_as_printed() -> None:
    assert shown(thing=ValueError(JWT))["thing"] == f"ValueError('{REDACTED}')"


@pytest.mark.parametrize(("length", "kept"), [(MOST_LETTERS, True), (MOST_LETTERS + 1, False)])
def test_a_long_text_is_cut_unless_it_is_a_traceback(length: int, kept: bool) -> None:
    text = "x" * length
    assert (shown(detail=text)["detail"] == text) is kept
    assert shown(exception=text)["exception"] == text
