"""Starts the real service in a process of its own, waits until it is ready, and ends it in the end.

Nothing of the service is imported here: a test sees what an operator sees, a command line, a file and a port.
The log of the service goes to a file, and comes along with every complaint.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.support.canaries import require_silence
from tests.support.tls import Certificate

ROOT: Final = Path(__file__).resolve().parents[2]
START_SECONDS: Final = 60
STOP_SECONDS: Final = 20
CLIENT_MAY_CHOOSE: Final = (
    "fileName",
    "useUniqueFileName",
    "tags",
    "folder",
    "isPrivateFile",
    "customCoordinates",
    "customMetadata",
    "responseFields",
)
"""The v2 parameters that the profiles of the test configuration leave to the client."""

_POLL_SECONDS: Final = 0.05
_LOG_TAIL: Final = 6000
_OWN_SETTINGS: Final = ("TOKENSVC_", "IMAGEKIT_", "REDIS_", "GUNICORN_", "PORT", "WEB_CONCURRENCY")


class NotServingError(Exception):
    """The service did not start, or did not stop; the message ends with its log."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """What a test deployment is made of: one ImageKit key pair and one api key, all random."""

    public_key: str
    private_key: str = field(repr=False)
    api_key: str = field(repr=False)

    @property
    def bearer(self) -> str:
        """The `Authorization` header of the back end that may ask for credentials."""
        return f"Bearer {self.api_key}"


@dataclass(frozen=True, slots=True)
class Service:
    """A running service. `url` is its scheme, host and port; `data_dir` holds its files and its Valkey."""

    url: str
    port: int
    data_dir: Path
    log_path: Path
    secrets: Secrets
    certificate: Certificate | None = None

    def trust(self) -> ssl.SSLContext:
        """A context that checks, and accepts, the certificate of this service and no other."""
        authority = self.certificate.certificate_path if self.certificate else None
        return ssl.create_default_context(cafile=authority)

    def stored_objects(self) -> set[Path]:
        """Every file that the service keeps for good, wherever below `files/objects` it is."""
        return {path for path in (self.data_dir / "files" / "objects").rglob("*") if path.is_file()}


def make_secrets() -> Secrets:
    """Return fresh keys in the shapes that ImageKit and the service use."""
    return Secrets(
        public_key=f"public_{secrets.token_urlsafe(20)}=",
        private_key=f"private_CANARY{secrets.token_urlsafe(20)}=",
        api_key=f"tsk_CANARY{secrets.token_urlsafe(32)}",
    )


def free_port() -> int:
    """Return a loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def write_config(directory: Path, keys: Secrets, url: str, origins: Sequence[str]) -> Path:
    """Write a `tokensvc.toml` and the private key that it names into `directory`, and return its path.

    `/auth` lends credentials for half an hour, `/auth/hour` for the whole hour that the old Android SDKs and
    the documented v2 page ask for. Both listen to the api key of `keys` only.
    """
    private_key_path = directory / "private-key"
    private_key_path.touch(mode=0o600)
    private_key_path.write_text(keys.private_key)
    listed = ", ".join(f'"{origin}"' for origin in origins)
    sha256 = hashlib.sha256(keys.api_key.encode()).hexdigest()
    may_choose = "".join(f"{name} = true\n" for name in CLIENT_MAY_CHOOSE)
    profiles = "".join(
        f'[profiles.{name}]\naccount = "default"\ncallers = ["backend"]\nversions = ["v1", "v2"]\n'
        f'lifetime = {lifetime}\nunissued = "refuse"\n[profiles.{name}.allow]\n{may_choose}'
        for name, lifetime in (("default", 1800), ("hour", 3600))
    )
    path = directory / "tokensvc.toml"
    path.write_text(
        f'[accounts.default]\nurl_endpoint = "{url}/files"\nactive = "{keys.public_key}"\n'
        f"[[accounts.default.keys]]\n"
        f'public_key = "{keys.public_key}"\nprivate_key_file = "{private_key_path}"\n'
        f"[cors]\norigins = [{listed}]\n"
        f'[callers.backend]\nkind = "api_key"\n'
        f'keys = [{{ id = "tests", sha256 = "{sha256}", subject = "tests", may = ["issue"] }}]\n'
        f"{profiles}"
        f'[upload]\nenabled = true\nurl = "{url}"\n'
    )
    return path


