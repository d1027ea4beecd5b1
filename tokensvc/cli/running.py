"""`tokensvc dev`, `serve`, `store`: what runs until it is ended, and what has to be looked at before."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NoReturn

import click

from tokensvc import __version__, dev, launcher, wiring
from tokensvc.adapters import embedded
from tokensvc.adapters.embedded.__main__ import main as run_store
from tokensvc.config import ConfigurationError, Fault, Settings, cautions
from tokensvc.core.errors import Outage

from .telling import OUTAGE, USAGE, settings_or_exit, tell_faults

_MAX_PORT: Final = 65_535

_STORE_COMES_WITHIN_SECONDS: Final = 5.0
_LOOK_AGAIN_SECONDS: Final = 0.05
_WITHOUT_STORE: Final = (
    "Set REDIS_URL, or run `tokensvc store` beside gunicorn, or use `tokensvc serve`, which runs both."
)
_NOT_FOR_THE_DEMO: Final = (  # it has keys, an address and workers of its own
    "IMAGEKIT_PUBLIC_KEY",
    "IMAGEKIT_PRIVATE_KEY",
    "IMAGEKIT_URL_ENDPOINT",
    "PORT",
    "WEB_CONCURRENCY",
)


@click.command(name="dev")
@click.option("--bind", default="127.0.0.1:8000", show_default=True, metavar="HOST:PORT", help="Loopback address.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Data directory. [default: var]")
@click.option(
    "--origin", "origins", multiple=True, help="Origin of a front end of yours, such as http://localhost:5173."
)
def dev_command(bind: str, data: Path | None, origins: tuple[str, ...]) -> None:
    """Run the whole loop on this machine: demo keys, demo sign-in, embedded Valkey, upload API and page."""
    host = _loopback_host(bind)
    environment = dict(wiring.environment())
    directory = (data or Path(environment.get("TOKENSVC_DATA_DIR") or "var")).absolute()
    try:
        demo = dev.prepare(directory, host=host, origins=origins)
    except OSError as exc:
        raise click.BadParameter(f"{directory} cannot be used: {exc.strerror}.", param_hint="--data") from None
    for name in _NOT_FOR_THE_DEMO:
        environment.pop(name, None)
        environment.pop(f"{name}_FILE", None)
    environment |= {"TOKENSVC_CONFIG": str(demo.configuration), "TOKENSVC_DATA_DIR": str(directory)}
    settings = settings_or_exit(lambda: wiring.load_settings(environment, demo=True))
    click.echo(
        f"tokensvc {__version__}, development server\n"
        f"  page         http://{bind}/\n"
        f'  credential   curl -H "Authorization: Bearer $(cat {demo.api_key_file})" http://{bind}/auth\n'
        f"  public key   {demo.public_key}   (private key: {demo.configuration.parent / 'private-key'})\n"
        f"  data         {directory}\n"
        "Ctrl-C ends it."
    )
    command = launcher.gunicorn_command(
        bind, 2, "tokensvc.application:create_for_development()", ["--graceful-timeout", "5"]
    )
    _launch(command, environment, settings)


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
    command = launcher.gunicorn_command(
        bind or f"0.0.0.0:{settings.port}",
        workers or settings.workers or len(os.sched_getaffinity(0)),
        "tokensvc.application:create()",
    )
    _launch(
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
    if settings.redis_url is not None:
        click.echo("REDIS_URL is set: that store is used, and none of our own is started.", err=True)
        sys.exit(USAGE)
    sys.exit(OUTAGE if run_store([str(wiring.store_directory(settings))]) else 0)


@click.command(hidden=True)
def preflight() -> None:
    """Look whether workers could start now; deploy/gunicorn.conf.py asks before there are any."""
    settings = settings_or_exit(wiring.load_settings)
    _require_files(settings)
    if settings.redis_url is not None:
        return  # it may come later, and /readyz tells
    until = time.monotonic() + _STORE_COMES_WITHIN_SECONDS
    while (reason := _why_not_ready(settings)) and time.monotonic() < until:
        time.sleep(_LOOK_AGAIN_SECONDS)
    if reason:
        click.echo(f"tokensvc does not start: there is no nonce store.\n{reason}\n{_WITHOUT_STORE}", err=True)
        sys.exit(OUTAGE)


def _launch(
    command: Sequence[str],
    environment: Mapping[str, str],
    settings: Settings,
    warnings: Sequence[Fault] = (),
    may_reload: Callable[[], bool] | None = None,
    drain_seconds: float = 0,
) -> NoReturn:
    _require_files(settings)
    for warning in warnings:
        click.echo(f"Warning: {warning}", err=True)
    directory = wiring.store_directory(settings)
    start_store = None if settings.redis_url is not None else (lambda: embedded.start(directory))
    try:
        status = launcher.run(command, environment, start_store, may_reload, drain_seconds)
    except embedded.StoreFault as exc:
        click.echo(f"The embedded nonce store did not start: {exc}", err=True)
        sys.exit(OUTAGE)
    sys.exit(status)


def _require_files(settings: Settings) -> None:
    """Make the folders for uploads, or say why not, before there are workers to fail."""
    if not settings.upload.enabled:
        return
    try:
        wiring.file_store(settings)
    except Outage as exc:
        click.echo(f"tokensvc does not start: {exc.detail}", err=True)
        sys.exit(OUTAGE)


def _may_reload(environment: Mapping[str, str]) -> bool:
    """Workers with a faulty configuration would not start, and gunicorn would end with them."""
    try:
        wiring.load_settings(environment)
    except ConfigurationError as exc:
        tell_faults(exc.faults, "tokensvc does not reload, and goes on with the configuration it has")
        return False
    return True


def _why_not_ready(settings: Settings) -> str:
    try:
        wiring.nonce_store(settings).ready()
    except (ConfigurationError, Outage) as exc:
        return str(exc)
    return ""


def _loopback_host(bind: str) -> str:
    host, _, port = bind.rpartition(":")
    bare = host.strip("[]")
    try:
        is_loopback = bare == "localhost" or ip_address(bare).is_loopback
    except ValueError:
        is_loopback = False
    is_port = port.isascii() and port.isdigit() and 0 < int(port) <= _MAX_PORT
    if not is_loopback or not is_port or (":" in bare and bare == host):  # IPv6 needs its brackets
        raise click.BadParameter(
            f"{bind} is not a loopback address with a port; the development server has demo keys and an open door. "
            "Use 127.0.0.1:PORT, or `tokensvc serve` with a configuration.",
            param_hint="--bind",
        )
    return host
