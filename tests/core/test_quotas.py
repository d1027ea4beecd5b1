"""Which subject is counted, what may be counted, and the words of a refusal."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tokensvc.core.errors import Allowance, Code
from tokensvc.core.profiles import Limits, Rate
from tokensvc.core.quotas import (
    LONGEST_WINDOW_SECONDS,
    MOST_COUNTED,
    MOST_PER_DAY,
    Left,
    LimitName,
    Quota,
    Remaining,
    left_of,
    quota_of,
    refusal_of,
    subject_id,
)

SUBJECT = "s" * 22
WHO = {"account": "a", "profile": "p", "source": "c", "subject": "s"}


def test_a_profile_counts_nothing_unless_it_says_so() -> None:
    assert quota_of(Limits(), **WHO) is None
    assert quota_of(Limits(max_bytes=5, types=("image/png",)), **WHO) is None


@pytest.mark.parametrize("limits", [{"rate": Rate(60, 60)}, {"per_day": 5}, {"outstanding": 5}])
def test_each_limit_is_counted(limits: dict[str, Any]) -> None:
    assert quota_of(Limits(**limits), **WHO) == Quota(subject_id(**WHO), **limits)


def test_a_subject_is_counted_by_itself_in_each_profile_of_each_account_and_source() -> None:
    names = {subject_id(**{**WHO, part: text}) for part in WHO for text in ("x", "y", "a:b", "é", "")}
    assert len(names | {subject_id(**WHO)}) == 4 * 5 + 1
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{22}", name) for name in names)
    assert subject_id("a", "p", "c", "s") == subject_id(**WHO)


@pytest.mark.parametrize(
    "limits",
    [
        {"rate": Rate(MOST_COUNTED, LONGEST_WINDOW_SECONDS)},
        {"rate": Rate(1, 1)},
        {"per_day": 1},
        {"per_day": MOST_PER_DAY},
        {"outstanding": 1},
        {"outstanding": MOST_COUNTED},
    ],
)
def test_what_can_be_counted(limits: dict[str, Any]) -> None:
    Quota(SUBJECT, **limits)


@pytest.mark.parametrize(
    "limits",
    [
        {"rate": Rate(MOST_COUNTED + 1, 60)},
        {"rate": Rate(60, LONGEST_WINDOW_SECONDS + 1)},
        {"per_day": 0},
        {"per_day": MOST_PER_DAY + 1},
        {"outstanding": 0},
        {"outstanding": -1},
        {"outstanding": MOST_COUNTED + 1},
    ],
)
def test_what_cannot_be_counted(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is from 1 to"):
        Quota(SUBJECT, **limits)


@pytest.mark.parametrize("text", ["", "s" * 21, "s" * 23, "s" * 21 + ":", "s" * 22 + "\n"])
def test_nothing_but_an_id_becomes_a_key(text: str) -> None:
    with pytest.raises(ValueError, match="22 URL-safe"):
        Quota(text)


@pytest.mark.parametrize(
    ("limit", "code", "words", "allowance"),
    [
        ("rate", Code.RATE_LIMITED, "60 per minute .* Try again in 7 s", Allowance("rate", 60, 60)),
        ("per_day", Code.QUOTA_EXCEEDED, "1000 a day .* Try again in 7 s", Allowance("per_day", 1000, 86_400)),
        ("outstanding", Code.QUOTA_EXCEEDED, "50 credentials .* ends in 7 s", Allowance("outstanding", 50, None)),
    ],
)
def test_a_refusal_says_the_limit_and_when_it_passes(
    limit: LimitName, code: Code, words: str, allowance: Allowance
) -> None:
    refusal = refusal_of(Quota(SUBJECT, Rate(60, 60), 1000, 50), limit, 7)
    assert (refusal.code, refusal.retry_after, refusal.allowance) == (code, 7, allowance)
    assert re.search(words, f"{refusal.detail} {refusal.remedy}")


@pytest.mark.parametrize(
    ("remaining", "left"),
    [
        (Remaining(), None),
        (Remaining(3, 4, 5), Left(Allowance("rate", 60, 60), 3)),
        (Remaining(4, 3, 5), Left(Allowance("per_day", 1000, 86_400), 3)),
        (Remaining(5, 4, 0), Left(Allowance("outstanding", 50, None), 0)),
        (Remaining(3, 3, 3), Left(Allowance("per_day", 1000, 86_400), 3)),
        (Remaining(3, None, 3), Left(Allowance("outstanding", 50, None), 3)),
    ],
)
def test_what_is_left_is_what_the_limit_with_the_fewest_says(remaining: Remaining, left: Left | None) -> None:
    """Of equals it is the one that refuses longest."""
    assert left_of(Quota(SUBJECT, Rate(60, 60), 1000, 50), remaining) == left


@pytest.mark.parametrize(
    ("rate", "words"), [(Rate(1, 1), "1 per second"), (Rate(9, 3600), "9 per hour"), (Rate(5, 10), "5 in 10 s")]
)
def test_a_rate_in_words(rate: Rate, words: str) -> None:
    assert words in refusal_of(Quota(SUBJECT, rate), "rate", 1).detail


@pytest.mark.parametrize("limit", ["rate", "per_day", "outstanding"])
def test_a_limit_that_is_none_refuses_nothing(limit: LimitName) -> None:
    with pytest.raises(ValueError, match=f"no limit {limit}"):
        refusal_of(Quota(SUBJECT), limit, 1)
