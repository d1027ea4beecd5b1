"""Files from URLs that strangers choose: what is fetched, what is not, and that nobody is led inside."""

from __future__ import annotations

import gc
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.processes import until
from tests.support.remote_host import HOST, OTHER, PUBLIC, UNNAMED, Authority, RemoteHost, canary, head, ok
from tokensvc.adapters.remote_files import MOST_REDIRECTS, PIECE_BYTES, HttpsFiles, dial, look_up
from tokensvc.core.errors import Code, Refusal
from tokensvc.core.hosts import HostNames
from tokensvc.ports import Audit

URL = f"https://{HOST}/a.png"
UNREACHED = "file cannot be fetched: its host has no public address, or does not answer."
CUT_OFF = "file cannot be fetched: it did not come whole."
BODY = bytes(range(256)) * 1000


@pytest.fixture
def host() -> Iterator[RemoteHost]:
    with RemoteHost() as made:
        made.answers["/a.png"] = ok(BODY)
        yield made


def anything(_url: str) -> None:
    """Permit it."""


def fetched(files: HttpsFiles, url: str = URL, permit: Any = anything) -> bytes:
    with files.open(url, permit=permit) as pieces:
        return b"".join(pieces)


def refused(files: HttpsFiles, url: str = URL, permit: Any = anything) -> str:
    with pytest.raises(Refusal) as caught:
        fetched(files, url, permit)
    assert caught.value.field == "file"
    return caught.value.detail


# ---- What is fetched


def test_the_bytes_at_a_url_come_in_pieces_and_nothing_is_told_of_us(host: RemoteHost) -> None:
    with host.files().open(f"{URL}#part", permit=anything) as pieces:
        got = list(pieces)
    assert b"".join(got) == BODY
    assert max(map(len, got)) <= PIECE_BYTES
    (request,) = host.requests
    assert (
        request
        == (
            f"GET /a.png HTTP/1.1\r\nHost: {HOST}\r\nAccept: */*\r\nAccept-Encoding: identity\r\n"
            "Connection: close\r\nUser-Agent: tokensvc\r\n\r\n"
        ).encode()
    )
    assert host.dialled == [(PUBLIC, 443)]
    assert host.notes.events == []


@pytest.mark.parametrize(
    "answer",
    [
        ok(BODY, "Content-Encoding: identity"),
        head("200 OK") + BODY,
        head("200 OK", "Transfer-Encoding: chunked") + b"%x\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n",
        ok(BODY) + b"and more than was announced",
        head("100 Continue") + ok(BODY),
    ],
)
def test_each_way_to_say_where_a_file_ends_is_read(host: RemoteHost, answer: bytes) -> None:
    host.answers["/a.png"] = answer
    assert fetched(host.files()) == BODY


def test_an_empty_file_is_one(host: RemoteHost) -> None:
    host.answers["/a.png"] = ok(b"")
    assert fetched(host.files()) == b""


def test_a_second_address_is_tried_where_the_first_does_not_answer(host: RemoteHost) -> None:
    host.addresses[HOST] = [["93.184.215.1", PUBLIC]]

    def connect(address: str, port: int, seconds: float) -> socket.socket:
        if address != PUBLIC:
            raise ConnectionRefusedError
        return host.dial(address, port, seconds)

    assert fetched(host.files(connect=connect)) == BODY


# ---- Where it is fetched from

INSIDE = [
    *(
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "0",
        "0.0.0.0",
    ),
    *("0177.0.0.1", "2130706433", "0x7f.1", "127.1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254"),
    *("100.64.0.1", "224.0.0.1", "255.255.255.255", "[fe80::1]", "[fc00::1]", "[ff02::1]", "[::]", "[::ffff:10.0.0.1]"),
]


@pytest.mark.parametrize("where", INSIDE)
def test_an_address_inside_is_not_called_however_it_is_written(host: RemoteHost, where: str) -> None:
    assert refused(host.files(), f"https://{where}/a.png") == UNREACHED
    assert host.dialled == []


