"""The command line. Exit status: 0 yes, 1 refused, 2 usage or configuration, 3 outage."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import click

from tokensvc import __version__, config, dev, launcher, wiring
from tokensvc.adapters import embedded
from tokensvc.adapters.api_keys import new_api_key
from tokensvc.adapters.embedded.__main__ import main as run_store
from tokensvc.config import ConfigurationError, Settings

_USAGE: Final = 2
_OUTAGE: Final = 3


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="tokensvc")
def main() -> None:
    """Issue single-use ImageKit upload credentials, and serve ImageKit's upload API."""


@main.command(name="dev")
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
    demo = dev.prepare(directory, host=host, origins=origins)
    for name in (
        "IMAGEKIT_PUBLIC_KEY",
        "IMAGEKIT_PRIVATE_KEY",
        "IMAGEKIT_URL_ENDPOINT",
    ):  # the demo has keys of its own
        environment.pop(name, None)
        environment.pop(f"{name}_FILE", None)
    environment |= {"TOKENSVC_CONFIG": str(demo.configuration), "TOKENSVC_DATA_DIR": str(directory)}
    click.echo(
        f"tokensvc {__version__}, development server\n"
        f"  page         http://{bind}/\n"
        f'  credential   curl -H "Authorization: Bearer $(cat {demo.api_key_file})" http://{bind}/auth\n'
        f"  public key   {demo.public_key}   (private key: {demo.configuration.parent / 'private-key'})\n"
        f"  data         {directory}\n"
        "Ctrl-C ends it."
    )
    _serve(environment, bind, 2, ["--graceful-timeout", "5"])


@main.command()
@click.option("--bind", metavar="HOST:PORT", help="Address to listen on. [default: 0.0.0.0:$PORT, 8000]")
@click.option("--workers", type=click.IntRange(1, 64), help="Worker processes. [default: WEB_CONCURRENCY, else cores]")
def serve(bind: str | None, workers: int | None) -> None:
    """Run in production: configuration from the environment and tokensvc.toml.

    With no REDIS_URL a Valkey of our own is started in the data directory and stopped after the workers.
    """
    environment = dict(wiring.environment())
    bind = bind or f"0.0.0.0:{environment.get('PORT') or 8000}"
    _serve(environment, bind, workers or _workers(environment), [])


@main.command()
def store() -> None:
    """Run only the embedded nonce store of the data directory, for a gunicorn started by other means."""
    sys.exit(run_store([str(wiring.store_directory(_settings(wiring.load_settings)))]))


@main.group()
def keys() -> None:
    """Make keys."""


@keys.command(name="new")
@click.option("--id", "identifier", default="backend", show_default=True, help="Name of the key, for logs.")
@click.option("--subject", default="backend", show_default=True, help="Whom credentials are issued to.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def new_key(identifier: str, subject: str, as_json: bool) -> None:
    """Make an api key. Its text is shown once; only its SHA-256 is configured."""
    text, digest = new_api_key(wiring.chance)
    if as_json:
        click.echo(json.dumps({"api_key": text, "id": identifier, "subject": subject, "sha256": digest}))
        return
    entry = (
        f'{{ id = {json.dumps(identifier)}, sha256 = "{digest}", subject = {json.dumps(subject)}, may = ["issue"] }}'
    )
    click.echo(f"{text}\n\nKeep it secret; it is not shown again. In tokensvc.toml:\n")
    click.echo(f'[callers.backend]\nkind = "api_key"\nkeys = [{entry}]')


def _serve(environment: dict[str, str], bind: str, workers: int, options: list[str]) -> None:
    settings = _settings(lambda: config.load(environment))
    directory = wiring.store_directory(settings)
    start = None if settings.redis_url is not None else (lambda: embedded.start(directory))
    try:
        status = launcher.run(launcher.gunicorn_command(bind, workers, options), environment, start)
    except embedded.StoreFault as exc:
        click.echo(f"The embedded nonce store did not start: {exc}", err=True)
        sys.exit(_OUTAGE)
    sys.exit(status)


def _settings(load: Callable[[], Settings]) -> Settings:
    try:
        return load()
    except ConfigurationError as exc:
        count = len(exc.faults)
        click.echo(f"tokensvc does not start: {count} fault{'s' * (count != 1)} in the configuration.", err=True)
        for fault in exc.faults:
            click.echo(f"  {fault.place}: {fault.what}" + (f"\n      {fault.remedy}" if fault.remedy else ""), err=True)
        click.echo("To try it out without configuration: tokensvc dev", err=True)
        sys.exit(_USAGE)


def _workers(environment: dict[str, str]) -> int:
    given = environment.get("WEB_CONCURRENCY", "")
    return int(given) if given.isdigit() and int(given) else len(os.sched_getaffinity(0))


def _loopback_host(bind: str) -> str:
    host, _, port = bind.rpartition(":")
    bare = host.strip("[]")
    try:
        is_loopback = bare == "localhost" or ip_address(bare).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback or not port.isdigit():
        raise click.BadParameter(
            f"{bind} is not a loopback address with a port; the development server has demo keys and an open door. "
            "Use 127.0.0.1:PORT, or `tokensvc serve` with a configuration.",
            param_hint="--bind",
        )
    return host


if __name__ == "__main__":
    main()
