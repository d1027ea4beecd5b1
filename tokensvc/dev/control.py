"""`/dev/…`: how a test suite looks at the emulator, resets it, and sets its clock and its faults.

Every program on this machine may, and no web page: one of another site could make a visitor's browser ask. So a header
is required that no page can send without a preflight, and what browsers say of a page's request is refused.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from flask import Blueprint, Response, request

from tokensvc.config import Settings
from tokensvc.core.addresses import parse_address
from tokensvc.core.errors import Code, Refusal
from tokensvc.web.json_bodies import private_json, read_object, require_members

from .emulation import ClockSetting, Emulation, EmulationFile
from .faults import parse_faults, parse_offset

PREFIX: Final = "/dev"
HEADER: Final = "X-Tokensvc-Dev"
_MOST_SEED: Final = 2**53
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Control:
    """What `/dev/…` acts on."""

    emulation: EmulationFile
    settings: Settings

    def reset(self) -> int:
        """Forget nonces and counts, remove uploaded files, go back to the faults and clock of the start.

        Returns how many files were removed, versions counted. What is being uploaded at the moment is left alone.
        """
        self.emulation.afresh()
        root = self.settings.data_dir / "files"
        for entry in (root / "index").glob("??/*"):  # first, so that no file is visible that has no bytes
            _remove(entry)
        return sum(_remove(held) for held in (root / "objects").glob("??/*"))

    def state(self) -> dict[str, Any]:
        """All that can be set, and whose server it is."""
        told = self.emulation.now()
        return {
            "faults": list(told.faults),
            "seed": told.seed,
            "clock": {
                "now": self.emulation.time(),
                "offset": None if told.clock.at is not None else told.clock.offset,
                "stands": told.clock.at is not None,
            },
            "publicKey": self.settings.accounts["default"].active,
            "files": sum(1 for _ in (self.settings.data_dir / "files" / "index").glob("??/*.json")),
        }


def control_blueprint(control: Control) -> Blueprint:
    """`/dev/state`, `/dev/reset`, `/dev/faults`, `/dev/clock`."""
    blueprint = Blueprint("dev", __name__, url_prefix=PREFIX)
    blueprint.before_request(_require_program)

    @blueprint.get("/state")
    def state() -> Response:
        return private_json(control.state())

    @blueprint.post("/reset")
    def reset() -> Response:
        return private_json({"removed_files": control.reset()} | control.state())

    @blueprint.post("/faults")
    def faults() -> Response:
        members = _members("faults", "seed")
        control.emulation.change(lambda told: _with_faults(told, members))
        return private_json(control.state())

    @blueprint.post("/clock")
    def clock() -> Response:
        members = _members("set", "move")
        control.emulation.change(lambda told: replace(told, clock=_clock(told.clock, members)))
        return private_json(control.state())

    return blueprint


def _require_program() -> None:
    try:
        is_near = parse_address(request.remote_addr or "").is_loopback
    except ValueError:
        is_near = False
    if not is_near:
        raise Refusal(Code.CALLER_FORBIDDEN, "The emulator is controlled from the same machine only.")
    if "Origin" in request.headers or request.headers.get("Sec-Fetch-Site", "none") != "none":
        raise Refusal(
            Code.ORIGIN_FORBIDDEN,
            "The emulator is controlled by programs, and not by pages.",
            "Ask from the test suite itself, not from the page that it opens.",
        )
    if request.method != "GET" and request.headers.get(HEADER) != "1":
        raise Refusal(Code.REQUEST_MALFORMED, f"The header {HEADER} is missing.", f"Send {HEADER}: 1.", field=HEADER)


def _members(*known: str) -> Mapping[str, Any]:
    members = read_object()
    require_members(members, frozenset(known))
    return members


def _with_faults(told: Emulation, members: Mapping[str, Any]) -> Emulation:
    texts, seed = members.get("faults", []), members.get("seed", told.seed)
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise _unfit("faults", 'faults is not a list of texts such as "reject=0.1".')
    if type(seed) is not int or not 0 <= seed <= _MOST_SEED:
        raise _unfit("seed", f"seed is not a whole number from 0 to {_MOST_SEED}.")
    faults = _read("faults", lambda: parse_faults(texts))
    return replace(told, faults=tuple(fault.text for fault in faults), seed=seed, drawn={})


def _clock(clock: ClockSetting, members: Mapping[str, Any]) -> ClockSetting:
    if len(members) != 1 or not isinstance(text := next(iter(members.values())), str):
        raise _unfit("set", 'Exactly one of set and move is needed, as a text: {"set": "now"}, {"move": "+1h"}.')
    if "set" in members:
        return _read("set", lambda: ClockSetting.parse(text))
    return _read("move", lambda: clock.moved(parse_offset(text)))


def _read(field: str, read: Callable[[], _T]) -> _T:
    try:
        return read()
    except ValueError as exc:
        raise _unfit(field, str(exc)) from None


def _unfit(field: str, detail: str) -> Refusal:
    return Refusal(Code.REQUEST_MALFORMED, detail, "See docs/testing.md.", field=field)


def _remove(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
        return 1
    return 0
