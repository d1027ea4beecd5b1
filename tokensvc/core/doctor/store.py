"""What a server of the nonce store says of itself, and what that is worth to us.

Durability is no matter of life here: an external store that restarts gets a new epoch, and what was outstanding is
refused. Only what was crossed off, and what is counted of a subject, is lost with the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from .findings import Finding, Level

OLDEST_VERSION: Final = (7, 0)
SKEW_TOLD_SECONDS: Final = 2.0
MOST_SKEW_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What one server says. None is what it did not let us know. `skew` is our clock less its, in seconds.

    `full_coverage` is None too where there is no cluster.
    """

    place: str
    product: str | None = None
    version: str | None = None
    policy: str | None = None
    append_only: bool | None = None
    append_fsync: str | None = None
    replicas: int | None = None
    waits_for_replicas: bool | None = None
    most_clients: int | None = None
    skew: float | None = None
    full_coverage: bool | None = None


@dataclass(frozen=True, slots=True)
class Demands:
    """What we want of a server: `connections` of all our workers to it, and which of our promises need its file."""

    connections: int
    topology: Literal["server", "sentinel", "cluster"] = "server"
    embedded: bool = False
    crosses_off: bool = False
    counts: bool = False


def findings_of_server(facts: ServerFacts, demands: Demands) -> Iterator[Finding]:
    """Everything about one server, what is fine included."""
    yield from _version(facts)
    yield from _policy(facts)
    yield from findings_of_skew(facts.place, "this server's", facts.skew)
    if not demands.embedded:  # that one's configuration is ours
        yield from _durability(facts, demands)
    yield from _connections(facts, demands)
    if demands.topology != "server":
        yield from _replicas(facts)
    if facts.full_coverage:
        what = "cluster-require-full-coverage is yes, so that all parts of the cluster stop when one of them is down"
        yield Finding(Level.WARNING, facts.place, what, "CONFIG SET cluster-require-full-coverage no, on every node")


def findings_of_skew(place: str, whose: str, skew: float | None) -> Iterator[Finding]:
    """The judgement on two clocks. `skew` is ours less theirs, in seconds."""
    if skew is None:
        yield Finding(Level.UNKNOWN, place, f"{whose} clock could not be compared with ours")
        return
    which = "ahead of" if skew > 0 else "behind"
    what = f"our clock is {abs(skew):.1f} s {which} {whose}"
    remedy = "let NTP set both clocks"
    if abs(skew) > MOST_SKEW_SECONDS:
        yield Finding(Level.FATAL, place, what, remedy)
    elif abs(skew) > SKEW_TOLD_SECONDS:
        yield Finding(Level.WARNING, place, what, remedy)
    else:
        yield Finding(Level.FINE, place, f"our clock and {whose} agree")


def _version(facts: ServerFacts) -> Iterator[Finding]:
    parts = () if facts.version is None else tuple(int(part) for part in facts.version.split(".")[:2] if part.isdigit())
    if facts.version is None or not parts:
        yield Finding(Level.UNKNOWN, facts.place, "its version is not told", "grant our user +info")
    elif parts < OLDEST_VERSION:
        what = f"is {facts.product} {facts.version}, which does not know our scripts' flags"
        yield Finding(Level.FATAL, facts.place, what, "use Redis 7.0 or newer, or Valkey")
    else:
        yield Finding(Level.FINE, facts.place, f"is {facts.product} {facts.version}")


def _policy(facts: ServerFacts) -> Iterator[Finding]:
    if facts.policy is None:
        yield Finding(Level.UNKNOWN, facts.place, "its maxmemory-policy is not told", "grant our user +info")
    elif facts.policy != "noeviction":
        what = f"maxmemory-policy is {facts.policy}: it may forget what was issued, and what was spent"
        yield Finding(Level.FATAL, facts.place, what, "CONFIG SET maxmemory-policy noeviction, and in its file")
    else:
        yield Finding(Level.FINE, facts.place, "it evicts nothing")


def _durability(facts: ServerFacts, demands: Demands) -> Iterator[Finding]:
    losses = []
    if demands.crosses_off:
        losses.append("a credential minted elsewhere can be used once more")
    if demands.counts:
        losses.append("what callers have had today is forgotten")
    if facts.append_only is None:
        yield Finding(Level.UNKNOWN, facts.place, "whether it keeps a file is not told", "grant our user +info")
    elif losses and not facts.append_only:
        what = f"appendonly is no: after a restart {' and '.join(losses)}"
        yield Finding(Level.WARNING, facts.place, what, "CONFIG SET appendonly yes, and in its file")
    elif demands.crosses_off and facts.append_only and facts.append_fsync is None:
        what = "appendfsync is not told, and what was crossed off is kept as well as that says"
        yield Finding(Level.UNKNOWN, facts.place, what, "grant our user +config|get, or look: it should be always")
    elif demands.crosses_off and facts.append_fsync not in {"always", None}:
        what = f"appendfsync is {facts.append_fsync}: after a crash {losses[0]}"
        yield Finding(Level.WARNING, facts.place, what, "CONFIG SET appendfsync always, and in its file")
    else:
        kept = "keeps a file" if facts.append_only else "keeps no file, and nothing that we promise needs one"
        yield Finding(Level.FINE, facts.place, kept)


def _connections(facts: ServerFacts, demands: Demands) -> Iterator[Finding]:
    if facts.most_clients is None:
        yield Finding(Level.UNKNOWN, facts.place, "its maxclients is not told", "grant our user +info")
    elif facts.most_clients < demands.connections:
        what = f"maxclients is {facts.most_clients}, and our workers may want {demands.connections} connections"
        yield Finding(Level.WARNING, facts.place, what, "raise maxclients, or lower WEB_CONCURRENCY")
    else:
        what = f"takes our {demands.connections} connections (maxclients {facts.most_clients})"
        yield Finding(Level.FINE, facts.place, what)


def _replicas(facts: ServerFacts) -> Iterator[Finding]:
    if facts.replicas is None:
        yield Finding(Level.UNKNOWN, facts.place, "its replicas are not told", "grant our user +info")
    elif facts.replicas == 0:
        what = "has no replica: nobody takes over when it fails"
        yield Finding(Level.WARNING, facts.place, what, "add one, or use a single server")
    elif not facts.waits_for_replicas:
        what = "takes writes that no replica has: cut off from the others it goes on issuing what they will refuse"
        yield Finding(Level.WARNING, facts.place, what, "set min-replicas-to-write 1 and min-replicas-max-lag 10")
    else:
        yield Finding(Level.FINE, facts.place, f"has {facts.replicas} replicas, and writes nothing without one")
