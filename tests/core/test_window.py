from __future__ import annotations

import pytest

from tokensvc.core.errors import Code, Refusal
from tokensvc.core.window import LEEWAY_SECONDS, Window, choose_window, parse_expire, parse_lifetime

from .conftest import NOW


def test_a_record_outlives_the_last_second_in_which_its_credential_is_accepted() -> None:
    """PyPI's incident: a record that died at exp + 5 s under a leeway of 30 s left a replay window of 25 s."""
    window = Window(NOW, NOW + 60)
    assert window.record_until >= window.expires_at + LEEWAY_SECONDS + 5


def test_the_server_chooses_the_window() -> None:
    assert choose_window(NOW, lifetime=1800) == Window(NOW, NOW + 1800)


@pytest.mark.parametrize("ahead", [1, 1800])
def test_a_clients_own_expire_is_honoured_exactly(ahead: int) -> None:
    assert choose_window(NOW, lifetime=1800, asked_expires_at=NOW + ahead) == Window(NOW, NOW + ahead)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1800", "duration"),
        ("0", "duration"),
        (str(NOW * 1000), "milliseconds"),
        (str(NOW + 1801), "1801 s ahead"),
        (str(NOW), "0 s in the past"),
        (str(NOW - 60), "60 s in the past"),
        ("9" * 40, "too large"),
        ("0" + str(NOW), "starts with a zero"),
        ("-5", "whole number"),
        ("soon", "whole number"),
        (str(NOW + 60) + ".5", "whole number"),
        ("999999999", "in the past"),
        ("99999999999", "too far ahead"),
        ("１７０００００060", "whole number"),
    ],
)
def test_an_expire_that_cannot_be_honoured_is_refused_with_the_reason(text: str, words: str) -> None:
    with pytest.raises(Refusal, match=words) as refused:
        choose_window(NOW, lifetime=1800, asked_expires_at=parse_expire(text, NOW))
    assert (refused.value.code, refused.value.field) == (Code.EXPIRE_INVALID, "expire")


@pytest.mark.parametrize("seconds", [1, 1800])
def test_a_v2_duration_is_honoured_exactly(seconds: int) -> None:
    assert parse_lifetime(seconds, at_most=1800) == seconds


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (-1, "-1 s"), (1801, "1801 s"), (NOW + 60, "point in time")]
)
def test_a_v2_duration_that_cannot_be_honoured_is_refused(seconds: int, words: str) -> None:
    with pytest.raises(Refusal, match=words):
        parse_lifetime(seconds, at_most=1800)
