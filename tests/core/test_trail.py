"""By which names a request is found again: the examples and the "must"s of W3C Trace Context, section 3.2."""

from __future__ import annotations

import pytest

from tokensvc.core.trail import Trail, trail_of

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
FRESH = Trail("ab" * 12, "ab" * 16)


def named(traceparent: str) -> Trail:
    return trail_of(traceparent, lambda count: b"\xab" * count)


def test_without_a_trace_one_begins_here() -> None:
    assert named("") == FRESH


@pytest.mark.parametrize(("flags", "sampled"), [("01", True), ("00", False), ("03", True), ("02", False)])
def test_a_trace_is_continued_and_the_request_has_a_name_of_its_own(flags: str, sampled: bool) -> None:
    assert named(f"00-{TRACE}-{PARENT}-{flags}") == Trail("ab" * 12, TRACE, PARENT, sampled)


@pytest.mark.parametrize("text", [f"01-{TRACE}-{PARENT}-01", f"cc-{TRACE}-{PARENT}-01-what-comes-later"])
def test_a_later_version_is_read_as_far_as_it_is_known(text: str) -> None:
    assert named(text) == Trail("ab" * 12, TRACE, PARENT, sampled=True)


@pytest.mark.parametrize(
    "text",
    [
        "x",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE}-{PARENT}-01 ",
        f"00-{TRACE}-{PARENT}-01\n",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"0-{TRACE}-{PARENT}-01",
        f"00-{TRACE[1:]}-{PARENT}-01",
        f"00-{TRACE}0-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{PARENT}-1",
        f"00-{TRACE}-{PARENT}-0g",
        f"00-{TRACE}-{PARENT}-01,00-{TRACE}-{PARENT}-01",
        f"cc-{TRACE}-{PARENT}-01." + "x",
        f"cc-{TRACE}-{PARENT}-01-" + "x" * 500,
    ],
)
def test_what_is_no_trace_is_replaced(text: str) -> None:
    assert named(text) == FRESH