@pytest.mark.parametrize(
    "answers",
    [
        ["127.0.0.1"],
        ["::1"],
        ["::ffff:169.254.169.254"],
        [PUBLIC, "10.0.0.1"],
        ["10.0.0.1", PUBLIC],
        ["fe80::1%1"],
        [],
        ["nonsense"],
    ],
)
def test_a_name_that_leads_inside_is_not_called(host: RemoteHost, answers: list[str]) -> None:
    """Nor one with a single wrong address among others; and it is told as if there were no such name."""
    host.addresses[HOST] = [answers]
    assert refused(host.files()) == UNREACHED
    assert host.dialled == []
    assert host.notes.events[0][1]["host"] == HOST


def test_a_name_that_nobody_knows_is_told_alike(host: RemoteHost) -> None:
    assert refused(host.files(), "https://nobody.example/") == UNREACHED


def test_a_name_is_looked_up_once_and_the_answer_is_called(host: RemoteHost) -> None:
    """Rebinding: whoever looks it up again is led inside."""
    host.addresses[HOST] = [[PUBLIC], ["127.0.0.1"]]
    assert fetched(host.files()) == BODY
    assert (host.looked_up, host.dialled) == ([HOST], [(PUBLIC, 443)])
    assert refused(host.files()) == UNREACHED


def test_a_redirect_is_looked_up_anew(host: RemoteHost) -> None:
    host.addresses[HOST] = [[PUBLIC], ["127.0.0.1"]]
    host.answers["/a"] = head("302 Found", "Location: /a.png", "Content-Length: 0")
    assert refused(host.files(), f"https://{HOST}/a") == UNREACHED
    assert host.dialled == [(PUBLIC, 443)]


def test_production_calls_nobody_on_this_machine() -> None:
    """With the system's own resolver and connections."""
    with canary() as (port, calls):
        files = HttpsFiles(hosts=HostNames(), seconds=5, audit=RemoteNotes(), ports=[port, 443])
        for where in (*INSIDE, "localhost"):
            assert refused(files, f"https://{where}:{port}/") == UNREACHED
    assert calls == []


class RemoteNotes(Audit):
    def note(self, event: str, facts: Any) -> None:
        pass


def test_the_connection_goes_to_an_address_and_never_to_a_name() -> None:
    with pytest.raises(ValueError, match="localhost"):
        dial("localhost", 1, 1.0)
    assert set(look_up("localhost", 443)) <= {"127.0.0.1", "::1"}


@pytest.mark.parametrize(
    ("hosts", "url", "is_fetched"),
    [
        ([HOST], URL, True),
        ([OTHER, ".example"], URL, True),
        ([OTHER], URL, False),
        ([".b.files.example"], URL, False),
        (["iles.example"], URL, False),
    ],
)
def test_only_listed_hosts_are_asked_if_there_is_a_list(
    host: RemoteHost, hosts: list[str], url: str, *, is_fetched: bool
) -> None:
    files = host.files(hosts=HostNames(tuple(hosts)))
    if is_fetched:
        assert fetched(files, url) == BODY
    else:
        assert refused(files, url) == "file is a URL of a host that this service does not fetch from."
        assert host.looked_up == []


def test_other_ports_are_not_called(host: RemoteHost) -> None:
    assert refused(host.files(), f"https://{HOST}:6379/") == "file is a URL with a port from which nothing is fetched."
    assert host.looked_up == []
    assert fetched(host.files(), f"https://{HOST}:443/a.png") == BODY


def test_the_host_is_known_by_its_certificate(host: RemoteHost) -> None:
    assert refused(host.files(), f"https://{UNNAMED}/a.png") == UNREACHED
    assert refused(host.files(tls=Authority().trust())) == UNREACHED
    assert refused(host.files(tls=ssl.create_default_context())) == UNREACHED
    assert host.requests == []
    assert {facts["reason"] for _, facts in host.notes.events} == {"SSLCertVerificationError"}


