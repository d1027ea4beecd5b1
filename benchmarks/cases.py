"""Which requests are measured, at which servers. The servers run from first to last, idle unless it is their turn."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

from . import contenders, load, service, uploads
from .load import Answered
from .processes import Running
from .rounds import Case

OURS = {
    "v1": "tokensvc: v1, caller, profile, quota, rate, tracked",
    "v2": "tokensvc: v2 with 6 parameters, the same",
    "redeem": "tokensvc: redeem",
    "batch-v1": "tokensvc: batch of 100 v1",
    "batch-v2": "tokensvc: batch of 100 v2",
    "upload": "tokensvc: upload of 5 MB",
}
UPLOAD_TO_NGINX = "upload-nginx"
NAMES = (*OURS, *(each.name for each in contenders.ALL), UPLOAD_TO_NGINX)

_MOST_REDEEMED_A_SECOND = 12_000
_STARTS = 3


class Bench:
    """The servers and the cases of one run; `stack` ends the servers. `only` names cases; without any it is all."""

    def __init__(
        self, folder: Path, stack: ExitStack, *, programs: Path, workers: int, uploads: int, only: Collection[str]
    ) -> None:
        self._folder, self._uploads, self._only = folder, uploads, only
        self.service_folder = folder / "service"
        self.service = self._started(stack, "service", lambda place: service.service(place, service.Size(workers)))
        self.peers: dict[str, Running] = {}
        for each in contenders.ALL:
            if self._wants(each.name) or (each.name == "nginx" and self._wants(UPLOAD_TO_NGINX)):
                start = partial(contenders.started, each, programs=programs, workers=workers)
                self.peers[each.name] = self._started(stack, each.name, start)

    def small(self) -> list[Case]:
        """One credential, or a hundred, a request."""
        ours = {
            "v1": service.v1_requests(),
            "v2": service.v2_requests(),
            "batch-v1": service.batch_requests("v1", 100),
            "batch-v2": service.batch_requests("v2", 100),
        }
        plain = [load.raw("GET", "/auth")]
        return [
            *(self._sent(name, OURS[name], self.service, ours[name]) for name in ours if self._wants(name)),
            *([Case("redeem", OURS["redeem"], self.service, self._redeeming)] if self._wants("redeem") else []),
            *(
                self._sent(each.name, each.label, self.peers[each.name], plain)
                for each in contenders.ALL
                if self._wants(each.name)
            ),
        ]

    def large(self) -> list[Case]:
        """Uploads to the service and to nginx."""
        cases = []
        if self._wants("upload"):
            cases.append(self._uploaded("upload", OURS["upload"], self.service, uploads.to_service))
        if self._wants(UPLOAD_TO_NGINX):
            cases.append(self._uploaded(UPLOAD_TO_NGINX, "nginx: PUT of 5 MB", self.peers["nginx"], uploads.to_nginx))
        return cases

    def file(self, name: str) -> Path:
        """The requests of a case that sends the same ones again and again."""
        return self._folder / f"{name}.requests"

    def _started(
        self, stack: ExitStack, name: str, start: Callable[[Path], AbstractContextManager[Running]]
    ) -> Running:
        """One that stays, with the median time of several starts: a single one tells what else the machine did."""
        seconds = []
        for number in range(1, _STARTS):
            with start(self._folder / f"{name}-{number}") as passing:
                seconds.append(passing.start_seconds)
        staying = stack.enter_context(start(self._folder / name))
        return replace(staying, start_seconds=median([*seconds, staying.start_seconds]))

    def _wants(self, name: str) -> bool:
        return not self._only or name in self._only

    def _sent(self, name: str, label: str, running: Running, requests: list[bytes]) -> Case:
        file = load.write_requests(self.file(name), requests)
        longest = [service.BATCH_SECONDS] if name.startswith("batch") else []
        return Case(name, label, running, load.sending(running.port, file, *longest))

    def _redeeming(self, seconds: float) -> Callable[[], Answered]:
        port = self.service.port
        requests = service.redeem_requests(port, round(_MOST_REDEEMED_A_SECOND * seconds))
        file = load.write_requests(self.file("redeem"), requests)
        return lambda: load.send(port, file, seconds, once=True)

    def _uploaded(
        self, name: str, label: str, running: Running, make: Callable[[int, int], list[uploads.Request]]
    ) -> Case:
        def prepare(_seconds: float) -> Callable[[], Answered]:
            requests = make(running.port, self._uploads)
            return lambda: uploads.send(running.port, requests)

        return Case(name, label, running, prepare)
