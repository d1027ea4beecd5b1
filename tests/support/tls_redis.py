"""Debian's Redis (7.0 in Debian 12, the oldest that we promise to work with), over TLS.

The Valkey binary of the other tests is built without TLS. This one is in the package `redis-tools`, which starts no
service: `redis-check-rdb` is the server under another name, and acts by the name that it is called.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import redis

from tests.support.processes import until
from tests.support.tls import Certificate
from tests.support.topologies import PRIMARY_NAME, free_ports
from tests.support.valkey import HANG_GUARD_SECONDS
from tokensvc.adapters.redis_client import connect

BINARY: Final = Path("/usr/bin/redis-check-rdb")


class TlsServer:
    """One process, on a port of the loopback: a server, or with `sentinel_of` a sentinel of the server at that port.

    It wants `password`, and a certificate of ours.
    """

    def __init__(
        self, certificate: Certificate, password: str, *, sentinel_of: TlsServer | None = None, **settings: str
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="redis7-"))
        self.certificate, self.password = certificate, password
        self.port, bus = free_ports(2)
        self._is_sentinel = sentinel_of is not None
        lines = [
            "port 0",
            f"tls-port {self.port}",
            "bind 127.0.0.1 127.0.0.2",
            f"dir {self.folder}",
            f"logfile {self.folder}/log",
            f"tls-cert-file {certificate.certificate_path}",
            f"tls-key-file {certificate.key_path}",
            f"tls-ca-cert-file {certificate.certificate_path}",
            "tls-auth-clients yes",
            "tls-replication yes",
            f"requirepass {password}",
        ]
        if sentinel_of is None:
            lines += ['save ""', "appendonly no", "tls-cluster yes", f"cluster-port {bus}"]
        else:
            lines += [
                f"sentinel monitor {PRIMARY_NAME} 127.0.0.1 {sentinel_of.port} 1",
                f"sentinel auth-pass {PRIMARY_NAME} {sentinel_of.password}",
            ]
        lines += [f"{name.replace('_', '-')} {value}" for name, value in settings.items()]
        (self.folder / "conf").write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def files(self) -> str:
        """The part of a URL with the certificates of both sides."""
        path, key = self.certificate.certificate_path, self.certificate.key_path
        return f"ssl_ca_certs={path}&ssl_certfile={path}&ssl_keyfile={key}"

    @property
    def url(self) -> str:
        """For `redis_client.connect`."""
        return f"rediss://:{self.password}@127.0.0.1:{self.port}?{self.files}"

    def command(self, *words: str) -> Any:
        """Run one command."""
        with contextlib.closing(connect(self.url, connections=1)) as client:
            return client.execute_command(*words)

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"Redis ended: {(self.folder / 'log').read_text()[-2000:]}")
        try:
            return bool(self.command("PING"))
        except redis.RedisError:
            return False

    def __enter__(self) -> Self:
        name = "redis-sentinel" if self._is_sentinel else "redis-server"
        self._process = subprocess.Popen(
            [name, str(self.folder / "conf")],
            executable=BINARY,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            until(self._answers, "Redis to answer")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(HANG_GUARD_SECONDS)
        shutil.rmtree(self.folder)