# ---- Redirects


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_a_redirect_is_followed(host: RemoteHost, status: str) -> None:
    host.answers["/old"] = head(status, f"Location: https://{OTHER}/a.png", "Content-Length: 0", "Set-Cookie: a=b")
    assert fetched(host.files(), f"https://{HOST}/old") == BODY
    assert host.looked_up == [HOST, OTHER]
    assert b"Cookie" not in host.requests[1]
    assert b"Referer" not in host.requests[1]


@pytest.mark.parametrize(
    "location",
    [
        "https://127.0.0.1/a.png",
        "https://[::1]/a.png",
        "https://10.0.0.1/a.png",
        "https://169.254.169.254/latest/meta-data/",
        "https://2130706433/",
    ],
)
def test_a_redirect_to_inside_is_not_followed(host: RemoteHost, location: str) -> None:
    host.answers["/old"] = head("302 Found", f"Location: {location}", "Content-Length: 0")
    assert refused(host.files(), f"https://{HOST}/old") == UNREACHED
    assert len(host.dialled) == 1


@pytest.mark.parametrize(
    ("location", "detail"),
    [
        (f"http://{HOST}/a.png", "file is a URL that does not begin with https://."),
        ("file:///etc/passwd", "file is a URL that does not begin with https://."),
        (f"https://user@{HOST}/a.png", "file is a URL that names a user."),
        ("https://[::1/", "file is redirected to what is no URL."),
        (f"https://{HOST}:6379/", "file is a URL with a port from which nothing is fetched."),
        ("/ä", "file is a URL that holds characters that no URL may hold."),
    ],
)
def test_a_redirect_to_what_is_no_url_to_fetch_is_not_followed(host: RemoteHost, location: str, detail: str) -> None:
    host.answers["/old"] = head("302 Found", f"Location: {location}", "Content-Length: 0")
    assert refused(host.files(), f"https://{HOST}/old") == detail
    assert len(host.dialled) == 1


def test_what_is_permitted_is_asked_of_each_hop(host: RemoteHost) -> None:
    host.answers["/old"] = head("302 Found", f"Location: HTTPS://{OTHER.upper()}:443/a.png#x", "Content-Length: 0")
    asked: list[str] = []

    def permit(url: str) -> None:
        asked.append(url)
        if OTHER in url:
            raise Refusal(Code.PARAMETER_FORBIDDEN, "no", field="file")

    assert refused(host.files(), f"https://{HOST}/old", permit) == "no"
    assert asked == [f"https://{HOST}/old", f"https://{OTHER}/a.png"]
    assert len(host.dialled) == 1
    hosts = HostNames((HOST,))
    assert refused(host.files(hosts=hosts), f"https://{HOST}/old").startswith("file is a URL of a host that this")


@pytest.mark.parametrize(("hops", "is_fetched"), [(MOST_REDIRECTS, True), (MOST_REDIRECTS + 1, False)])
def test_so_many_redirects_are_followed_and_no_more(host: RemoteHost, hops: int, *, is_fetched: bool) -> None:
    for hop in range(hops):
        onward = "/a.png" if hop == hops - 1 else f"/{hop + 1}"
        host.answers[f"/{hop}"] = head("302 Found", f"Location: {onward}", "Content-Length: 0")
    if is_fetched:
        assert fetched(host.files(), f"https://{HOST}/0") == BODY
    else:
        assert (
            refused(host.files(), f"https://{HOST}/0") == "file cannot be fetched: it is redirected more than 3 times."
        )
    assert len(host.dialled) == MOST_REDIRECTS + 1


# ---- What answers badly


