"""Uploads of 5 MB: to the service's own endpoint, and by PUT to nginx, which writes the same bytes to disk."""

from __future__ import annotations

import http.client
import os
import threading
import time
from collections.abc import Sequence
from itertools import count

from .load import Answered
from .service import fetch_credentials

BYTES = 5 * 1000 * 1000
_CONNECTIONS = 4
_FILE = os.urandom(BYTES)
_BOUNDARY = "------------------------benchmark"
_number = count()

Request = tuple[str, str, dict[str, str], bytes]
"""Method, path, headers, body."""


def to_service(port: int, uploads: int) -> list[Request]:
    """Each with a credential of its own, fetched for it now."""
    headers = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
    requests: list[Request] = []
    for credential in fetch_credentials(port, uploads, "files"):
        fields = {"fileName": "picture.bin", **{name: str(value) for name, value in credential.items()}}
        parts = "".join(_part(f'name="{name}"', value) for name, value in fields.items())
        opening = parts + _part('name="file"; filename="picture.bin"', "").removesuffix("\r\n")
        body = opening.encode() + _FILE + f"\r\n--{_BOUNDARY}--\r\n".encode()
        requests.append(("POST", "/api/v1/files/upload", headers, body))
    return requests


def to_nginx(_port: int, uploads: int) -> list[Request]:
    """Each to a file of its own."""
    return [("PUT", f"/files/{next(_number)}.bin", {}, _FILE) for _ in range(uploads)]


def _part(named: str, value: str) -> str:
    return f"--{_BOUNDARY}\r\nContent-Disposition: form-data; {named}\r\n\r\n{value}\r\n"


def send(port: int, requests: Sequence[Request]) -> Answered:
    """Send each request once, over some connections at a time. SystemExit if any answer is not a yes."""
    waiting, took = list(requests), list[float]()
    failed: list[str] = []

    def work() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while waiting and not failed:
            took.append(_ask(connection, *waiting.pop(), failed))
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(_CONNECTIONS)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise SystemExit(f"an upload failed: {failed[0]}")
    took.sort()
    seconds = time.monotonic() - started
    return Answered(len(took), seconds, took[len(took) // 2], took[len(took) * 99 // 100], took[-1])


def _ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes,
    failed: list[str],
) -> float:
    """Milliseconds until the answer was there."""
    started = time.monotonic()
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status not in (200, 201, 204):
        failed.append(f"{answer.status} {text[:500]!r}")
    return (time.monotonic() - started) * 1000
