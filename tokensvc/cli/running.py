"""`tokensvc serve`, `store`: what runs until it is ended, and what has to be looked at before."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NoReturn

import click

from tokensvc import launcher, wiring
from tokensvc.adapters import embedded
from tokensvc.config import ConfigurationError, Fault, Settings, cautions
from tokensvc.core.doctor import Level
from tokensvc.core.errors import Outage
from tokensvc.examination import examine_for_start

from .telling import OUTAGE, REFUSED, USAGE, settings_or_exit, tell_faults

_STORE_COMES_WITHIN_SECONDS: Final = 5.0
_LOOK_AGAIN_SECONDS: Final = 0.05
_WITHOUT_STORE: Final = (
    "Set REDIS_URL, or run `tokensvc store` beside gunicorn, or use `tokensvc serve`, which runs both."
)


@click.command()
@click.option("--bind", metavar="HOST:PORT", help="Address to listen on. [default: 0.0.0.0:$PORT, 8000]")
@click.option("--workers", type=click.IntRange(1, 64), help="Worker processes. [default: WEB_CONCURRENCY, else cores]")
@click.option(
    "--drain",
    type=click.FloatRange(0, 60),
    default=2,
    show_default=True,
    metavar="SECONDS",
    help="How long /readyz says no after TERM while requests are still served.",
)
def serve(bind: str | None, workers: int | None, drain: float) -> None:
    """Run in production: configuration from the environment and tokensvc.toml.

    TERM ends it with no request lost: balancers that look at /readyz are told first. INT does not wait for them.
    With no REDIS_URL a Valkey of our own is started in the data directory and stopped after the workers.
    """
    environment = dict(wiring.environment())
    settings = settings_or_exit(lambda: wiring.load_settings(environment))
    _examine(settings)
    command = launcher.gunicorn_command(
        bind or f"0.0.0.0:{settings.port}",
        workers or settings.workers or len(os.sched_getaffinity(0)),
        "tokensvc.application:create()",
        log_options(settings),
    )
    launch(
        command,
        environment,
        settings,
        cautions(settings),
        may_reload=lambda: _may_reload(environment),
        drain_seconds=drain,
    )


@click.command()
def store() -> None:
    """Run only the embedded nonce store of the data directory, for a gunicorn started by other means."""
    settings = settings_or_exit(wiring.load_settings)
    from tokensvc.adapters.embedded.__main__ import main as run_store  # noqa: PLC0415 - `serve` runs it elsewhere

    if settings.redis_url is not None:
        click.echo("REDIS_URL is set: that store is used, and none of our own is started.", err=True)
        sys.exit(USAGE)
    sys.exit(OUTAGE if run_store([str(wiring.store_directory(settings))]) else 0)


@click.command(hidden=True)
def preflight() -> None:
    """Look whether workers could start now; deploy/gunicorn.conf.py asks before there are any."""
    settings = settings_or_exit(wiring.load_settings)
    _require_files(settings)
    _examine(settings)
    if settings.redis_url is not None:
        return  # it may come later, and /readyz tells
    until = time.monotonic() + _STORE_COMES_WITHIN_SECONDS
    while (reason := _why_not_ready(settings)) and time.monotonic() < until:
        time.sleep(_LOOK_AGAIN_SECONDS)
    if reason:
        click.echo(f"tokensvc does not start: there is no nonce store.\n{reason}\n{_WITHOUT_STORE}", err=True)
        sys.exit(OUTAGE)


def launch(
    command: Sequence[str],
    environment: Mapping[str, str],
    settings: Settings,
    warnings: Sequence[Fault] = (),
    may_reload: Callable[[], bool] | None = None,
    drain_seconds: float = 0,
) -> NoReturn:
    """Run gunicorn and what it needs, and end with its status."""
    _require_files(settings)
    for warning in warnings:
        click.echo(f"Warning: {warning}", err=True)
    directory = wiring.store_directory(settings)
    start_store = None if settings.redis_url is not None else (lambda: embedded.start(directory))
    try:
        status = launcher.run(command, environment, start_store, may_reload, drain_seconds, _telling(settings))
    except embedded.StoreFault as exc:
        click.echo(f"The embedded nonce store did not start: {exc}", err=True)
        sys.exit(OUTAGE)
    sys.exit(status)


def log_options(settings: Settings) -> list[str]:
    """What tells gunicorn to write for people; for machines it does so by its settings."""
    console = ["--logger-class", "tokensvc.adapters.logs.server.ConsoleServerLog"]
    return console if settings.log == "console" else []


def _telling(settings: Settings) -> Callable[[str], None]:
    def tell(sentence: str) -> None:
        from tokensvc.adapters.logs import lines  # noqa: PLC0415 - slow to load, and most launchers never tell a thing

        lines.write_to(sys.stderr, settings.log)
        lines.tell("warning", "launcher", {"message": sentence})

    return tell


def _require_files(settings: Settings) -> None:
    """Make the audit's file and the folders for uploads, or say why not, before there are workers to fail."""
    try:
        wiring.require_audit(settings)
    except Outage as exc:
        click.echo(f"tokensvc does not start: {exc.detail}", err=True)
        sys.exit(OUTAGE)
    if not settings.upload.enabled:
        return
    try:
        wiring.file_store(settings)
    except Outage as exc:
        click.echo(f"tokensvc does not start: {exc.detail}", err=True)
        sys.exit(OUTAGE)


def _examine(settings: Settings) -> None:
    """Stop for what would never work; tell what may, and that the store is silent: it may come later."""
    found = examine_for_start(settings)
    fatal = [finding for finding in found if finding.level is Level.FATAL]
    for finding in found:
        if finding.level is not Level.FATAL:
            click.echo(f"Warning: {finding}", err=True)
    if fatal:
        click.echo("tokensvc does not start; `tokensvc doctor` tells more.", err=True)
        for finding in fatal:
            click.echo(f"  {finding}", err=True)
        sys.exit(REFUSED)


def _may_reload(environment: Mapping[str, str]) -> bool:
    """Workers with a faulty configuration would not start, and gunicorn would end with them."""
    try:
        wiring.load_settings(environment)
    except ConfigurationError as exc:
        tell_faults(exc.faults, "tokensvc does not reload, and goes on with the configuration it has")
        return False
    return True


def _why_not_ready(settings: Settings) -> str:
    from tokensvc import use_cases  # noqa: PLC0415 - all of a worker, and `serve` asks no store

    try:
        use_cases.nonce_store(settings).ready()
    except (ConfigurationError, Outage) as exc:
        return str(exc)
    return ""