@pytest.mark.parametrize(
    "status", ["204 No Content", "206 Partial", "304 Not Modified", "302 Found", "401 No", "500 Oh"]
)
def test_another_status_than_200_is_no_file(host: RemoteHost, status: str) -> None:
    """And a redirect without a place to go."""
    host.answers["/a.png"] = head(status, "Content-Length: 3") + b"abc"
    assert refused(host.files()) == f"file cannot be fetched: its host answers with status {status[:3]}."


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "identity, gzip", "x"])
def test_what_comes_compressed_is_refused_and_never_unpacked(host: RemoteHost, coding: str) -> None:
    host.answers["/a.png"] = ok(BODY, f"Content-Encoding: {coding}")
    assert refused(host.files()).startswith("file cannot be fetched: its host sends it compressed")


@pytest.mark.parametrize(
    "answer",
    [
        head("200 OK", f"Content-Length: {len(BODY) + 1}") + BODY,
        head("200 OK", f"Content-Length: {len(BODY)}", f"Content-Length: {len(BODY) + 1}") + BODY,
        head("200 OK", "Content-Length: -1") + BODY,
        head("200 OK", "Content-Length: 1e3") + BODY,
        head("200 OK", "Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
        head("200 OK", "Transfer-Encoding: chunked") + b"5\r\nabc",
        head("200 OK", "Transfer-Encoding: chunked") + b"zz\r\nabc",
        head("200 OK", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n",
    ],
)
def test_a_length_that_is_a_lie_is_no_whole_file(host: RemoteHost, answer: bytes) -> None:
    host.answers["/a.png"] = answer
    assert refused(host.files()) == CUT_OFF


def test_a_file_whose_end_is_not_said_and_is_cut_off_is_not_whole(host: RemoteHost) -> None:
    """Without a length only TLS can tell an end from a cut wire."""

    def cut(_: RemoteHost, connection: ssl.SSLSocket) -> None:
        connection.sendall(head("200 OK") + BODY)
        socket.socket.shutdown(connection, socket.SHUT_RDWR)

    host.answers["/a.png"] = cut
    assert refused(host.files()) == CUT_OFF


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200 + b"\r\n", b"\0" * 99]
)
def test_what_is_no_http_is_no_file(host: RemoteHost, answer: bytes) -> None:
    host.answers["/a.png"] = answer
    assert refused(host.files()) == UNREACHED


def test_a_host_that_nobody_answers_at(host: RemoteHost) -> None:
    def connect(_address: str, _port: int, _seconds: float) -> socket.socket:
        raise ConnectionRefusedError

    assert refused(host.files(connect=connect)) == UNREACHED
    assert host.notes.events == [("unfetched", {"host": HOST, "reason": "ConnectionRefusedError"})]


# ---- What takes its time: everything is cut, so a generous bound tells that from a hang


SLOW = "file cannot be fetched: its host does not answer in time."


