"""The judgements of `tokensvc doctor`: both sides of each limit, and what is unknown is said."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tokensvc.core.doctor import (
    Demands,
    Finding,
    Folder,
    Level,
    ServerFacts,
    findings_of_descriptors,
    findings_of_folder,
    findings_of_nginx,
    findings_of_server,
    findings_of_upstream,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

GOOD = ServerFacts(
    "store",
    product="Valkey",
    version="9.1.2",
    policy="noeviction",
    append_only=True,
    append_fsync="always",
    replicas=2,
    waits_for_replicas=True,
    most_clients=72,
    skew=0.0,
)
DEMANDS = Demands(connections=72)
CLUSTER = Demands(connections=72, topology="cluster")
SENTINEL = Demands(connections=72, topology="sentinel")
CROSSES_OFF = Demands(connections=72, crosses_off=True)
COUNTS = Demands(connections=72, counts=True)


def not_fine(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    """The level of each that is not fine, and its sentence; every bad one has a remedy."""
    found = [finding for finding in findings if finding.level is not Level.FINE]
    assert all(finding.remedy for finding in found if finding.level in {Level.FATAL, Level.WARNING})
    return [(finding.level.value, finding.what) for finding in found]


@pytest.mark.parametrize("demands", [DEMANDS, CLUSTER, SENTINEL, CROSSES_OFF, COUNTS])
def test_a_store_that_is_as_it_should_be(demands: Demands) -> None:
    assert not_fine(findings_of_server(GOOD, demands)) == []


@pytest.mark.parametrize(
    ("changed", "demands", "level", "what"),
    [
        ({"product": "Redis", "version": "6.2.14"}, DEMANDS, "fatal", "Redis 6.2.14"),
        ({"policy": "allkeys-lru"}, DEMANDS, "fatal", "allkeys-lru"),
        ({"policy": "volatile-ttl"}, DEMANDS, "fatal", "volatile-ttl"),
        ({"skew": 30.1}, DEMANDS, "fatal", "30.1 s ahead of"),
        ({"skew": -30.1}, DEMANDS, "fatal", "30.1 s behind"),
        ({"skew": 30.0}, DEMANDS, "warning", "30.0 s ahead of"),
        ({"skew": -2.1}, DEMANDS, "warning", "2.1 s behind"),
        ({"append_only": False}, CROSSES_OFF, "warning", "minted elsewhere can be used once more"),
        ({"append_only": False}, COUNTS, "warning", "have had today is forgotten"),
        ({"append_fsync": "everysec"}, CROSSES_OFF, "warning", "everysec"),
        ({"append_fsync": None}, CROSSES_OFF, "unknown", "appendfsync is not told"),
        ({"most_clients": 71}, DEMANDS, "warning", "maxclients is 71"),
        ({"replicas": 0}, SENTINEL, "warning", "no replica"),
        ({"replicas": 0}, CLUSTER, "warning", "no replica"),
        ({"waits_for_replicas": False}, CLUSTER, "warning", "writes that no replica has"),
        ({"full_coverage": True}, CLUSTER, "warning", "full-coverage"),
        ({"version": None}, DEMANDS, "unknown", "version"),
        ({"policy": None}, DEMANDS, "unknown", "policy"),
        ({"skew": None}, DEMANDS, "unknown", "clock"),
        ({"append_only": None}, DEMANDS, "unknown", "file"),
        ({"most_clients": None}, DEMANDS, "unknown", "maxclients"),
        ({"replicas": None}, CLUSTER, "unknown", "replicas"),
    ],
)
def test_one_thing_that_is_not(changed: dict[str, Any], demands: Demands, level: str, what: str) -> None:
    ((told, sentence),) = not_fine(findings_of_server(replace(GOOD, **changed), demands))
    assert told == level
    assert what in sentence


@pytest.mark.parametrize(
    ("changed", "demands"),
    [
        ({"product": "Redis", "version": "7.0.0"}, DEMANDS),
        ({"product": "Redis", "version": "10.2"}, DEMANDS),
        ({"skew": 2.0}, DEMANDS),
        ({"skew": -2.0}, DEMANDS),
        ({"append_only": False}, DEMANDS),
        ({"append_fsync": "everysec"}, COUNTS),
        ({"append_fsync": None}, DEMANDS),
        ({"replicas": 0}, DEMANDS),
        ({"full_coverage": False}, CLUSTER),
        ({"append_only": False, "append_fsync": None}, Demands(connections=72, embedded=True, crosses_off=True)),
    ],
)
def test_what_is_no_fault(changed: dict[str, Any], demands: Demands) -> None:
    assert not_fine(findings_of_server(replace(GOOD, **changed), demands)) == []


OURS = Folder("TOKENSVC_DATA_DIR", "/d", exists=True, owner=5, mode=0o700, file_system="ext4")


@pytest.mark.parametrize(
    ("changed", "levels"),
    [
        ({}, []),
        ({"owner": 6}, ["fatal"]),
        ({"owner": 6, "exists": False}, []),
        ({"mode": 0o777}, ["fatal"]),
        ({"mode": 0o777, "exists": False}, ["warning"]),
        ({"mode": 0o1777}, []),
        ({"mode": 0o775}, []),
        ({"file_system": "tmpfs"}, ["warning"]),
        ({"file_system": "overlay"}, ["warning"]),
        ({"file_system": None}, ["unknown"]),
    ],
)
def test_a_folder_is_ours_and_lasts(changed: dict[str, Any], levels: list[str]) -> None:
    found = not_fine(findings_of_folder(replace(OURS, **changed), user=5, what_is_kept="nonces", ours_alone=True))
    assert [level for level, _ in found] == levels


@pytest.mark.parametrize(
    ("changed", "levels"), [({"owner": 0, "mode": 0o2775}, []), ({"owner": 0, "mode": 0o777}, ["warning"])]
)
def test_the_folder_of_uploads_may_be_the_root_of_a_volume(changed: dict[str, Any], levels: list[str]) -> None:
    found = not_fine(findings_of_folder(replace(OURS, **changed), user=5, what_is_kept="files", ours_alone=False))
    assert [level for level, _ in found] == levels


@pytest.mark.parametrize(("limit", "levels"), [(1035, ["warning"]), (1036, []), (-1, [])])
def test_a_worker_may_open_what_it_needs(limit: int, levels: list[str]) -> None:
    assert [level for level, _ in not_fine(findings_of_descriptors(limit, 1036))] == levels


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("client_max_body_size 25m;", []),
        ("http {\n  client_max_body_size\t0 ;\n}", []),
        ("  client_max_body_size 26214399;", ["n:1"]),
        ("server {\n client_max_body_size 1g;\n}\nserver { client_max_body_size 10M; }", ["n:4"]),
        ("# client_max_body_size 100m;\n", ["n"]),
        ("", ["n"]),
    ],
)
def test_nginx_lets_the_largest_upload_through(text: str, found: list[str]) -> None:
    told = [finding for finding in findings_of_nginx("n", text, 25 * 1024**2) if finding.level is Level.WARNING]
    assert [finding.place for finding in told] == found
    assert all(finding.remedy == "client_max_body_size 25m;" for finding in told)


def test_nginxs_own_limit_is_enough_where_nothing_is_uploaded() -> None:
    assert not_fine(findings_of_nginx("n", "", 0)) == []


@pytest.mark.parametrize(("skew", "level"), [(0.0, "fine"), (2.5, "warning"), (-31.0, "fatal"), (None, "unknown")])
def test_imagekits_clock_is_judged_as_the_stores(skew: float | None, level: str) -> None:
    (finding,) = findings_of_upstream("u", skew, "no answer in time")
    assert finding.level == level
    assert "ImageKit's" in finding.what
