"""The WSGI application: the use cases of `wiring` behind the doors of `web`."""

from __future__ import annotations

import sys

from flask import Flask

from tokensvc import wiring
from tokensvc.adapters.demo_sign_in import COOKIE, DemoSignIn
from tokensvc.adapters.logs import about, lines
from tokensvc.adapters.logs.redaction import REDACTION
from tokensvc.config import Settings, secrets_in
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
    REDACTION.learn(secrets_in(settings))
    lines.write_to(sys.stderr, settings.log)
    nonces = wiring.nonce_store(settings)
    sources = wiring.caller_sources(settings)
    throttle = wiring.throttle(settings)
    spans = wiring.spans()

    def ready() -> None:
        nonces.ready()
        wiring.require_audit(settings)

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
            ready,
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
            wiring.audit(settings),
            Measured(wiring.metrics().text, wiring.rights(sources, throttle)),
            wiring.stopping,
            begin=about.begin,
            begin_span=None if spans is None else spans.begin,
        )
    )
    app.wsgi_app = PacedBodies(app.wsgi_app, wiring.within)  # type: ignore[method-assign] # Flask's own seam
    return app
