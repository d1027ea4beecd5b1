"""How faults and clocks are written, and which requests they hit."""

from __future__ import annotations

import pytest

from tokensvc.dev.emulation import ClockSetting
from tokensvc.dev.faults import NAMES, Fault, HowOften, parse_fault, parse_faults


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("latency=500ms", Fault("latency=500ms", "latency", 0.5)),
        ("latency=1.5s@0.5", Fault("latency=1.5s@0.5", "latency", 1.5, HowOften(0.5))),
        ("latency=60s", Fault("latency=60s", "latency", 60.0)),
        ("reject=0.1", Fault("reject=0.1", "reject", how_often=HowOften(0.1))),
        ("reject=0", Fault("reject=0", "reject", how_often=HowOften(0.0))),
        ("reject=.25", Fault("reject=.25", "reject", how_often=HowOften(0.25))),
        ("replay=1", Fault("replay=1", "replay", how_often=HowOften(1.0))),
        ("replay=x3", Fault("replay=x3", "replay", how_often=HowOften(times=3))),
        ("clock=+300s", Fault("clock=+300s", "clock", 300)),
        ("clock=-2h", Fault("clock=-2h", "clock", -7200)),
        ("status=503@0.05", Fault("status=503@0.05", "status", 503, HowOften(0.05))),
        ("status=429@x1000000", Fault("status=429@x1000000", "status", 429, HowOften(times=1_000_000))),
        ("expire=now", Fault("expire=now", "expire")),
        ("store=down", Fault("store=down", "store")),
        ("store=down@x2", Fault("store=down@x2", "store", how_often=HowOften(times=2))),
    ],
)
def test_a_fault_is_read(text: str, fault: Fault) -> None:
    assert parse_fault(text) == fault


@pytest.mark.parametrize("example", NAMES.values())
def test_every_example_is_one(example: str) -> None:
    assert parse_fault(example).text == example


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is no fault. There are: latency=500ms, reject=0.1"),
        ("slow=1", "is no fault"),
        ("reject", "is no fault"),
        ("reject=", "how often is a share"),
        ("reject=1.1", "how often is a share"),
        ("reject=2", "how often is a share"),
        ("reject=-1", "how often is a share"),
        ("reject=nan", "how often is a share"),
        ("reject=x0", "how often is a share"),
        ("reject=x1000001", "at most x1000000"),
        ("latency=500", "a number with ms or s"),
        ("latency=-1s", "a number with ms or s"),
        ("latency=60.001s", "a number with ms or s"),
        ("status=200", "that of an HTTP error"),
        ("status=399", "that of an HTTP error"),
        ("status=599", "that of an HTTP error"),
        ("status=٥٠٣", "that of an HTTP error"),
        ("status=503@", "how often is a share"),
        ("clock=300s", "is no offset"),
        ("clock=+1500ms", "whole seconds"),
        ("clock=+4000d", "at most ten years"),
        ("clock=+1s@0.5", "wrong all the time"),
        ("expire=soon", "takes only now"),
        ("store=up", "takes only down"),
    ],
)
def test_what_is_no_fault_is_refused_with_what_to_write(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_fault(text)
    assert sentence in str(caught.value)


def test_only_a_status_may_be_given_again() -> None:
    assert len(parse_faults(["status=503@0.1", "status=429@0.1"])) == 2
    for twice in (["reject=0.1", "reject=0.2"], ["status=503", "status=503"], ["latency=1s", "latency=2s"]):
        with pytest.raises(ValueError, match="is given twice"):
            parse_faults(twice)


def test_a_seed_repeats_which_occasions_are_hit() -> None:
    def hits(seed: int, what: str = "reject=0.3") -> list[bool]:
        return [HowOften(0.3).hits(seed, what, number) for number in range(1000)]

    assert hits(1) == hits(1)
    assert hits(1) != hits(2)
    assert hits(1) != hits(1, "replay=0.3")
    assert 250 < sum(hits(1)) < 350


@pytest.mark.parametrize(("share", "number"), [(0.0, 0), (1.0, 1000)])
def test_none_and_all_are_exact(share: float, number: int) -> None:
    assert sum(HowOften(share).hits(5, "a", each) for each in range(1000)) == number


def test_the_first_so_many_are_hit_and_no_other() -> None:
    assert [HowOften(times=2).hits(1, "a", number) for number in range(4)] == [True, True, False, False]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("now", 1_800_000_000),
        ("+300s", 1_800_000_300),
        ("-2h", 1_799_992_800),
        ("1700000000", 1_700_000_000),
        ("2026-01-31T12:00:00Z", 1_769_860_800),
        ("2026-01-31T12:00:00+01:00", 1_769_857_200),
    ],
)
def test_a_clock_is_read(text: str, shown: int) -> None:
    assert ClockSetting.parse(text).read(1_800_000_000) == shown


@pytest.mark.parametrize("text", ["", "soon", "300s", "+300", "2026-01-31T12:00:00", "999999999", "10000000000", "1e9"])
def test_what_is_no_clock_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no clock|no offset|stands at Unix seconds"):
        ClockSetting.parse(text)


def test_a_clock_that_stands_is_moved_and_one_that_runs_too() -> None:
    assert ClockSetting(at=1_700_000_000).moved(60) == ClockSetting(at=1_700_000_060)
    assert ClockSetting(offset=10).moved(-60) == ClockSetting(offset=-50)
