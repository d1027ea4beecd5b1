"""The WSGI application: the use cases of `wiring` behind the doors of `web`."""

from __future__ import annotations

import sys

from flask import Flask

from tokensvc import wiring
from tokensvc.adapters import event_log
from tokensvc.adapters.demo_sign_in import COOKIE, DemoSignIn
from tokensvc.config import Settings
from tokensvc.core.addresses import Peers
from tokensvc.web import Demo, Doors, Measured, Redeeming, Uploads, create_app
from tokensvc.web.paced_bodies import PacedBodies


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
    app = create_app(
        Doors(
            wiring.issue(settings, nonces, sources, throttle),
            nonces.ready,
            settings.cors.origins,
            settings.cors.max_age,
            settings.hosts,
            Peers.parse(settings.proxies),
            Redeeming(
                wiring.redeem(settings, nonces),
                wiring.introspect(settings, nonces),
                wiring.revoke(settings, nonces),
                wiring.explain(settings, nonces),
                wiring.rights(sources, throttle),
                Peers.parse(settings.forward_auth.trusted),
                throttle,
            ),
            uploads,
            demo,
            wiring.audit(),
            Measured(wiring.metrics().text, wiring.rights(sources, throttle)),
            wiring.stopping,
        )
    )
    app.wsgi_app = PacedBodies(app.wsgi_app, wiring.within)  # type: ignore[method-assign] # Flask's own seam
    return app
