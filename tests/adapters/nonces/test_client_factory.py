"""The client factory: nothing below us retries or waits for longer than we said, and no password is shown."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from redis import exceptions as redis_errors
from redis.connection import BlockingConnectionPool, SSLConnection
from redis.sentinel import SentinelConnectionPool

from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.tls import Certificate, make_certificate
from tests.support.topologies import Link, free_ports, on_port
from tests.support.valkey import APP_RIGHTS, Valkey
from tokensvc.adapters.redis_client import Cluster, connect, connect_any
from tokensvc.adapters.redis_client.address import SCHEMES, Address
from tokensvc.adapters.redis_client.pools import LooksOnceMore
from tokensvc.config.spellings import STORE_SCHEMES

SENTINEL_URLS = [
    f"{scheme}+sentinel://app:pw@h1,[::1]:26380/main?db=3&sentinel_user=s&sentinel_password=spw"
    for scheme in ("redis", "rediss")
]
URLS = ["redis://app:pw@localhost:6380/3", "rediss://app:pw@localhost:6380/3", "unix://app:pw@/dir/s.sock?db=3"]


def first_connection(client: redis.Redis) -> Any:
    """A connection as the client would make it; it is not connected."""
    return client.connection_pool.make_connection()


def assert_impatient(client: redis.Redis, *, connections: int, database: int, login: tuple[str, str]) -> None:
    pool = client.connection_pool
    assert isinstance(pool, BlockingConnectionPool)
    assert (pool.max_connections, pool.timeout) == (connections, 0.2)
    retry = client.get_retry()
    assert retry is not None
    assert retry.get_retries() == 0
    connection = first_connection(client)
    assert issubclass(pool.connection_class, LooksOnceMore)
    assert connection.retry.get_retries() == 0
    assert connection.retry_on_error == []
    assert connection.retry_on_timeout is False
    assert (connection.socket_timeout, connection.socket_connect_timeout) == (0.25, 0.25)
    assert connection.health_check_interval == 15
    assert (connection.protocol, connection.client_name, connection.db) == (3, "tokensvc", database)
    assert not pool.maint_notifications_enabled()
    assert connection.credential_provider.get_credentials() == login


@pytest.mark.parametrize("url", [*URLS, *SENTINEL_URLS])
def test_nothing_is_retried_and_every_wait_is_short(url: str) -> None:
    with contextlib.closing(connect(url, connections=7)) as client:
        assert_impatient(client, connections=7, database=3, login=("app", "pw"))


@pytest.mark.parametrize("url", SENTINEL_URLS)
def test_sentinels_are_asked_without_retries_too_and_as_somebody_else(url: str) -> None:
    with contextlib.closing(connect(url, connections=7)) as client:
        pool = client.connection_pool
        assert isinstance(pool, SentinelConnectionPool)
        assert pool.service_name == "main"
        asked = [sentinel.connection_pool.connection_kwargs for sentinel in pool.sentinel_manager.sentinels]
        assert [(options["host"], options["port"]) for options in asked] == [("h1", 26379), ("::1", 26380)]
        for sentinel in pool.sentinel_manager.sentinels:
            assert_impatient(sentinel, connections=4, database=0, login=("s", "spw"))
            assert isinstance(first_connection(sentinel), SSLConnection) == url.startswith("rediss")
        assert isinstance(first_connection(client), SSLConnection) == url.startswith("rediss")


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_each_node_of_a_cluster_is_asked_without_retries(scheme: str) -> None:
    with contextlib.closing(connect_any(f"{scheme}+cluster://app:pw@h1,h2:7000", connections=7)) as client:
        assert isinstance(client, Cluster)
        assert client.connections == 7
        node = client.node(("h2", 7000))
        assert_impatient(node, connections=7, database=0, login=("app", "pw"))
        assert isinstance(first_connection(node), SSLConnection) == (scheme == "rediss")


def test_what_needs_one_server_is_given_no_cluster() -> None:
    with pytest.raises(ValueError, match="more than one"):
        connect("redis+cluster://h1", connections=1)


def test_the_configuration_names_the_same_schemes() -> None:
    assert set(STORE_SCHEMES) == SCHEMES.keys()


@pytest.mark.parametrize("command", [b"PING", b"SET"])
def test_a_command_whose_reply_is_lost_is_not_sent_again(valkey: Valkey, command: bytes) -> None:
    with FaultProxy(valkey.socket) as proxy, contextlib.closing(connect(proxy.url, connections=1)) as client:
        proxy.inject(Fault.DROP_REPLY, matching=command)
        with pytest.raises(redis_errors.ConnectionError):
            client.ping() if command == b"PING" else client.set("lost", "1", ex=1)
        assert proxy.injected == 1


def test_who_finds_no_free_connection_gives_up(valkey: Valkey) -> None:
    with contextlib.closing(valkey.client(connections=1)) as client:
        taken = client.connection_pool.get_connection()
        with pytest.raises(redis_errors.ConnectionError, match="No connection available"):
            client.ping()
        client.connection_pool.release(taken)
        assert client.ping()


def test_a_connection_is_shared_by_many_threads(valkey: Valkey) -> None:
    answers: list[object] = []
    with contextlib.closing(valkey.client(connections=1)) as client:
        threads = [threading.Thread(target=lambda: answers.append(client.ping())) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == [True] * 16


def test_user_and_password_are_sent_as_written(valkey: Valkey) -> None:
    valkey.command("ACL", "SETUSER", "an@user", "reset", "on", ">p/w?#:%", *APP_RIGHTS.split(), "+acl|whoami")
    with contextlib.closing(connect(valkey.url_as("an%40user", "p%2Fw%3F%23%3A%25"), connections=1)) as client:
        assert client.acl_whoami() in {"an@user", b"an@user"}


def test_a_password_alone_is_that_of_the_default_user() -> None:
    with Valkey(requirepass="pw") as own, contextlib.closing(connect(own.url_as("", "pw"), connections=1)) as client:
        assert client.ping()


@pytest.mark.parametrize("url", [*URLS, *SENTINEL_URLS])
def test_a_password_is_not_shown(url: str) -> None:
    url = url.replace(":pw@", ":canary@").replace("=spw", "=canary")
    assert "canary" not in repr(Address.parse(url))
    with contextlib.closing(connect(url, connections=1)) as client:
        pool = client.connection_pool
        assert "canary" not in f"{client!r} {client} {pool!r} {pool.connection_kwargs!r} {first_connection(client)!r}"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "must start with redis://, rediss:// or unix://"),
        ("localhost:6379", "must start with redis://"),
        ("http://u:canary@localhost", "must start with redis://"),
        ("memcached+sentinel://u:canary@localhost", "must start with redis://"),
        ("redis://u:canary@", "no host"),
        ("redis:///0", "no host"),
        ("redis://u:can/ary@localhost", "%XX"),
        ("redis://u:canary@localhost:0", "a port that is none"),
        ("redis://u:canary@localhost:65536", "a port that is none"),
        ("redis://u:canary@localhost:canary", "a port that is none"),
        ("redis://u:canary@localhost/one", "database .* not a number"),
        ("redis://u:canary@localhost/-1", "database .* not a number"),
        ("redis://u:canary@localhost/1?db=2", "may have db, once"),
        ("redis://u:canary@localhost?db=1&db=2", "may have db, once"),
        ("redis://u:canary@localhost?socket_timeout=60", "may have db, once"),
        ("redis://u:canary@localhost?retry_on_timeout=1", "may have db, once"),
        ("redis://u:canary@localhost?ssl_cert_reqs=none", "may have db, once"),
        ("rediss://u:canary@localhost?ssl_check_hostname=perhaps", "may have db, once"),
        ("rediss://u:canary@localhost?ssl_ca_certs=", "may have db, once"),
        ("redis://u:canary@localhost#1", "%23"),
        ("redis://u@localhost", "no password"),
        ("unix://u:canary@", "absolute path"),
        ("redis+sentinel://u:canary@h1,h2", "primary's name"),
        ("redis+sentinel://u:canary@h1,h2/", "primary's name"),
        ("redis+sentinel://u:canary@h1,h2/main/1", "primary's name"),
        ("redis+sentinel://u:canary@h1,/main", "no host"),
        ("redis+sentinel://u:canary@h1,h2:0/main", "a port that is none"),
        ("redis+sentinel://u:canary@::1/main", "no host"),
        ("redis+sentinel://h1/main?sentinel_user=canary", "no password"),
        ("redis+sentinel://h1/main?sentinel_password=", "may have db, once"),
        ("redis+cluster://h1?sentinel_password=canary", "may have db, once"),
        ("redis://h1?sentinel_password=canary", "may have db, once"),
        ("redis://u:canary@h1,h2", "no host"),
        ("redis+cluster://u:canary@h1,h2/1", "no databases"),
        ("redis+cluster://u:canary@h1?db=1", "no databases"),
        ("unix://dir/s.sock", "absolute path"),
        ("unix://u:can/ary@/dir/s.sock", "absolute path"),
    ],
)
def test_a_url_that_is_not_understood_is_refused_and_not_quoted(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        connect(url, connections=1)
    assert "canary" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_the_defaults_of_a_url() -> None:
    with contextlib.closing(connect("redis://localhost", connections=1)) as client:
        connection = first_connection(client)
        assert (connection.host, connection.port, connection.db) == ("localhost", 6379, 0)
        assert connection.credential_provider is None


def test_tls_verifies_unless_the_url_says_otherwise() -> None:
    with contextlib.closing(connect("rediss://localhost", connections=1)) as client:
        strict = first_connection(client)
    url = "rediss://localhost?ssl_cert_reqs=none&ssl_check_hostname=false&ssl_ca_certs=/ca.pem"
    with contextlib.closing(connect(url, connections=1)) as client:
        lax = first_connection(client)
    assert isinstance(strict, SSLConnection)
    assert isinstance(lax, SSLConnection)
    assert (strict.cert_reqs, strict.check_hostname) == (2, True)
    assert (lax.cert_reqs, lax.check_hostname, lax.ca_certs) == (0, False, "/ca.pem")


TLS_FILES = "ssl_ca_certs=/ca.pem&ssl_certfile=/us.pem&ssl_keyfile=/us.key"


@pytest.mark.parametrize(
    "url", [f"rediss://h1?{TLS_FILES}", f"rediss+sentinel://h1/main?{TLS_FILES}", f"rediss+cluster://h1?{TLS_FILES}"]
)
def test_certificates_are_for_every_server(url: str) -> None:
    with contextlib.closing(connect_any(url, connections=1)) as client:
        clients = [client.node(("h1", 6379))] if isinstance(client, Cluster) else [client]
        if "sentinel" in url:
            pool: Any = clients[0].connection_pool  # of sentinels' own kind
            clients += pool.sentinel_manager.sentinels
        for one in clients:
            connection = first_connection(one)
            assert (connection.ca_certs, connection.certfile, connection.keyfile) == ("/ca.pem", "/us.pem", "/us.key")
            assert (connection.cert_reqs, connection.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.fixture(scope="module")
def over_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Certificate]]:
    """The URL of a server that is reached by TLS and wants a certificate of ours, and a good one for both sides."""
    certificate = make_certificate(tmp_path_factory.mktemp("tls"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificate.certificate_path)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificate.certificate_path, certificate.key_path)
    (port,) = free_ports(1)
    with on_port(port), Link(port, tls=context) as link:
        yield f"rediss://127.0.0.1:{link.port}", certificate


def test_tls_with_certificates_on_both_sides(over_tls: tuple[str, Certificate]) -> None:
    url, certificate = over_tls
    ours = f"ssl_certfile={certificate.certificate_path}&ssl_keyfile={certificate.key_path}"
    theirs = f"ssl_ca_certs={certificate.certificate_path}"
    with contextlib.closing(connect(f"{url}?{ours}&{theirs}", connections=1)) as client:
        assert client.ping()
    for half, reason in ((ours, "CERTIFICATE_VERIFY_FAILED"), (theirs, None)):
        with (
            contextlib.closing(connect(f"{url}?{half}", connections=1)) as client,
            pytest.raises(redis_errors.ConnectionError, match=reason),
        ):
            client.ping()


@pytest.mark.parametrize("connections", [0, -1])
def test_a_client_has_a_connection(connections: int) -> None:
    with pytest.raises(ValueError, match="at least one"):
        connect("redis://localhost", connections=connections)
