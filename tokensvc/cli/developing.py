"""`tokensvc dev`: the whole loop on one machine, with faults and a clock to set."""

from __future__ import annotations

import ctypes
import os
import secrets
import signal
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Final, TypeVar

import click

from tokensvc import __version__, launcher, wiring
from tokensvc.dev import home
from tokensvc.dev.emulation import ClockSetting, Emulation, EmulationFile
from tokensvc.dev.faults import NAMES, parse_faults

from .running import launch, log_options
from .telling import settings_or_exit

_MAX_PORT: Final = 65_535
_MOST_SEED: Final = 2**31 - 1
_PR_SET_PDEATHSIG: Final = 1
_NOT_FOR_THE_DEMO: Final = (  # it has keys, an address and workers of its own
    "IMAGEKIT_PUBLIC_KEY",
    "IMAGEKIT_PRIVATE_KEY",
    "IMAGEKIT_URL_ENDPOINT",
    "PORT",
    "WEB_CONCURRENCY",
)
_T = TypeVar("_T")


@click.command(name="dev")
@click.option("--bind", default="127.0.0.1:8000", show_default=True, metavar="HOST:PORT", help="Loopback address.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Data directory. [default: var]")
@click.option(
    "--origin", "origins", multiple=True, help="Origin of a front end of yours, such as http://localhost:5173."
)
@click.option(
    "--fault", "faults", multiple=True, metavar="NAME=VALUE", help=f"What goes wrong: {', '.join(NAMES.values())}."
)
@click.option(
    "--clock", default="now", metavar="TIME", help="Its clock: an offset (+300s), or a time at which it stands."
)
@click.option("--seed", type=click.IntRange(0, _MOST_SEED), help="Repeats which requests the faults hit.")
@click.option("--end-with-parent", is_flag=True, help="End when the process that started this one does.")
def dev_command(
    *,
    bind: str,
    data: Path | None,
    origins: tuple[str, ...],
    faults: tuple[str, ...],
    clock: str,
    seed: int | None,
    end_with_parent: bool,
) -> None:
    """Run the whole loop on this machine: demo keys, demo sign-in, embedded Valkey, upload API and page.

    Faults, a clock and a reset for test suites are in docs/testing.md.
    """
    if end_with_parent:
        _end_with_parent()
    host = _loopback_host(bind)
    emulation = Emulation(
        tuple(fault.text for fault in _read("--fault", lambda: parse_faults(faults))),
        secrets.randbelow(_MOST_SEED) if seed is None else seed,
        _read("--clock", lambda: ClockSetting.parse(clock)),
    )
    environment = dict(wiring.environment())
    directory = (data or Path(environment.get("TOKENSVC_DATA_DIR") or "var")).absolute()
    try:
        demo = home.prepare(directory, host=host, origins=origins)
        EmulationFile(home.home_of(directory), wiring.clock).begin(emulation)
    except OSError as exc:
        raise click.BadParameter(f"{directory} cannot be used: {exc.strerror}.", param_hint="--data") from None
    for name in _NOT_FOR_THE_DEMO:
        environment.pop(name, None)
        environment.pop(f"{name}_FILE", None)
    environment |= {"TOKENSVC_CONFIG": str(demo.configuration), "TOKENSVC_DATA_DIR": str(directory)}
    environment["TOKENSVC_LOG"] = environment.get("TOKENSVC_LOG") or "console"
    settings = settings_or_exit(lambda: wiring.load_settings(environment, demo=True))
    click.echo(
        f"tokensvc {__version__}, development server\n"
        f"  page         http://{bind}/\n"
        f'  credential   curl -H "Authorization: Bearer $(cat {demo.api_key_file})" http://{bind}/auth\n'
        f"  public key   {demo.public_key}   (private key: {demo.configuration.parent / 'private-key'})\n"
        f"  data         {directory}"
    )
    if emulation.in_words:
        click.echo(f"  SWITCHED ON  {emulation.in_words}")
    click.echo("Ctrl-C ends it.")
    extra = ["--graceful-timeout", "5", *log_options(settings)]
    command = launcher.gunicorn_command(bind, 2, "tokensvc.dev.application:create()", extra)
    launch(command, environment, settings)


def _end_with_parent() -> None:
    """Be told by the kernel, so that a test run that is killed leaves no server behind."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        raise click.exceptions.Exit(0)


def _read(option: str, read: Callable[[], _T]) -> _T:
    try:
        return read()
    except ValueError as exc:
        raise click.BadParameter(str(exc), param_hint=option) from None


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