@contextlib.contextmanager
def serving(
    directory: Path,
    *,
    origins: Sequence[str] = (),
    workers: int = 1,
    certificate: Certificate | None = None,
) -> Iterator[Service]:
    """Run `tokensvc serve` with an embedded Valkey, all data below `directory`, while the block lasts."""
    port = free_port()
    url = f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
    keys = make_secrets()
    data_dir = directory / "data"
    environment = {
        "TOKENSVC_CONFIG": str(write_config(directory, keys, url, origins)),
        "TOKENSVC_DATA_DIR": str(data_dir),
    }
    if certificate:
        environment["GUNICORN_CMD_ARGS"] = f"--certfile {certificate.certificate_path} --keyfile {certificate.key_path}"
    service = Service(url, port, data_dir, directory / "service.log", keys, certificate)
    arguments = ["serve", "--bind", f"127.0.0.1:{port}", "--workers", str(workers), "--drain", "0"]
    with _running(service, arguments, environment):
        yield service


@contextlib.contextmanager
def developing(directory: Path) -> Iterator[Service]:
    """Run `tokensvc dev`, all data below `directory`, while the block lasts. Its keys are its own."""
    port = free_port()
    data_dir = directory / "data"
    service = Service(f"http://127.0.0.1:{port}", port, data_dir, directory / "service.log", make_secrets())
    with _running(service, ["dev", "--bind", f"127.0.0.1:{port}", "--data", str(data_dir)], {}):
        yield service


@contextlib.contextmanager
def _running(service: Service, arguments: Sequence[str], settings: Mapping[str, str]) -> Iterator[None]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OWN_SETTINGS)}
    path = os.pathsep.join(filter(None, [inherited.get("PYTHONPATH"), str(ROOT)]))
    with service.log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tokensvc", *arguments],
            env={**inherited, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **settings},
            cwd=service.log_path.parent,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _await_ready(service, process)
    except BaseException:
        _kill(process)
        raise
    try:
        yield
    finally:
        seen = b"".join(path.read_bytes() for path in _command_lines(process.pid))
        _stop(service, process)
    require_silence(seen, "A command line")
    require_silence(service.log_path.read_bytes(), f"The log {service.log_path}")


def _command_lines(session: int) -> Iterator[Path]:
    """Those of the processes of a session; some may end while one looks."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.getsid(int(entry.name)) == session and (entry / "cmdline").stat():
                yield entry / "cmdline"


def _await_ready(service: Service, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _is_ready(service):
        if process.poll() is not None:
            raise NotServingError(f"Ended with status {process.returncode}.\n{_log_tail(service)}")
        if time.monotonic() > deadline:
            raise NotServingError(f"No 200 from /readyz in {START_SECONDS} s.\n{_log_tail(service)}")
        time.sleep(_POLL_SECONDS)


def _is_ready(service: Service) -> bool:
    direct = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=service.trust())
    )
    try:
        with direct.open(f"{service.url}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:  # no listener yet, or a status that says "not yet"
        return False


def _stop(service: Service, process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        status = process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        _kill(process)
        raise NotServingError(f"Still there {STOP_SECONDS} s after SIGTERM.\n{_log_tail(service)}") from None
    if status not in (0, -signal.SIGTERM):
        raise NotServingError(f"Ended with status {status}.\n{_log_tail(service)}")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End it and all that it started in its session; what has a session of its own ends with its parent."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _log_tail(service: Service) -> str:
    return service.log_path.read_bytes()[-_LOG_TAIL:].decode(errors="replace")
