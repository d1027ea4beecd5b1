"""The service as `tokensvc serve` runs it, with real api keys, a profile with limits, and the embedded store."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import processes
from .load import raw
from .processes import Running

PRIVATE_KEY = "private_benchmark_0123456789abcdef"
PUBLIC_KEY = "public_benchmark"
BATCH_KEYS = tuple(f"tsk_benchmark_{number}" for number in range(16))
"""Of batches each may have a hundred a second, by the highest rate that there is, and eight would ask for more."""

API_KEYS = BATCH_KEYS[:8]

BATCH_SECONDS = 1.0
"""A round of batches is no longer: 100,000 records a second, which stay for more than a minute, soon fill the store."""

PARAMETERS = {
    "fileName": "picture-########.jpg",
    "folder": "/users/bench",
    "tags": "summer,dress",
    "useUniqueFileName": "true",
    "isPrivateFile": "false",
    "customMetadata": '{"sku":"B-17"}',
}
"""Of a v2 credential: six, and each time another name."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is configured; the curves vary it."""

    workers: int = 2
    keys: int = len(BATCH_KEYS)
    profiles: int = 2
    limits: bool = True


def configuration(size: Size) -> str:
    """The text of `tokensvc.toml`. Credentials live for a minute only, so that the store's file stays small."""
    names = [*BATCH_KEYS, *(f"tsk_unused_{number}" for number in range(size.keys - len(BATCH_KEYS)))][: size.keys]
    keys = ",\n".join(
        f'{{ id = "k{number}", sha256 = "{hashlib.sha256(name.encode()).hexdigest()}", subject = "bench-{number}", '
        'may = ["issue", "redeem"] }'
        for number, name in enumerate(names)
    )
    unused = "".join(_UNUSED_PROFILE.format(number) for number in range(size.profiles - 2))
    return _CONFIGURATION.replace("KEYS", keys).replace("LIMITS", _LIMITS if size.limits else "") + unused


_CONFIGURATION = f"""
[[accounts.default.keys]]
public_key = "{PUBLIC_KEY}"
private_key = "{PRIVATE_KEY}"
[accounts.default]
active = "{PUBLIC_KEY}"
[callers.backend]
kind = "api_key"
keys = [KEYS]
[profiles.default]
callers = ["backend"]
lifetime = 60
allow = {{ fileName = true, folder = "/users/*", tags = true, useUniqueFileName = true, isPrivateFile = ["false"], \
customMetadata = true }}
[profiles.default.limits]
max_bytes = "25MB"
types = ["image/*", "video/mp4"]
LIMITS
[profiles.files]
callers = ["backend"]
lifetime = 60
"""
_LIMITS = 'rate = "10000/second"\nper_day = 1000000000'
_UNUSED_PROFILE = """
[profiles.unused-{}]
callers = ["backend"]
force = {{ folder = "/users/{{subject}}" }}
limits = {{ rate = "60/minute", max_bytes = "5MB", types = ["image/*"] }}
"""


_OF_ITS_OWN = Path(sys.prefix) / "service" / "bin" / "python"
"""Where only requirements.lock is installed, as where it is deployed; made by `make bench`. Some packages that tests
bring are loaded by those that the service needs: OpenTelemetry by redis-py, rich by structlog."""

_PYTHON, ENVIRONMENT = (
    (str(_OF_ITS_OWN), "an environment of its own")
    if _OF_ITS_OWN.exists()
    else (sys.executable, "this program's environment")
)


@contextmanager
def service(folder: Path, size: Size | None = None, store: str = "") -> Iterator[Running]:
    """Run it in a folder of its own, on its own store unless another's address is given."""
    size = size or Size()
    folder.mkdir()
    (folder / "tokensvc.toml").write_text(configuration(size))
    environment = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
    environment |= {"TOKENSVC_CONFIG": str(folder / "tokensvc.toml"), "TOKENSVC_DATA_DIR": str(folder / "var")}
    if store:
        environment["REDIS_URL"] = store
    port = processes.free_port()
    command = [_PYTHON, "-m", "tokensvc", "serve", "--bind", f"127.0.0.1:{port}", "--workers", str(size.workers)]
    with processes.server(command, environment, port, folder / "log", ("/auth", _as(API_KEYS[0]))) as running:
        try:
            yield running
        except SystemExit as exc:
            raise SystemExit(f"{exc}\n{_troubles(folder / 'log')}") from exc


def _troubles(log: Path) -> str:
    """The last lines of its log that are not about daily business."""
    lines = [line for line in log.read_text().splitlines() if '"level": "info"' not in line]
    return "\n".join(lines[-10:])


def _as(api_key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_key}"}


def v1_requests() -> list[bytes]:
    """One for each caller."""
    return [raw("GET", "/auth", _as(key)) for key in API_KEYS]


def v2_requests() -> list[bytes]:
    """One for each caller, with six parameters."""
    body = json.dumps({"uploadPayload": PARAMETERS})
    return [raw("POST", "/auth", _as(key) | {"Content-Type": "application/json"}, body) for key in API_KEYS]


def batch_requests(version: str, count: int) -> list[bytes]:
    """One for each caller, of so many credentials."""
    uploads = [{**PARAMETERS, "fileName": f"########-{place}.jpg"} for place in range(count)]
    asked = {"version": "v1", "count": count} if version == "v1" else {"version": "v2", "uploads": uploads}
    return [raw("POST", "/auth/batch", _as(key), json.dumps(asked)) for key in BATCH_KEYS]


def fetch_credentials(port: int, count: int, profile: str = "default") -> list[dict[str, Any]]:
    """So many v1 credentials, fetched in batches."""
    credentials: list[dict[str, Any]] = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    path = "/auth/batch" if profile == "default" else f"/auth/{profile}/batch"
    while len(credentials) < count:
        key = API_KEYS[len(credentials) // 100 % len(API_KEYS)]
        connection.request("POST", path, json.dumps({"version": "v1", "count": 100}), _as(key))
        answer = connection.getresponse()
        credentials += json.loads(answer.read())["credentials"]
    connection.close()
    return credentials[:count]


def issue(port: int, count: int) -> None:
    """Fetch so many v1 credentials, one after the other."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for _ in range(count):
        connection.request("GET", "/auth", headers=_as(API_KEYS[0]))
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"unexpected status {answer.status}")
    connection.close()


def redeem_requests(port: int, count: int) -> list[bytes]:
    """Each spends another credential, fetched for it now."""
    headers = _as(API_KEYS[0]) | {"Content-Type": "application/json"}
    return [
        raw("POST", "/redeem", headers, json.dumps({"version": "v1", **credential}))
        for credential in fetch_credentials(port, count)
    ]
