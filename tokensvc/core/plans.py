"""ImageKit's plans, by what a file may weigh in each. The numbers change; each is as documented then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

_MB: Final = 1_000_000
_GB: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Plan:
    """The most bytes of a file, and of a video."""

    max_bytes: int
    max_video_bytes: int


PLANS: Final[Mapping[str, Plan]] = MappingProxyType(
    {
        "free": Plan(25 * _MB, 100 * _MB),
        "lite": Plan(40 * _MB, 300 * _MB),
        "pro": Plan(50 * _MB, 2 * _GB),
        "free-2024": Plan(20 * _MB, 100 * _MB),
        "paid-2024": Plan(40 * _MB, 2 * _GB),
        "free-2023": Plan(25 * _MB, 25 * _MB),
        "paid-2023": Plan(25 * _MB, 300 * _MB),
        "2022": Plan(25 * _MB, 25 * _MB),
    }
)
"""Those without a year are the present ones."""
