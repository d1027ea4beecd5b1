"""The WSGI application: the use cases of `wiring` behind the doors of `web`."""

from __future__ import annotations

import functools
import sys

from flask import Flask

from tokensvc import use_cases, wiring
from tokensvc.adapters.aside import aside, within
from tokensvc.adapters.demo_sign_in import COOKIE, DemoSignIn
from tokensvc.adapters.logs import about, lines
from tokensvc.adapters.logs.redaction import REDACTION
from tokensvc.adapters.server_bodies import straight
from tokensvc.adapters.sweeper import Sweeper
from tokensvc.config import Bucket, Settings, secrets_in
from tokensvc.core.addresses import Peers
from tokensvc.ports import FileStore
from tokensvc.service.accept import Accept
from tokensvc.web import Demo, Doors, Measured, Redeeming, Uploads, create_app
from tokensvc.web.paced_bodies import PacedBodies


def create(settings: Settings | None = None) -> Flask:
    """Build the application from `settings`, or from the process's own; raises `config.ConfigurationError`.

    When that happens in a worker, gunicorn halts with its sentences; a worker that exits it would start over and over.
    """
    return app_of(doors(settings or wiring.load_settings()))


def app_of(doors: Doors) -> Flask:
    """The application behind these doors, with what a body may take."""
    app = create_app(doors)
    app.wsgi_app = PacedBodies(app.wsgi_app, within, straight)  # type: ignore[method-assign] # Flask's own seam
    return app


def doors(settings: Settings) -> Doors:
    """All that the application is made of, for these settings; events go to standard error from now on."""
    REDACTION.learn(secrets_in(settings))
    lines.write_to(sys.stderr, settings.log)
    nonces = use_cases.nonce_store(settings)
    sources = use_cases.caller_sources(settings)
    throttle = use_cases.throttle(settings)
    spans = use_cases.spans()

    def ready() -> tuple[str, ...]:
        wiring.require_audit(settings)
        return nonces.ready()

    demo = next((Demo(source, COOKIE) for source in sources.values() if isinstance(source, DemoSignIn)), None)
    uploads = None
    if settings.upload.enabled:
        files = wiring.file_store(settings)
        sweeper_of(settings, files).start()
        accept = use_cases.accept(settings, nonces, files, throttle)
        uploads = uploads_of(settings, accept, files)
    return Doors(
        use_cases.issue(settings, nonces, sources, throttle),
        ready,
        settings.cors.origins,
        settings.cors.max_age,
        settings.hosts,
        Peers.parse(settings.proxies),
        Redeeming(
            use_cases.redeem(settings, nonces),
            use_cases.introspect(settings, nonces),
            use_cases.revoke(settings, nonces),
            use_cases.explain(settings, nonces),
            use_cases.rights(sources, throttle),
            Peers.parse(settings.forward_auth.trusted),
            throttle,
        ),
        uploads,
        demo,
        use_cases.audit(settings),
        Measured(functools.partial(use_cases.metrics().text, nonces.outstanding), use_cases.rights(sources, throttle)),
        wiring.stopping,
        begin=about.begin,
        begin_span=None if spans is None else spans.begin,
    )


def uploads_of(settings: Settings, accept: Accept, files: FileStore) -> Uploads:
    """The upload endpoint as it is configured."""
    plan = settings.upload.plan
    return Uploads(
        accept,
        files,
        list(settings.accounts),
        plan.most_bytes,
        settings.upload.url,
        plan.most_video_bytes,
        plan.max_unverified_bytes,
    )


def sweeper_of(settings: Settings, files: FileStore) -> Sweeper:
    """Who tidies the file store up; not started."""
    place = settings.upload.store
    folder = settings.data_dir if isinstance(place, Bucket) else place or settings.data_dir / "files"
    return Sweeper(files, folder / "sweep.lock", wiring.clock, use_cases.audit(settings), aside)
