"""A real server that speaks S3: SeaweedFS, one process, on loopback ports, with a bucket and a key of its own.

It tells its maker how it is used unless it is told not to; here it is.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sysconfig
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import obstore
from obstore.store import S3Store

from tests.support.processes import until
from tests.support.topologies import free_ports
from tokensvc.adapters.s3_files import s3_bucket

BUCKET = "uploads"


class ObjectStore:
    """The server. `environment` is what a client of it needs, as any client of S3 would be given it."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="s3-"))
        names = [f"{server}.port{kind}" for server in ("master", "volume", "filer", "s3") for kind in ("", ".grpc")]
        self._ports = dict(zip(names, free_ports(len(names)), strict=True))
        self._key, self._secret = f"key{secrets.token_hex(6)}", secrets.token_hex(20)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """Where it answers."""
        return self._ports["s3.port"]

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a client that may do everything."""
        return self.environment_at(self.port)

    def environment_at(self, port: int) -> dict[str, str]:
        """The same for one that reaches the server at another port, through a proxy."""
        return {
            "AWS_ACCESS_KEY_ID": self._key,
            "AWS_SECRET_ACCESS_KEY": self._secret,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ALLOW_HTTP": "true",
        }

    def __enter__(self) -> Self:
        (self._folder / "data").mkdir()
        credentials = [{"accessKey": self._key, "secretKey": self._secret}]
        identity = {"name": "tests", "credentials": credentials, "actions": ["Admin", "Read", "Write", "List"]}
        (self._folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        try:
            self.start()
            with client_environment(self.environment):
                obstore.put(s3_bucket(BUCKET, "", allow_http=True), "made", b"")  # makes the bucket
        except BaseException:
            self.stop()
            raise
        return self

    def start(self) -> None:
        """Start it, or start it again with what it had, and wait until it answers."""
        program = Path(sysconfig.get_path("scripts")) / "weed"
        options = [f"-{name}={port}" for name, port in self._ports.items()]
        options += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={self._folder / 'data'}", "-filer", "-s3"]
        options += [f"-s3.config={self._folder / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0"]
        options += [f"-s3.localSocket={self._folder / 's3.sock'}", f"-filer.localSocket={self._folder / 'filer.sock'}"]
        options += ["-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=0"]
        options += ["-volume.preStopSeconds=0"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, "-logtostderr", "server", *options],
                cwd=self._folder,
                env={"PATH": os.environ.get("PATH", ""), "HOME": str(self._folder), "TMPDIR": str(self._folder)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until(self._answers)

    def stop(self) -> None:
        """End it at once; what it has stays."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text()[-4000:]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/status", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


@contextlib.contextmanager
def client_environment(variables: dict[str, str]) -> Iterator[None]:
    """The process's environment with these, and with no other setting of S3: from there clients take their keys."""
    before = dict(os.environ)
    for name in before:
        if name.startswith("AWS_"):
            del os.environ[name]
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def names_in(bucket: S3Store) -> list[str]:
    """Every object's name below the prefix."""
    return sorted(found["path"] for batch in obstore.list(bucket) for found in batch)
