"""Everything that a run needs, started once: two services, the pages' origin, and one Chromium."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser

from tests.e2e.browsing import chromium
from tests.e2e.origin import App, app_origin
from tests.support.server import Service, serving
from tests.support.tls import make_certificate

from . import in_browser, on_server, replayed
from .clients import PAGES, Named
from .rows import Row

_PATIENCE_MS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Laboratory:
    """What runs. `secure` has the name of ImageKit's hosts, `plain` is for clients that are told an address."""

    app: App
    secure: Service
    plain: Service
    browser: Browser

    def observe(self, client: Named) -> Row:
        """Run one client, and return what happened. AssertionError if an upload is not stored as it was sent."""
        if isinstance(client, on_server.ServerClient):
            return on_server.observe(self.plain, client)
        if isinstance(client, replayed.Replay):
            return replayed.observe(self.plain, client)
        with self.browser.new_context(ignore_https_errors=True) as context:
            context.set_default_timeout(_PATIENCE_MS)
            return in_browser.observe(context.new_page(), self.app, self.secure, client)


@contextlib.contextmanager
def laboratory(directory: Path) -> Iterator[Laboratory]:
    """Bundle the pages and start everything below `directory`; end it with the block."""
    homes = [directory / name for name in ("bundles", "secure", "plain")]
    for home in homes:
        home.mkdir()
    bundles, secure, plain = homes
    in_browser.bundle(PAGES, bundles)
    with (
        app_origin(bundles) as app,
        serving(secure, origins=[app.url], certificate=make_certificate(secure)) as service,
        serving(plain) as other,
        chromium(upload_port=service.port) as browser,
    ):
        app.service = service
        yield Laboratory(app, service, other, browser)
