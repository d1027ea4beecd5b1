"""What `tokensvc doctor` and a start look at in the nonce store. That no server answers is told, and is no fault."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Final, Literal

from tokensvc import config, use_cases, wiring
from tokensvc.adapters.embedded import StoreFault
from tokensvc.adapters.nonces.trial import try_out
from tokensvc.adapters.redis_client import Client, Cluster, connect_any
from tokensvc.adapters.store_facts import Trouble, server_facts
from tokensvc.core.doctor import Demands, Finding, Level, findings_of_server

STORE: Final = "store"


def of_store(settings: config.Settings) -> Iterator[Finding]:
    """What there is to say of it, its configuration included."""
    try:
        client = connect_any(wiring.store_url(settings), connections=2)
    except config.ConfigurationError:
        yield Finding(Level.UNKNOWN, STORE, "the embedded store was never started here", "`tokensvc serve` starts it")
        return
    except StoreFault as exc:
        yield Finding(Level.FATAL, STORE, str(exc), "set TOKENSVC_DATA_DIR to another folder")
        return
    except PermissionError:
        yield Finding(Level.UNKNOWN, STORE, "the embedded store is another user's", "run doctor as the service's user")
        return
    with contextlib.closing(client):
        demands, is_there = _demands(settings, client), False
        for facts in server_facts(client, STORE, wall=wiring.wall):
            if isinstance(facts, Trouble):
                yield _of_trouble(facts, settings)
            else:
                is_there = True
                yield from findings_of_server(facts, demands)
    if is_there:  # as the service asks: over connections of its own, with its tries and its rights
        yield from try_out(use_cases.nonce_store(settings), STORE, chance=wiring.chance, clock=wiring.clock)


def _of_trouble(trouble: Trouble, settings: config.Settings) -> Finding:
    if not trouble.passes:
        return Finding(Level.FATAL, trouble.place, trouble.what, "correct REDIS_URL, or the user's rights in the store")
    if settings.redis_url is None:
        return Finding(Level.UNKNOWN, STORE, "the embedded store does not run", "`tokensvc serve` starts it")
    return Finding(Level.OUTAGE, trouble.place, trouble.what, "start it, or correct REDIS_URL")


def _demands(settings: config.Settings, client: Client) -> Demands:
    url = "" if settings.redis_url is None else settings.redis_url.get_secret_value()
    topology: Literal["server", "sentinel", "cluster"] = "server"
    if isinstance(client, Cluster):
        topology = "cluster"
    elif "+sentinel://" in url:
        topology = "sentinel"
    profiles = settings.profiles.values()
    return Demands(
        connections=_workers(settings) * (wiring.STORE_CONNECTIONS + wiring.THROTTLE_CONNECTIONS),
        topology=topology,
        embedded=settings.redis_url is None,
        crosses_off=any(profile.unissued == "cross-off" for profile in profiles),
        counts=any(profile.limits.per_day is not None for profile in profiles),
    )


def _workers(settings: config.Settings) -> int:
    return settings.workers or len(os.sched_getaffinity(0))
