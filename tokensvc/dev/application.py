"""The service as production has it, with the emulator's clock and nonce store in it and its faults before it.

Only the clock of who issues goes wrong with the fault `clock`: what a client sees is then a credential that the
upload endpoint, whose clock is right, does not accept.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from flask import Flask, Response, abort, request
from markupsafe import escape
from werkzeug.exceptions import HTTPException

from tokensvc import application, wiring
from tokensvc.config import Settings
from tokensvc.core.window import LEEWAY_SECONDS
from tokensvc.ports import Clock
from tokensvc.web import Doors

from .control import PREFIX, Control, control_blueprint
from .emulation import EmulationFile
from .home import home_of
from .nonces import emulated_nonces

HEADER: Final = "X-Tokensvc-Faults"
"""On every answer while something is switched on: nobody should have to guess why an upload failed."""

_SPARED: Final = ("/livez", "/readyz", "/metrics", "/static/", "/demo/", f"{PREFIX}/")
_COME_BACK: Final = frozenset({429, 503})
"""Statuses that are answered with the time after which to try again."""

_DRAIN_BYTES: Final = 64 * 1024


def create() -> Flask:
    """Build the development server's application from the process's configuration."""
    settings = wiring.load_settings(demo=True)
    emulation = EmulationFile(home_of(settings.data_dir), wiring.clock)
    app = application.app_of(emulated(application.doors(settings), emulation))
    install(app, emulation, settings)
    return app


def emulated(doors: Doors, emulation: EmulationFile) -> Doors:
    """The same doors, with the emulator's clock and its nonce store behind them."""
    clock, nonces = emulation.time, emulated_nonces(doors.issue.nonces, emulation)
    longest = max(profile.lifetime for profile in doors.issue.profiles.values())
    issue = replace(doors.issue, nonces=nonces, clock=issuing_clock(emulation, longest))
    spending = doors.redeeming
    redeeming = replace(
        spending,
        redeem=replace(spending.redeem, nonces=nonces, clock=clock),
        introspect=replace(spending.introspect, nonces=nonces, clock=clock),
        revoke=replace(spending.revoke, nonces=nonces, clock=clock),
        explain=replace(spending.explain, nonces=nonces, clock=clock),
    )
    uploads = doors.uploads and replace(doors.uploads, accept=replace(doors.uploads.accept, nonces=nonces, clock=clock))
    return replace(doors, issue=issue, ready=nonces.ready, redeeming=redeeming, uploads=uploads)


def issuing_clock(emulation: EmulationFile, longest_lifetime: int) -> Clock:
    """The emulator's clock as who issues reads it: off by the fault `clock`, and so late that all has expired."""

    def clock() -> int:
        told, now = emulation.now(), emulation.time()
        wrong, expired = told.fault("clock"), told.fault("expire")
        if expired is not None and emulation.hit(expired):
            now -= longest_lifetime + LEEWAY_SECONDS
        return now + (int(wrong.amount) if wrong is not None else 0)

    return clock


def install(app: Flask, emulation: EmulationFile, settings: Settings) -> None:
    """Put the faults that need no rule of ours before every request, and the control beside."""
    app.register_blueprint(control_blueprint(Control(emulation, settings)))
    app.before_request(_fail_first(emulation))

    def say_so(answer: Response) -> Response:
        words = emulation.now().in_words
        if words:
            answer.headers[HEADER] = words
            if "Access-Control-Expose-Headers" in answer.headers:
                answer.headers["Access-Control-Expose-Headers"] += f", {HEADER}"
            if request.path == "/" and answer.mimetype == "text/html":
                _show_on_page(answer, words)
        return answer

    app.after_request_funcs.setdefault(None, []).insert(0, say_so)  # Flask goes backwards: after those for CORS


def _fail_first(emulation: EmulationFile) -> Callable[[], None]:
    def fail() -> None:
        if request.path == "/" or request.path.startswith(_SPARED):
            return
        for fault in emulation.now().parsed:
            if fault.name == "latency" and emulation.hit(fault):
                time.sleep(fault.amount)
            if fault.name == "status" and emulation.hit(fault):
                _read_to_the_end()
                status, later = int(fault.amount), {"retry_after": 1} if int(fault.amount) in _COME_BACK else {}
                abort(status, "The emulator was told to answer so (fault status)", **later)

    return fail


def _read_to_the_end() -> None:
    """A client that is cut off while it sends sees a broken connection, and no status."""
    try:
        while request.stream.read(_DRAIN_BYTES):
            pass
    except (OSError, ValueError, HTTPException):
        return


def _show_on_page(answer: Response, words: str) -> None:
    answer.direct_passthrough = False
    notice = f'<main>\n<p class="notice" role="status" data-testid="faults">Switched on: {escape(words)}</p>'
    answer.set_data(answer.get_data(as_text=True).replace("<main>", notice, 1))
