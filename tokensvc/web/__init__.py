"""HTTP: views parse, make one call of a use case, and render. No rule lives here, and no error is handled in a view."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from flask import Flask, request

from tokensvc.core.addresses import Peers
from tokensvc.core.trail import Trail
from tokensvc.ports import Audit, FileStore, Throttle
from tokensvc.service.accept import Accept
from tokensvc.service.batch import Batch
from tokensvc.service.explain import Explain
from tokensvc.service.issue import Issue
from tokensvc.service.operate import Introspect, Revoke
from tokensvc.service.redeem import Redeem
from tokensvc.service.rights import Rights

from . import problems
from .batch import Batches, batch_blueprint
from .credentials import Credentials, credentials_blueprint
from .cross_site import guard
from .demo import SignIn, demo_blueprint
from .error_pages import error_pages_blueprint
from .files import Signers, files_blueprint
from .forward_auth import forward_auth_blueprint
from .health import health_blueprint
from .identity import host_check
from .limits import limits_blueprint
from .metrics import metrics_blueprint
from .multipart import FormLimits
from .openapi import document
from .openapi.page import openapi_blueprint
from .operate import operate_blueprint
from .origins import Origins, install_cors
from .profile_names import ProfileName
from .redeem import Spending, redeem_blueprint
from .short_way import ShortWay, View
from .spans import Begin, install_spans
from .uploads import FIRST_V1, Accepting, uploads_blueprint


@dataclass(frozen=True, slots=True)
class Demo:
    """The development page's sign-in, and the name of its cookie."""

    sign_in: SignIn
    cookie: str


@dataclass(frozen=True, slots=True)
class Uploads:
    """The own upload endpoint. `url` is this service's outside address, empty to take the request's.

    For the numbers of bytes see `FormLimits`.
    """

    accept: Accept
    files: FileStore
    accounts: Sequence[str]
    max_file_bytes: int
    url: str
    max_video_bytes: int | None = None
    max_unverified_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Redeeming:
    """Spending for uploaders that are not ours. `proxies` are the peers that may ask at `/forward-auth`."""

    redeem: Redeem
    introspect: Introspect
    revoke: Revoke
    explain: Explain
    rights: Rights
    proxies: Peers
    throttle: Throttle | None


@dataclass(frozen=True, slots=True)
class Measured:
    """What is counted, as text, and who may read it."""

    text: Callable[[], bytes]
    rights: Rights


def _nobody(_trail: Trail) -> None:
    """Nobody wants to know which request it is."""


@dataclass(frozen=True, slots=True)
class Doors:
    """All that the application is made of; `wiring` builds it. `begin` is told of each request by its names."""

    issue: Issue
    ready: Callable[[], Sequence[str]]
    origins: Sequence[str]
    preflight_max_age: int
    hosts: Sequence[str]
    proxies: Peers
    redeeming: Redeeming
    uploads: Uploads | None
    demo: Demo | None
    audit: Audit
    measured: Measured
    stopping: Callable[[], bool]
    begin: Callable[[Trail], None] = _nobody
    begin_span: Begin | None = None


def create_app(doors: Doors) -> Flask:
    """Build the WSGI application."""
    app = Flask(__name__, static_folder=None)
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False  # no redirects: a path is one of ours or nothing
    app.url_map.redirect_defaults = False  # or /auth/default would be sent on to /auth
    app.url_map.converters["profile"] = ProfileName
    app.json.sort_keys = False  # type: ignore[attr-defined] # the default provider has it; members keep ImageKit's order
    app.config["PROXIES"] = doors.proxies
    problems.install(app, doors.audit, doors.issue.profiles, doors.begin)
    if doors.begin_span is not None:
        install_spans(app, doors.begin_span)
    check_host = host_check(doors.hosts)
    app.before_request(lambda: check_host(request.environ))
    sources = guard(doors.issue.sources, doors.origins)
    cookies = any(source.evidence == "cookie" for source in sources.values())
    origins = Origins(doors.origins, cookies=cookies)
    install_cors(app, origins, doors.preflight_max_age)
    issue = replace(doors.issue, sources=sources)
    credentials = Credentials(issue, doors.proxies)
    app.register_blueprint(credentials_blueprint(credentials))
    app.register_blueprint(limits_blueprint(issue, doors.uploads.max_file_bytes if doors.uploads else None))
    batches = Batches(Batch(issue), doors.proxies)
    app.register_blueprint(batch_blueprint(batches))
    app.register_blueprint(health_blueprint(doors.ready, doors.stopping))
    app.register_blueprint(metrics_blueprint(doors.measured.text, doors.measured.rights))
    told = document(uploads=doors.uploads is not None)
    app.register_blueprint(openapi_blueprint(told))
    app.register_blueprint(error_pages_blueprint(told))
    redeeming = doors.redeeming
    spending = Spending(redeeming.redeem, redeeming.rights, doors.proxies)
    app.register_blueprint(redeem_blueprint(spending))
    app.register_blueprint(
        operate_blueprint(redeeming.introspect, redeeming.revoke, redeeming.explain, redeeming.rights)
    )
    app.register_blueprint(forward_auth_blueprint(redeeming.redeem, redeeming.proxies, redeeming.throttle))
    accepting = None if doors.uploads is None else _install_uploads(app, doors.uploads, doors.proxies)
    if doors.demo is not None:
        app.register_blueprint(demo_blueprint(doors.demo.sign_in, doors.demo.cookie))
    if doors.begin_span is None:  # a span is begun and ended by Flask's hooks
        plain = _plain(credentials, batches, spending, accepting)
        app.wsgi_app = ShortWay(app, plain, doors.begin, check_host, origins)  # type: ignore[method-assign] # Flask's own seam
    return app


def _plain(
    credentials: Credentials, batches: Batches, spending: Spending, accepting: Accepting | None
) -> dict[tuple[str, str], View]:
    """The requests that come by the thousand, by method and path."""
    views: dict[tuple[str, str], View] = {("POST", "/redeem"): spending.spend}
    if accepting is not None:
        views["POST", "/api/v1/files/upload"] = views["POST", FIRST_V1] = partial(accepting.upload, version="v1")
        views["POST", "/api/v2/files/upload"] = partial(accepting.upload, version="v2")
    for name in credentials.issue.profiles:
        for path in ("/auth", "/auth/default") if name == "default" else (f"/auth/{name}",):
            views["GET", path] = partial(credentials.v1, profile=name)
            views["POST", path] = partial(credentials.v2, profile=name)
            views["POST", f"{path}/batch"] = partial(batches.issue, profile=name)
    return views


def _install_uploads(app: Flask, uploads: Uploads, proxies: Peers) -> Accepting:
    def base_url(own: str, account: str) -> str:
        return (uploads.url or own) + files_prefix(account)

    limits = FormLimits(
        max_file_bytes=uploads.max_file_bytes,
        max_video_bytes=uploads.max_video_bytes,
        max_unverified_bytes=uploads.max_unverified_bytes,
    )
    accepting = Accepting(uploads.accept, limits, base_url, proxies)
    app.register_blueprint(uploads_blueprint(accepting))
    signers = Signers(uploads.accept.keys, uploads.accept.clock)
    for account in uploads.accounts:
        app.register_blueprint(files_blueprint(uploads.files, account, files_prefix(account), signers))
    return accepting


def files_prefix(account: str) -> str:
    """Where an account's files are served; `~` cannot occur in a folder's name, so the two never meet."""
    return "/files" if account == "default" else f"/files/~{account}"
