"""`rediss://` in every form, against a real Redis that wants a certificate and a password, and gives a certificate."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

import pytest

from tests.support.nonces import new_nonce, new_request, soon
from tests.support.processes import until
from tests.support.tls import Certificate, make_certificate
from tests.support.tls_redis import TlsServer
from tests.support.topologies import PRIMARY_NAME
from tokensvc.adapters.nonces.store import RedisNonces
from tokensvc.adapters.nonces.trial import try_out
from tokensvc.adapters.redis_client import Cluster, connect_any
from tokensvc.adapters.store_facts import server_facts
from tokensvc.core.doctor import Demands, Level, ServerFacts, findings_of_server
from tokensvc.core.errors import Outage, Unanswered
from tokensvc.ports import Outcome
from tokensvc.wiring import CLUSTER_BUCKETS

PASSWORD = "pw-of-these-tests"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def server(certificate: Certificate) -> Iterator[TlsServer]:
    with TlsServer(certificate, PASSWORD) as server:
        yield server


@contextlib.contextmanager
def store_at(url: str) -> Iterator[RedisNonces]:
    with contextlib.closing(connect_any(url, connections=2)) as client:
        buckets = CLUSTER_BUCKETS if isinstance(client, Cluster) else 1
        yield RedisNonces(client, chance=os.urandom, buckets=buckets)


def assert_spends_once(url: str) -> None:
    with store_at(url) as store:
        assert store.ready() == ()
        for _ in range(5):
            nonce = new_nonce()
            assert store.record(nonce, grant="g", until=soon(), request=new_request()).recorded
            assert store.redeem(nonce, request=new_request()).outcome is Outcome.SPENT
            assert store.redeem(nonce, request=new_request()).outcome is Outcome.REPLAYED


def test_one_server(server: TlsServer) -> None:
    assert_spends_once(server.url)


def test_a_redis_is_as_good_as_a_valkey(server: TlsServer) -> None:
    with contextlib.closing(connect_any(server.url, connections=1)) as client:
        (facts,) = server_facts(client, "store", wall=time.time)
    assert isinstance(facts, ServerFacts)
    assert facts.product == "Redis"
    assert Level.FATAL not in {finding.level for finding in findings_of_server(facts, Demands(connections=1))}
    with store_at(server.url) as store:
        (finding,) = try_out(store, "store", chance=os.urandom, clock=lambda: int(time.time()))
    assert finding.level is Level.FINE


@pytest.mark.parametrize("missing", ["ssl_ca_certs", "ssl_certfile", "both"])
def test_half_of_the_certificates_is_an_outage(server: TlsServer, missing: str) -> None:
    """Neither does it let a stranger in, nor do we tell one our password."""
    dropped = ("ssl_certfile", "ssl_keyfile") if missing == "ssl_certfile" else (missing,)
    names = [part for part in server.files.split("&") if missing != "both" and not part.startswith(dropped)]
    url = f"{server.url.partition('?')[0]}?{'&'.join(names)}".rstrip("?")
    with store_at(url) as store, pytest.raises(Unanswered):
        store.redeem(new_nonce(), request=new_request())


def test_a_certificate_for_another_host_is_an_outage(server: TlsServer) -> None:
    """It listens there too, and its certificate does not say so; unless the URL tells not to look."""
    elsewhere = server.url.replace("127.0.0.1", "127.0.0.2")
    with store_at(elsewhere) as store, pytest.raises(Unanswered):
        store.ready()
    assert_spends_once(f"{elsewhere}&ssl_check_hostname=false")


def test_a_wrong_password_is_told_as_such(server: TlsServer) -> None:
    with store_at(server.url.replace(PASSWORD, "another")) as store, pytest.raises(Outage, match="user and password"):
        store.ready()


def test_who_speaks_no_tls_is_not_understood(server: TlsServer) -> None:
    with store_at(f"redis://:{PASSWORD}@127.0.0.1:{server.port}") as store, pytest.raises(Unanswered):
        store.ready()


def test_sentinels_and_their_primary_with_passwords_of_their_own(certificate: Certificate) -> None:
    with (
        TlsServer(certificate, PASSWORD) as primary,
        TlsServer(certificate, "sentinels-password", sentinel_of=primary) as sentinel,
    ):
        place = f"rediss+sentinel://:{PASSWORD}@127.0.0.1:{sentinel.port}/{PRIMARY_NAME}?{primary.files}"
        until(lambda: sentinel.command("SENTINEL", "CKQUORUM", PRIMARY_NAME) is not None, "the sentinel")
        assert_spends_once(f"{place}&sentinel_password=sentinels-password")
        with store_at(f"{place}&sentinel_password=another") as store, pytest.raises(Outage):
            store.ready()


def test_a_cluster(certificate: Certificate) -> None:
    """Its map names the port for TLS. One node has all slots here."""
    with TlsServer(certificate, PASSWORD, cluster_enabled="yes", cluster_config_file="nodes.conf") as node:
        node.command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        until(lambda: b"cluster_state:ok" in _info(node), "the cluster")
        assert_spends_once(node.url.replace("rediss://", "rediss+cluster://"))


def _info(node: TlsServer) -> bytes:
    told = node.command("CLUSTER", "INFO")
    return told if isinstance(told, bytes) else f"cluster_state:{told['cluster_state']}".encode()
