"""The service with the emulator in it, in this process, on a real Valkey and a real disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.app import Clock, Service
from tokensvc.dev.application import emulated, install
from tokensvc.dev.emulation import ClockSetting, Emulation, EmulationFile
from tokensvc.web import create_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.valkey import Valkey


class Emulator:
    """A service, told what to do wrong. `clock` is the machine's."""

    def __init__(self, service: Service, home: Path, start: Emulation) -> None:
        self.service = service
        self.clock = Clock(service.clock.now)
        home.mkdir()
        self.file = EmulationFile(home, self.clock)
        self.file.begin(start)
        app = create_app(emulated(service.doors(), self.file))
        install(app, self.file, service.settings)
        service.app, service.client = app, app.test_client()

    def told(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """One request to the control, with the header that it wants."""
        return self.service.send(method, f"/dev/{path}", {"X-Tokensvc-Dev": "1", **headers}, json=body or {})

    def codes(self, number: int) -> list[str]:
        """The codes with which that many uploads are answered, each with a new credential; empty for stored."""
        answers = [self.service.upload_v1(self.service.credential()) for _ in range(number)]
        return [answer.headers.get("X-Tokensvc-Code", "") for answer in answers]


EmulatorMaker = Any
"""Takes faults, and what `Emulation` takes besides."""


@pytest.fixture
def make_emulator(valkey: Valkey, tmp_path: Path) -> Iterator[Callable[..., Emulator]]:
    made: list[Service] = []

    def make(*faults: str, seed: int = 1, clock: str = "now", **options: Any) -> Emulator:
        place = tmp_path / str(len(made))

        def cross_off(configured: dict[str, Any]) -> None:
            configured["profiles"] = {
                "default": configured["profiles"]["default"],
                "open": configured["profiles"]["open"],
            }
            if "change" in options:
                options["change"](configured)

        made.append(Service(valkey.url, place, change=cross_off))
        return Emulator(made[-1], place / "dev", Emulation(faults, seed, ClockSetting.parse(clock)))

    yield make
    for service in made:
        service.close()
