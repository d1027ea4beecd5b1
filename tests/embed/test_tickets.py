"""What a web app signs: what may be in a ticket, and that it takes nothing else along."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from tokensvc.core.callers import MAX_SUBJECT_CHARACTERS
from tokensvc.embed import tickets
from tokensvc.embed.tickets import TicketSigner, ticket_serializer

KEY = "k" * 32


def members_of(**asked: Any) -> dict[str, Any]:
    members = ticket_serializer([KEY]).loads(TicketSigner(KEY).sign(**asked))
    assert isinstance(members, dict)
    return members


def test_a_ticket_holds_what_was_asked_for_and_a_name() -> None:
    members = members_of(subject="u1", profile="avatars", uses=1, claims={"team": "blue"})
    assert len(members.pop("name")) == 22
    assert members == {"subject": "u1", "profile": "avatars", "uses": 1, "claims": {"team": "blue"}}


def test_a_ticket_for_a_subject_alone_is_bound_to_nothing() -> None:
    members = members_of(subject="u1")
    del members["name"]
    assert members == {"subject": "u1", "profile": None, "uses": None, "claims": {}}


def test_two_tickets_have_two_names() -> None:
    assert len({members_of(subject="u1")["name"] for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "asked",
    [
        {"subject": "u" * 128},
        {"subject": "José 1"},
        {"subject": "u", "profile": "a" * 64},
        {"subject": "u", "profile": "0_-a"},
        {"subject": "u", "claims": {"a": ""}},
        {"subject": "u", "claims": {"_A9": "x" * 128}},
    ],
)
def test_what_may_be_in_a_ticket_is_signed(asked: dict[str, Any]) -> None:
    assert members_of(**asked).items() >= asked.items()


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"subject": ""}, "subject"),
        ({"subject": "u" * 129}, "subject"),
        ({"subject": " u"}, "subject"),
        ({"subject": "u\n"}, "subject"),
        ({"subject": "\ud800"}, "subject"),
        ({"subject": 7}, "subject"),
        ({"subject": None}, "subject"),
        ({"subject": "u", "profile": ""}, "profile"),
        ({"subject": "u", "profile": "A"}, "profile"),
        ({"subject": "u", "profile": "a/b"}, "profile"),
        ({"subject": "u", "profile": "a" * 65}, "profile"),
        ({"subject": "u", "profile": 1}, "profile"),
        ({"subject": "u", "uses": 0}, "uses"),
        ({"subject": "u", "uses": 2}, "uses"),
        ({"subject": "u", "uses": True}, "uses"),
        ({"subject": "u", "uses": 1.0}, "uses"),
        ({"subject": "u", "claims": {"a": 1}}, "claims"),
        ({"subject": "u", "claims": {"a.b": "x"}}, "claims"),
        ({"subject": "u", "claims": {"": "x"}}, "claims"),
        ({"subject": "u", "claims": {1: "x"}}, "claims"),
        ({"subject": "u", "claims": {"a": "x" * 129}}, "claims"),
        ({"subject": "u", "claims": {"a": "x\r"}}, "claims"),
    ],
)
def test_what_may_not_be_in_a_ticket_is_not_signed(asked: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=f"^{word} must be"):
        TicketSigner(KEY).sign(**asked)


def test_a_short_key_is_refused_without_being_shown() -> None:
    with pytest.raises(ValueError, match="at least 32 characters") as caught:
        TicketSigner("q" * 31)
    assert "q" * 31 not in str(caught.value)


def test_a_subject_is_as_long_here_as_there() -> None:
    assert tickets.MAX_TEXT_CHARACTERS == MAX_SUBJECT_CHARACTERS


def test_the_signer_brings_nothing_else_along() -> None:
    """An app that signs tickets loads no web framework, no client of a store, and no rule of ours."""
    program = (
        "import sys, tokensvc.embed.tickets as t; t.TicketSigner('k' * 32).sign(subject='u');"
        "print(*sorted({m for m in sys.modules if m.startswith('tokensvc')}));"
        "print(*[m for m in ('flask', 'werkzeug', 'redis', 'pydantic', 'gevent', 'jwt') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "tokensvc tokensvc.embed tokensvc.embed.tickets\n\n"
