"""Workers that are killed while they receive, and a file larger than what a worker may take of memory."""

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
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.films import MP4
from tests.support.object_store import BUCKET, ObjectStore, client_environment, names_in
from tests.support.processes import PATIENCE_SECONDS, until
from tests.support.service import Client, Deployment, Running, serving
from tokensvc.adapters.s3_files import s3_bucket

KILLS = 30
UPLOADS_AT_ONCE = 4
FILM_BYTES = 300_000_000
MOST_GROWTH_BYTES = 64 * 1024 * 1024
BOUNDARY = "AaB03x"


@dataclass
class SlowUpload:
    """An upload whose second half is sent when `go_on` is set."""

    name: str
    content: bytes
    halfway: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def run(self, client: Client) -> bool:
        """Whether it was acknowledged; False if the connection was cut."""
        try:
            fields = {**client.credential(), "fileName": self.name, "useUniqueFileName": "false"}
            head, tail = form_around(fields)
            middle = len(self.content) // 2
            with contextlib.closing(connect(client)) as connection:
                begin(connection, len(head) + len(self.content) + len(tail))
                connection.send(head + self.content[:middle])
                self.halfway.set()
                assert self.go_on.wait(PATIENCE_SECONDS)
                connection.send(self.content[middle:] + tail)
                answer = connection.getresponse()
                body = answer.read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            self.halfway.set()
        assert answer.status == 200, body
        return True


def form_around(fields: dict[str, str]) -> tuple[bytes, bytes]:
    """What stands before and after the file of a form."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
        for name, text in fields.items()
    ]
    parts.append(f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n')
    return "".join(parts).encode(), f"\r\n--{BOUNDARY}--\r\n".encode()


def connect(client: Client) -> http.client.HTTPConnection:
    assert isinstance(client.address, int)
    connection = http.client.HTTPConnection("127.0.0.1", client.address, timeout=PATIENCE_SECONDS)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def begin(connection: http.client.HTTPConnection, length: int, path: str = "/api/v1/files/upload") -> None:
    connection.putrequest("POST", path)
    connection.putheader("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")
    connection.putheader("Content-Length", str(length))
    connection.endheaders()


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def made_old(folder: Path) -> None:
    """All that lies there, as if nobody had written to it for two hours; and a sweep is due."""
    (folder / "sweep.lock").unlink(missing_ok=True)
    then = time.time() - 7200
    for path in files_below(folder):
        os.utime(path, (then, then))


def test_thirty_killed_workers_lose_nothing_that_was_acknowledged_and_leave_nothing_to_a_sweep(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    deployment = Deployment(tmp_path_factory.mktemp("k"))
    deployment.write()
    files = deployment.data / "files"
    rng = random.Random(seed := secrets.randbits(32))
    acknowledged: dict[str, bytes] = {}
    tried: dict[str, bytes] = {}
    in_flight = 0
    with serving(deployment) as (service, client), ThreadPoolExecutor(UPLOADS_AT_ONCE) as threads:
        for kill in range(KILLS):
            uploads = [
                SlowUpload(f"{kill}-{number}.bin", rng.randbytes(rng.randrange(1, 2_000_000)))
                for number in range(UPLOADS_AT_ONCE)
            ]
            running = [threads.submit(upload.run, client) for upload in uploads]
            for upload in uploads:
                assert upload.halfway.wait(PATIENCE_SECONDS)
            release(rng, uploads)
            in_flight += sum(not each.done() for each in running)
            kill_one(service, rng)
            for upload in uploads:
                upload.go_on.set()
            tried |= {upload.name: upload.content for upload in uploads}
            acknowledged |= acknowledged_of(uploads, running)
        for name, content in acknowledged.items():
            assert client.request("GET", f"/files/{quote(name)}").body == content
        visible = {name for name in tried if client.request("GET", f"/files/{quote(name)}").status == 200}
        for name in visible:  # an acknowledgement may be lost, and then the file is there, whole
            assert client.request("GET", f"/files/{quote(name)}").body == tried[name]
    debris = len(files_below(files / "incoming"))
    made_old(files)
    with serving(deployment) as (_, client):
        until(lambda: not files_below(files / "incoming"))
        until(lambda: len(files_below(files / "objects")) == len(visible))
        assert len(files_below(files / "index")) == len(visible)
        for name in visible:
            assert client.request("GET", f"/files/{quote(name)}").body == tried[name]
    sys.stdout.write(
        f"\n{KILLS} workers killed (seed {seed}) with {in_flight} uploads in flight: {len(acknowledged)} of "
        f"{len(tried)} acknowledged and all of these there, {debris} pieces of debris swept\n"
    )
    assert visible >= acknowledged.keys()
    assert in_flight >= KILLS
    assert debris > 0
    assert 0 < len(acknowledged) < len(tried)


def release(rng: random.Random, uploads: list[SlowUpload]) -> None:
    """Let some of them go on, and wait a little, so that the kill comes at any point of their ends."""
    for upload in rng.sample(uploads, rng.randrange(len(uploads))):
        upload.go_on.set()
    time.sleep(rng.random() * 0.03)


def kill_one(service: Running, rng: random.Random) -> None:
    """Kill a worker, and wait until another is in its place."""
    before = service.workers
    assert len(before) == 2
    os.kill(victim := rng.choice(sorted(before)), signal.SIGKILL)
    until(lambda: len(service.workers - {victim}) == 2)


def acknowledged_of(uploads: list[SlowUpload], running: list[Future[bool]]) -> dict[str, bytes]:
    return {
        upload.name: upload.content
        for upload, future in zip(uploads, running, strict=True)
        if future.result(PATIENCE_SECONDS)
    }


@pytest.fixture(params=["disk", "bucket"])
def deployment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A paid plan, and files kept on the disk or in a bucket. What is large is gone at the end."""
    made = Deployment(tmp_path_factory.mktemp("b"))
    plan = '[upload.plan]\nname = "paid-2023"\n'
    if request.param == "disk":
        made.write(plan)
        yield made
        for path in files_below(made.data / "files"):
            path.unlink()
    else:
        server: ObjectStore = request.getfixturevalue("object_store")
        prefix = f"film/{secrets.token_hex(8)}"
        made.write(f'[upload]\nstore = "s3://{BUCKET}/{prefix}"\n{plan}')
        with client_environment(server.environment):
            yield made
            assert len(names_in(s3_bucket(BUCKET, prefix, allow_http=True))) == 4  # two files, a document each


