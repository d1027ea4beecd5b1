"""The WSGI application: the use cases of `wiring` behind the doors of `web`."""

from __future__ import annotations

import sys
import time
from typing import Final

from flask import Flask

from tokensvc import wiring
from tokensvc.adapters import event_log
from tokensvc.adapters.demo_sign_in import COOKIE, DemoSignIn
from tokensvc.config import ConfigurationError, Settings
from tokensvc.core.addresses import Peers
from tokensvc.web import Demo, Doors, Measured, Uploads, create_app

_PAUSE_SECONDS: Final = 1.0


def create_for_worker() -> Flask:
    """Build the application in a worker of `tokensvc serve`, which has looked at the configuration before.

    So if it is faulty now, it was changed since. gunicorn would end with the first worker that it replaces; this one
    exits instead and is replaced again, while the others go on.
    """
    try:
        return create()
    except ConfigurationError as exc:
        sys.stderr.write(f"tokensvc: a worker cannot start, for the configuration has become faulty:\n{exc}\n")
        sys.stderr.flush()
        time.sleep(_PAUSE_SECONDS)
        sys.exit(1)


def create_for_development() -> Flask:
    """Build the application from the process's configuration, the demo sign-in included."""
    return create(wiring.load_settings(demo=True))


def create(settings: Settings | None = None) -> Flask:
    """Build the application from `settings`, or from the process's own; raises `config.ConfigurationError`.

    When that happens in a worker, gunicorn halts with its sentences; a worker that exits it would start over and over.
    """
    settings = settings or wiring.load_settings()
    event_log.write_to(sys.stderr)
    nonces = wiring.nonce_store(settings)
    sources = wiring.caller_sources(settings)
    throttle = wiring.throttle(settings)
    demo = next((Demo(source, COOKIE) for source in sources.values() if isinstance(source, DemoSignIn)), None)
    uploads = None
    if settings.upload.enabled:
        files = wiring.file_store(settings)
        accept = wiring.accept(settings, nonces, files, throttle)
        upload = settings.upload
        uploads = Uploads(accept, files, list(settings.accounts), upload.plan.max_bytes, upload.url)
    return create_app(
        Doors(
            wiring.issue(settings, nonces, sources, throttle),
            nonces.ready,
            settings.cors.origins,
            settings.cors.max_age,
            settings.hosts,
            Peers.parse(settings.proxies),
            uploads,
            demo,
            wiring.audit(),
            Measured(wiring.metrics().text, wiring.rights(sources, throttle)),
        )
    )
