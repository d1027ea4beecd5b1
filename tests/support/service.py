"""tokensvc as an operator runs it: a command, its processes by their part, and a client that never tries again.

Each command carries a mark in its environment, by which everything that descends from it is found.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from tests.support.canaries import never_say, require_silence
from tests.support.processes import PATIENCE_SECONDS, alive, end_all, inside, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT: Final = Path(__file__).resolve().parents[2]
_OURS: Final = ("TOKENSVC_", "IMAGEKIT_", "REDIS_", "GUNICORN_", "PORT", "WEB_CONCURRENCY")
_MARK: Final = "TOKENSVC_TEST_MARK"
_TCP_ESTABLISHED_PORTS_FROM: Final = 32_768


@dataclass(frozen=True, slots=True)
class Deployment:
    """A folder with a configuration, a data directory and logs; its keys are new."""

    folder: Path
    public_key: str = field(default_factory=lambda: f"public_{secrets.token_hex(14)}")
    private_key: str = field(default_factory=lambda: f"private_CANARY{secrets.token_hex(14)}")
    api_key: str = field(default_factory=lambda: f"tsk_CANARY{secrets.token_hex(14)}")

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.folder / "d"

    @property
    def toml(self) -> Path:
        """The configuration file."""
        return self.folder / "tokensvc.toml"

    def write(self, more: str = "") -> None:
        """Write the configuration: one api key, one profile, and what is added. The account is in the environment."""
        digest = hashlib.sha256(self.api_key.encode()).hexdigest()
        self.toml.write_text(
            f'[callers.backend]\nkind = "api_key"\nkeys = [{{ id = "t", sha256 = "{digest}", subject = "t" }}]\n'
            f'[profiles.default]\ncallers = ["backend"]\nlifetime = 3600\n{more}'
        )

    @property
    def environment(self) -> dict[str, str]:
        """What tells a process of this configuration."""
        return {
            "IMAGEKIT_PUBLIC_KEY": self.public_key,
            "IMAGEKIT_PRIVATE_KEY": self.private_key,
            "TOKENSVC_CONFIG": str(self.toml),
            "TOKENSVC_DATA_DIR": str(self.data),
        }


def clean_environment(settings: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without anything that tokensvc reads, and with `settings`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    path = os.pathsep.join(filter(None, [str(ROOT), kept.get("PYTHONPATH")]))
    return {**kept, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **(settings or {})}


def tokensvc(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, in an empty folder's stead in /."""
    told = subprocess.run(
        [sys.executable, "-m", "tokensvc", *arguments],
        env=clean_environment(settings),
        cwd="/",
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    require_silence(told.stdout + told.stderr, f"What tokensvc {arguments[0]} says", log=False)
    return told


def free_port() -> int:
    """A loopback port that is free now, from where the system does not take those of outgoing connections."""
    while True:
        port = random.randint(10_000, _TCP_ESTABLISHED_PORTS_FROM - 1)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Running:
    """A command that runs, and everything that it started."""

    def __init__(
        self, command: Sequence[str], settings: Mapping[str, str], *, log: Path, data: Path, cwd: Path | None = None
    ) -> None:
        self.mark = secrets.token_hex(8)
        self.data = data
        self.log_path = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                list(command),
                env={**clean_environment(settings), _MARK: self.mark},
                cwd=cwd or ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,  # as a shell does
            )

    @property
    def log(self) -> str:
        """All that was said so far."""
        return self.log_path.read_text(errors="replace")

    def all(self) -> set[int]:
        """Every process that descends from the command, and whatever works in its data directory."""
        return _marked(f"{_MARK}={self.mark}") | inside(self.data)

    @property
    def master(self) -> int:
        """gunicorn's master process."""
        return next(pid for pid in _children(self.process.pid) if "gunicorn" in _command_line(pid))

    @property
    def workers(self) -> set[int]:
        """gunicorn's workers."""
        return _children(self.master)

    @property
    def supervisor(self) -> int:
        """The supervisor of the embedded store."""
        return next(pid for pid in _children(self.process.pid) if "tokensvc.adapters.embedded" in _command_line(pid))

    @property
    def valkey(self) -> int:
        """The embedded store's server."""
        return int((self.data / "store" / "server.pid").read_text())

    def command_lines(self) -> str:
        """Those of all its processes."""
        return "\n".join(_command_line(pid) for pid in self.all())

    def send(self, number: signal.Signals) -> None:
        """A signal for the command's process alone."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end, and for that of all its descendants; the exit status of the command."""
        status = self.process.wait(PATIENCE_SECONDS)
        until(lambda: not self.all())
        return status

    def stop(self) -> int:
        """End it as an operator does; the exit status."""
        self.send(signal.SIGTERM)
        return self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_exc: object) -> None:
        """Leave nothing behind, whatever the test did; and fail if something secret was said."""
        seen = self.command_lines()
        if self.process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.send(signal.SIGTERM)
                self.process.wait(20)
        end_all(self.all())
        self.process.wait()
        if kind is None:
            require_silence(seen, "A command line")
            require_silence(self.log_path.read_bytes(), f"The log {self.log_path}")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Client:
    """One connection a request, and no second try. `address` is a port of this machine or a unix socket."""

    address: int | Path
    api_key: str = field(default="", repr=False)

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Ask once; raises OSError or http.client's errors if no answer comes."""
        with contextlib.closing(http.client.HTTPConnection("localhost", timeout=PATIENCE_SECONDS)) as connection:
            connection.sock = self._connect()
            connection.request(method, path, body, {"Connection": "close", **(headers or {})})
            answer = connection.getresponse()
            headers, body = {k.lower(): v for k, v in answer.getheaders()}, answer.read()
            require_silence(f"{headers}".encode() + body, f"The answer to {method} {path}", log=path == "/metrics")
            return Answer(answer.status, headers, body)

    def _connect(self) -> socket.socket:
        if isinstance(self.address, int):
            return socket.create_connection(("127.0.0.1", self.address), timeout=PATIENCE_SECONDS)
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(PATIENCE_SECONDS)
            connection.connect(str(self.address))
        except BaseException:
            connection.close()
            raise
        return connection

    def issue(self) -> Answer:
        """Fetch a v1 credential with the api key."""
        return self.request("GET", "/auth", headers={"Authorization": f"Bearer {self.api_key}"})

    def credential(self) -> dict[str, str]:
        """A v1 credential as the fields of an upload."""
        answer = self.issue()
        assert answer.status == 200, answer
        credential = {name: str(value) for name, value in answer.json.items()}
        never_say(credential["token"], credential["signature"])
        return credential

    def upload(self, credential: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Answer:
        """Spend a v1 credential on a small file."""
        boundary = secrets.token_hex(8)
        fields = {"fileName": "note.txt", **credential}
        parts = [f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}' for name, value in fields.items()]
        parts.append('Content-Disposition: form-data; name="file"; filename="note.txt"\r\n\r\nhello')
        body = "".join(f"--{boundary}\r\n{part}\r\n" for part in parts) + f"--{boundary}--\r\n"
        kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return self.request("POST", "/api/v1/files/upload", body.encode(), {**kind, **(headers or {})})

    def is_ready(self) -> bool:
        """Whether it says that credentials can be issued and redeemed."""
        try:
            return self.request("GET", "/readyz").status == 200
        except (OSError, http.client.HTTPException):
            return False


@contextlib.contextmanager
def serving(deployment: Deployment, *options: str, **settings: str) -> Iterator[tuple[Running, Client]]:
    """`tokensvc serve` on a port of its own, ready, while the block lasts."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "tokensvc",
        "serve",
        "--bind",
        f"127.0.0.1:{port}",
        "--workers",
        "2",
        "--drain",
        "0",
        *options,
    ]
    client = Client(port, deployment.api_key)
    with running(command, deployment, client, **settings) as service:
        yield service, client


@contextlib.contextmanager
def running(command: Sequence[str], deployment: Deployment, client: Client, **settings: str) -> Iterator[Running]:
    """A command of this deployment, once the client is told that it is ready, while the block lasts."""
    environment = {**deployment.environment, **settings}
    with Running(command, environment, log=deployment.folder / "log", data=deployment.data) as service:
        await_ready(service, client)
        yield service


def await_ready(service: Running, client: Client) -> None:
    """Wait until it is ready; fail with its log if it ends."""

    def ready() -> bool:
        assert service.process.poll() is None, f"ended with {service.process.returncode}:\n{service.log}"
        return client.is_ready()

    until(ready)


def _marked(mark: str) -> set[int]:
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and alive(int(entry.name)):
            with contextlib.suppress(OSError):
                if mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found.add(int(entry.name))
    return found


def _children(parent: int) -> set[int]:
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and alive(int(entry.name)):
            with contextlib.suppress(OSError):
                if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                    found.add(int(entry.name))
    return found


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