def test_a_film_of_300_mb_takes_less_than_64_mb_of_memory(deployment: Deployment) -> None:
    with serving(deployment, "--workers", "1") as (service, client):
        assert client.upload(client.credential()).status == 200
        (worker,) = service.workers
        before = memory(worker, "VmRSS")
        sent = upload_film(client)
        after_upload = memory(worker, "VmHWM")
        assert download(client, "/files/film.mp4") == sent
        after_download = memory(worker, "VmHWM")
        assert service.workers == {worker}
        grown, served = after_upload - before, after_download - before
        sys.stdout.write(
            f"\n{FILM_BYTES:,} bytes: {before:,} bytes resident before, at most {grown:,} more while receiving, "
            f"{served:,} more when it was served too\n"
        )
        assert grown < MOST_GROWTH_BYTES
        assert served < MOST_GROWTH_BYTES


def memory(worker: int, name: str) -> int:
    """Bytes of a process that are resident, or have been at most."""
    lines = Path(f"/proc/{worker}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


def upload_film(client: Client) -> str:
    """Send as many bytes as the plan allows a film, piece by piece; their SHA-256."""
    fields = {**client.credential(), "fileName": "film.mp4", "useUniqueFileName": "false"}
    head, tail = form_around(fields)
    sha256, padding = hashlib.sha256(), secrets.token_bytes(1_000_000)
    with contextlib.closing(connect(client)) as connection:
        begin(connection, len(head) + FILM_BYTES + len(tail))
        connection.send(head)
        left, sent = FILM_BYTES, MP4
        while left:
            connection.send(sent)
            sha256.update(sent)
            left -= len(sent)
            sent = padding[:left]
        connection.send(tail)
        answer = connection.getresponse()
        body = answer.read()
    assert answer.status == 200, body
    told = json.loads(body)
    assert (told["size"], told["width"], told["height"], told["duration"]) == (FILM_BYTES, 32, 24, 1)
    return sha256.hexdigest()


def download(client: Client, path: str) -> str:
    sha256 = hashlib.sha256()
    with contextlib.closing(connect(client)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        assert answer.status == 200
        while piece := answer.read(1 << 20):
            sha256.update(piece)
    return sha256.hexdigest()
