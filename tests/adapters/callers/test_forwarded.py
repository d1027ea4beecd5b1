"""A proxy's identity header: believed from trusted peers only, once, and in one spelling."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.callers import refusal_of, request_with
from tests.support.processes import until
from tokensvc.adapters.callers.forwarded import Forwarded
from tokensvc.core.addresses import Peers
from tokensvc.core.callers import Caller

PROXY, STRANGER = "10.0.0.1", "10.0.0.2"
NAME = "X-Forwarded-User"
UNTRUSTED = "x-forwarded-user comes from a peer that is not trusted to say who asks."
TWICE = "x-forwarded-user comes twice, or holds a comma."


def source_of(*trusted: str) -> Forwarded:
    return Forwarded("proxy", header=NAME, trusted=Peers.parse(trusted or [PROXY]))


@pytest.mark.parametrize("name", [NAME, NAME.lower(), NAME.upper()])
def test_a_trusted_proxy_names_the_caller(name: str) -> None:
    assert source_of().identify(request_with((name, " u1 "), peer=PROXY)) == Caller("proxy", "u1")


@pytest.mark.parametrize(
    ("trusted", "peer"),
    [
        ("10.0.0.0/24", PROXY),
        ("unix", "unix"),
        ("127.0.0.1/32", "127.0.0.1"),
        ("::1", "::1"),
        (PROXY, f"::ffff:{PROXY}"),
    ],
)
def test_every_kind_of_peer_can_be_trusted(trusted: str, peer: str) -> None:
    assert source_of(trusted).identify(request_with((NAME, "u1"), peer=peer)) == Caller("proxy", "u1")


@pytest.mark.parametrize("peer", [STRANGER, "127.0.0.1", "::1", "unix", "::ffff:127.0.0.1"])
def test_from_any_other_peer_the_header_is_refused(peer: str) -> None:
    """Loopback and unix sockets, too, although somebody close is behind them."""
    assert refusal_of(source_of(), request_with((NAME, "u1"), peer=peer)) == UNTRUSTED
    assert refusal_of(source_of("10.0.0.1/32", "126.0.0.0/7"), request_with((NAME, "u1"), peer=peer)) == UNTRUSTED


def test_what_a_stranger_says_of_itself_does_not_make_it_a_trusted_peer() -> None:
    said = [("X-Forwarded-For", PROXY), ("Forwarded", f"for={PROXY}"), ("X-Real-IP", PROXY), (NAME, "u1")]
    assert refusal_of(source_of(), request_with(*said, peer=STRANGER)) == UNTRUSTED


@pytest.mark.parametrize("peer", [PROXY, STRANGER, "unix"])
@pytest.mark.parametrize("headers", [[], [(NAME, "")], [(NAME, "  ")], [("X-Forwarded-Email", "u1")]])
def test_an_absent_or_empty_header_is_no_evidence(peer: str, headers: list[tuple[str, str]]) -> None:
    assert source_of().identify(request_with(*headers, peer=peer)) is None


@pytest.mark.parametrize(
    "headers",
    [
        [(NAME, "admin"), (NAME, "u1")],
        [(NAME, "u1"), (NAME, "u1")],
        [(NAME, "u1"), (NAME, "")],
        [(NAME.lower(), "admin"), (NAME, "u1")],
        [(NAME, "u1,admin")],
        [(NAME, ",u1")],
    ],
)
def test_a_header_that_comes_twice_is_refused(headers: list[tuple[str, str]]) -> None:
    """The client's and the proxy's: WSGI hands them over as one."""
    assert refusal_of(source_of(), request_with(*headers, peer=PROXY)) == TWICE


def test_a_name_is_utf8() -> None:
    as_wsgi_has_it = "José".encode().decode("latin-1")
    assert source_of().identify(request_with((NAME, as_wsgi_has_it), peer=PROXY)) == Caller("proxy", "José")
    assert refusal_of(source_of(), request_with((NAME, "Jos\xe9"), peer=PROXY)) == "The caller's name is not UTF-8."


@pytest.mark.parametrize("name", ["x" * 129, "a\tb", "a\x7fb", "\xe2\x80\xae"])
def test_a_name_that_cannot_be_used_is_refused(name: str) -> None:
    assert refusal_of(source_of(), request_with((NAME, name), peer=PROXY)) == "The caller's name cannot be used."


@pytest.mark.parametrize("header", ["", "X_Forwarded_User"])
def test_a_header_that_never_arrives_is_a_fault(header: str) -> None:
    with pytest.raises(ValueError, match="hyphens"):
        Forwarded("proxy", header=header, trusted=Peers.parse([PROXY]))


# What the real server makes of a request before we see it.

_ECHO = """
from flask import Flask, json
from tokensvc.web.identity import presented
app = Flask(__name__)
@app.get("/")
def show():
    seen = presented()
    return json.dumps([seen.peer, seen.headers.get("x-forwarded-user"), seen.headers.get("x-forwarded-for")])
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """gunicorn with the service's settings, on a unix socket and on loopback, answering with what sources are shown."""
    folder = tmp_path_factory.mktemp("echo")
    (folder / "echo.py").write_text(_ECHO)
    (folder / "settings.py").write_text("from tokensvc.gunicorn_settings import *\n")
    root, log = Path(__file__).resolve().parents[3], folder / "log"
    command = [sys.executable, "-m", "gunicorn", "--chdir", str(folder), "-c", str(folder / "settings.py")]
    command += ["--pythonpath", str(root), "-w", "1", "-b", f"unix:{folder / 's'}", "-b", "127.0.0.1:0", "echo:app"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=root, stderr=output, stdout=output)
    try:
        until(lambda: "Booting" in log.read_text() or process.poll() is not None)
        port = re.search(r"http://127\.0\.0\.1:([0-9]+)", log.read_text())
        assert port is not None, log.read_text()
        yield folder / "s", int(port[1])
    finally:
        process.terminate()
        process.wait(20)


def ask(where: Path | int, *lines: bytes) -> list[str | None]:
    family, address = (
        (socket.AF_UNIX, str(where)) if isinstance(where, Path) else (socket.AF_INET, ("127.0.0.1", where))
    )
    with socket.socket(family) as connection:
        connection.settimeout(20)
        connection.connect(address)
        connection.sendall(b"\r\n".join([b"GET / HTTP/1.1", b"Host: h", b"Connection: close", *lines, b"", b""]))
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), answer
    seen = json.loads(body)
    assert isinstance(seen, list)
    return seen


def test_the_server_tells_a_unix_socket_from_loopback(server: tuple[Path, int]) -> None:
    socket_path, port = server
    said = b"X-Forwarded-For: 10.0.0.1"
    assert ask(socket_path, said) == ["unix", None, "10.0.0.1"]
    assert ask(port, said) == ["127.0.0.1", None, "10.0.0.1"]


@pytest.mark.parametrize("name", [b"X_Forwarded_User", b"X-Forwarded_User", b"x_forwarded-user"])
def test_the_server_drops_other_spellings_of_a_header(server: tuple[Path, int], name: bytes) -> None:
    """They would be the same name to WSGI, and a proxy that removes the header from requests does not know them."""
    for where in server:
        assert ask(where, name + b": admin")[1] is None
        assert ask(where, name + b": admin", b"X-Forwarded-User: u1")[1] == "u1"


def test_the_server_joins_two_headers_by_a_comma(server: tuple[Path, int]) -> None:
    for where in server:
        joined = ask(where, b"X-Forwarded-User: admin", b"X-Forwarded-User: u1")[1]
        assert joined in {"admin,u1", "admin, u1"}
