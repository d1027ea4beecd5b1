"""A nonce store that fails, refuses and forgets on demand, in front of the real one.

It translates what passes: names are those of a generation, so that a new one knows of nothing; and the real store goes
by its own clock, so what is kept "until" a time of the emulator's is kept as long from now. That is done to whatever
verb the port has, by what an argument is called.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Final, cast

from tokensvc.core.errors import Code, Outage, Refusal
from tokensvc.ports import NonceStore, Outcome, Receipt, Redemption

from .emulation import EmulationFile

_SHORTEST_SECONDS: Final = 60
"""What is recorded of a credential that has expired already, for the faults that make such ones."""

_NAMES: Final = frozenset({"nonce", "subject_id"})
_TIMES: Final = frozenset({"until", "cross_off_until"})
_ASK_NOBODY: Final = frozenset({"beside", "elsewhere", "in_one_place"})


def emulated_nonces(nonces: NonceStore, emulation: EmulationFile) -> NonceStore:
    """The store, told what to do wrong."""
    return cast("NonceStore", _EmulatedNonces(nonces, emulation))


@dataclass(frozen=True, slots=True)
class _EmulatedNonces:
    nonces: NonceStore
    emulation: EmulationFile

    def redeem(self, *arguments: Any, **named: Any) -> Redemption:  # noqa: ANN401 - as the port has it
        """As the port says, but for what is refused on demand. `replay` spends the nonce all the same."""
        self._may_be_down()
        if self._is_hit("reject"):
            raise Refusal(
                Code.CREDENTIAL_INVALID,
                "The credential is good. The emulator was told to refuse it (fault reject).",
                "Fetch a new credential and try again.",
            )
        redemption: Redemption = self._passed_on("redeem", *arguments, **named)
        if redemption.outcome is Outcome.SPENT and self._is_hit("replay"):
            return Redemption(Outcome.REPLAYED)
        return redemption

    def ready(self) -> tuple[str, ...]:
        """As the port says; a store that is down now and then is ready."""
        fault = self.emulation.now().fault("store")
        if fault is not None and fault.how_often.times is None and fault.how_often.share == 1:
            raise _down()
        return tuple(self.nonces.ready())

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        def ask(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - as the port has it
            if verb not in _ASK_NOBODY:
                self._may_be_down()
            return self._passed_on(verb, *arguments, **named)

        return ask

    def _passed_on(self, verb: str, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - as the port has it
        method = getattr(self.nonces, verb)
        translated = [self._translated("nonce" if isinstance(each, str) else "", each) for each in arguments]
        return method(*translated, **{name: self._translated(name, each) for name, each in named.items()})

    def _translated(self, name: str, value: Any) -> Any:  # noqa: ANN401 - an argument of any verb
        if name in _NAMES:
            return self._of_generation(value)
        if name in _TIMES and value is not None:
            return self.emulation.clock() + max(value - self.emulation.time(), _SHORTEST_SECONDS)
        if isinstance(value, list | tuple):
            return [self._translated("", each) for each in value]
        if is_dataclass(value) and not isinstance(value, type):
            known = _NAMES | _TIMES
            if isinstance(value, Receipt):
                value = replace(value, name=self._of_generation(value.name))
            members = {each.name: getattr(value, each.name) for each in fields(value) if each.name in known}
            return replace(value, **{each: self._translated(each, member) for each, member in members.items()})
        return value

    def _may_be_down(self) -> None:
        if self._is_hit("store"):
            raise _down()

    def _is_hit(self, name: str) -> bool:
        fault = self.emulation.now().fault(name)
        return fault is not None and self.emulation.hit(fault)

    def _of_generation(self, name: str) -> str:
        digest = hashlib.sha256(f"{self.emulation.now().generation} {name}".encode()).digest()
        return base64.urlsafe_b64encode(digest[:16]).rstrip(b"=").decode()


def _down() -> Outage:
    return Outage("The emulator was told that the nonce store is down (fault store).")