def drip_headers(host: RemoteHost, connection: ssl.SSLSocket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    host.drip(connection)


def drip_body(host: RemoteHost, connection: ssl.SSLSocket) -> None:
    connection.sendall(head("200 OK", "Content-Length: 1000000"))
    host.drip(connection)


def say_nothing(host: RemoteHost, _: ssl.SSLSocket) -> None:
    host.closing.wait(10)


def flood(host: RemoteHost, connection: ssl.SSLSocket) -> None:
    connection.sendall(head("200 OK"))
    while not host.closing.is_set():
        connection.sendall(bytes(65536))


@pytest.mark.parametrize("way", [drip_headers, say_nothing])
def test_headers_that_do_not_come_to_an_end_are_cut_off(host: RemoteHost, way: Any) -> None:
    """However much of the whole time is left."""
    host.answers["/a.png"] = way
    assert refused(host.files(seconds=60, header_seconds=0.3)) == SLOW
    assert host.notes.events[0][1]["reason"] == "too slow"


@pytest.mark.parametrize("way", [drip_body, flood])
def test_a_body_that_does_not_come_to_an_end_is_cut_off(host: RemoteHost, way: Any) -> None:
    """Each byte is in time, and so is each read."""
    host.answers["/a.png"] = way
    assert refused(host.files(seconds=0.4)) == CUT_OFF


def test_a_body_may_take_longer_than_the_headers_may(host: RemoteHost) -> None:
    def slowly(host: RemoteHost, connection: ssl.SSLSocket) -> None:
        connection.sendall(head("200 OK", "Content-Length: 20"))
        for _ in range(20):
            host.closing.wait(0.03)
            connection.sendall(b"x")

    host.answers["/a.png"] = slowly
    assert fetched(host.files(header_seconds=0.3)) == b"x" * 20


def test_redirects_share_the_time_of_the_headers(host: RemoteHost) -> None:
    def slowly(host: RemoteHost, connection: ssl.SSLSocket) -> None:
        host.closing.wait(0.2)
        connection.sendall(head("302 Found", "Location: /a.png", "Content-Length: 0"))

    host.answers["/a.png"] = slowly
    assert refused(host.files(header_seconds=0.45)) in (SLOW, UNREACHED)
    assert len(host.dialled) < MOST_REDIRECTS + 1


def test_a_look_up_that_does_not_end_is_not_waited_for(host: RemoteHost) -> None:
    ended = threading.Event()

    def resolve(_host: str, _port: int) -> list[str]:
        ended.wait(10)
        return [PUBLIC]

    try:
        assert refused(host.files(resolve=resolve, header_seconds=0.2)) == UNREACHED
    finally:
        ended.set()
    assert host.notes.events[0][1]["reason"] == "no address in time"
    assert host.dialled == []


def test_a_handshake_that_does_not_end_is_cut_off(host: RemoteHost) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:

        def connect(_address: str, _port: int, seconds: float) -> socket.socket:
            return socket.create_connection(silent.getsockname(), timeout=seconds)

        assert refused(host.files(connect=connect, header_seconds=0.3)) == SLOW


# ---- Who stops in the middle


def test_whoever_has_enough_hangs_up_and_nothing_is_left(host: RemoteHost) -> None:
    host.answers["/a.png"] = flood

    def leave() -> None:
        with host.files().open(URL, permit=anything) as pieces:
            assert next(pieces)
            raise KeyError

    with pytest.raises(KeyError):
        leave()
    with host.files().open(URL, permit=anything):
        pass
    gc.collect()
    until(lambda: not [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)])


def test_many_at_once_are_each_cut_at_their_time(host: RemoteHost) -> None:
    host.answers["/slow"] = drip_headers
    files, told = host.files(header_seconds=0.5), list[object]()

    def ask(number: int) -> None:
        path = "/slow" if number % 2 else "/a.png"
        try:
            told.append(fetched(files, f"https://{HOST}{path}") == BODY)
        except Refusal as refusal:
            told.append(refusal.detail)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(map(str, told)) == ["True"] * 8 + [SLOW] * 8


GREENLETS = """
from gevent import monkey
monkey.patch_all()
import gevent
from tests.adapters.test_remote_files import *
with RemoteHost() as host:
    host.answers.update({"/a.png": ok(BODY), "/headers": drip_headers, "/body": drip_body, "/cut": BODY})
    ticks = []
    ticking = gevent.spawn(lambda: [(ticks.append(1), gevent.sleep(0.01)) for _ in range(10_000)])
    assert fetched(host.files()) == BODY
    many = [gevent.spawn(fetched, host.files()) for _ in range(20)]
    assert {one.get() == BODY for one in many} == {True}
    before = len(ticks)
    assert refused(host.files(header_seconds=0.4), f"https://{HOST}/headers") == SLOW
    assert refused(host.files(seconds=0.4), f"https://{HOST}/body") == CUT_OFF
    host.addresses[HOST] = [["10.0.0.1"]]
    assert refused(host.files()) == UNREACHED
    ticking.kill()
    print("ticks", len(ticks) - before)
"""


def test_under_gevent_others_go_on_and_the_time_is_kept() -> None:
    done = subprocess.run([sys.executable, "-c", GREENLETS], capture_output=True, text=True, timeout=60, check=False)
    name, _, ticks = done.stdout.partition(" ")
    assert name == "ticks", done.stderr
    assert int(ticks) > 10
