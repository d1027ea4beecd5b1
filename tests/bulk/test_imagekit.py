"""To ImageKit's own address: over TLS, through a proxy, which leads it to a server of ours."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from tests.support.processes import PATIENCE_SECONDS
from tests.support.server import Service, serving
from tests.support.service import clean_environment
from tests.support.tls import UPLOAD_HOST, make_certificate

if TYPE_CHECKING:
    from collections.abc import Iterator


class Tunnels:
    """An HTTP proxy that knows CONNECT, notes for whom, and leads everybody to one port."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked: list[str] = []
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._lead, args=(client,)))
                self._threads[-1].start()

    def _lead(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._to)) as server, contextlib.suppress(OSError):
            asked = b""
            while b"\r\n\r\n" not in asked:
                asked += client.recv(4096)
            self.asked.append(asked.split(b"\r\n")[0].decode())
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            while True:
                readable, _, _ = select.select([client, server], [], [])
                for one, other in ((client, server), (server, client)):
                    if one in readable:
                        piece = one.recv(65_536)
                        if not piece:
                            return
                        other.sendall(piece)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with tempfile.TemporaryDirectory(prefix="bulk-") as name:
        directory = Path(name)
        with serving(directory, certificate=make_certificate(directory)) as service:
            yield service


def upload(service: Service, proxy: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    certificate = service.certificate
    assert certificate is not None
    to = ["--to", f"https://{UPLOAD_HOST}/api/v1/files/upload", "--auth", service.url, "--tries", "1", "--json"]
    return subprocess.run(
        [sys.executable, "-m", "tokensvc", "upload", ".", *to],
        cwd=folder,
        env=clean_environment(
            {
                "TOKENSVC_API_KEY": service.secrets.api_key,
                "HTTPS_PROXY": proxy,
                "SSL_CERT_FILE": str(certificate.certificate_path),
                **settings,
            }
        ),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def test_it_goes_to_imagekit_through_a_proxy_and_the_credentials_come_from_the_service(
    service: Service, tmp_path: Path
) -> None:
    for number in range(5):
        (tmp_path / f"{number}.txt").write_text(f"{number}")
    with Tunnels(service.port) as proxy:
        told = upload(service, proxy.url, tmp_path)
    assert told.returncode == 0, told.stderr
    assert [json.loads(line)["outcome"] for line in told.stdout.splitlines()] == ["stored"] * 5
    assert {line.rpartition(" ")[0] for line in proxy.asked} == {f"CONNECT {UPLOAD_HOST}:443"}
    assert len(service.stored_objects()) == 5


def test_a_server_that_cannot_show_who_it_is_gets_nothing(service: Service, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    before = service.stored_objects()
    with Tunnels(service.port) as proxy:
        told = upload(service, proxy.url, tmp_path, SSL_CERT_FILE="/dev/null")
    assert told.returncode == 3
    assert "TLS failed: CERTIFICATE_VERIFY_FAILED" in told.stderr
    assert service.stored_objects() == before
