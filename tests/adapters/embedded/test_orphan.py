"""A server that outlives its supervisor is taken over only if it proves to be ours."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
import redis

from tests.support.embedded import Service, pid_of, ready_again
from tests.support.processes import alive, until
from tokensvc.adapters.embedded import StoreFault, start, url
from tokensvc.adapters.embedded.configuration import valkey_conf
from tokensvc.adapters.embedded.home import Home, take
from tokensvc.adapters.embedded.orphan import claim
from tokensvc.adapters.embedded.server import Adopted, Child, identify
from tokensvc.adapters.redis_client import connect
from tokensvc.core.nonces import NonceId
from tokensvc.ports import Outcome

SUPERVISOR = """
import os, sys
from pathlib import Path
from tokensvc.adapters.embedded.configuration import valkey_conf
from tokensvc.adapters.embedded.home import locate, sole_supervisor
from tokensvc.adapters.embedded.supervisor import Supervisor, block_signals

block_signals()
home = locate(Path(sys.argv[1]))
with sole_supervisor(home) as ours:
    assert ours
    supervisor = Supervisor(home, chance=os.urandom, tell=print, orphan_wait=0.1, stop_wait=0.1)
    supervisor.run(on_ready=lambda: print("ready", flush=True))
"""


@pytest.fixture
def nonce(home: Home) -> NonceId:
    """A nonce that was recorded before the supervisor died."""
    store = start(home.path)
    service = Service(home.path)
    nonce = service.issue()
    service.close()
    store.stop()
    return nonce


@pytest.fixture
def sup(home: Home, nonce: NonceId) -> Iterator[redis.Redis]:
    """The supervisor's own connection."""
    assert nonce
    client = connect(url(home.path, user="sup"), connections=1)
    yield client
    client.close()


@contextlib.contextmanager
def running(home: Home, sup: redis.Redis) -> Iterator[Child]:
    """A server without a supervisor, that nothing ends but the end of the `with`."""
    lock = take(home.server_lock)
    assert lock is not None
    child = Child(home, lock)
    os.close(lock)
    until(lambda: _answers(sup))
    home.served_by.write_text(identify(sup).run_id)
    try:
        yield child
    finally:
        child.signal(signal.SIGCONT)
        child.signal(signal.SIGKILL)
        until(child.ended)


@pytest.fixture
def orphan(home: Home, sup: redis.Redis) -> Iterator[Child]:
    """The server of an earlier supervisor."""
    with running(home, sup) as child:
        yield child


def _answers(client: redis.Redis) -> bool:
    with contextlib.suppress(redis.RedisError):
        return bool(client.ping())
    return False


def claimed(home: Home, sup: redis.Redis) -> int | Adopted:
    return claim(home, sup, wait_seconds=0.05, pause=time.sleep)


def test_ours_is_taken_over(home: Home, sup: redis.Redis, orphan: Child) -> None:
    adopted = claimed(home, sup)
    assert isinstance(adopted, Adopted)
    assert adopted.pid == orphan.pid
    assert not adopted.ended()
    adopted.signal(signal.SIGTERM)
    until(adopted.ended)
    adopted.signal(signal.SIGTERM)
    adopted.close()


def test_one_that_ends_in_time_is_waited_for(home: Home, sup: redis.Redis, orphan: Child) -> None:
    orphan.signal(signal.SIGTERM)
    lock = claim(home, sup, wait_seconds=10, pause=time.sleep)
    assert isinstance(lock, int)
    os.close(lock)
    assert orphan.ended()


def test_another_run_is_refused(home: Home, sup: redis.Redis, orphan: Child) -> None:
    home.served_by.write_text("0" * 40)
    with pytest.raises(StoreFault, match=f"process {orphan.pid} is another run than the one noted"):
        claimed(home, sup)
    assert not orphan.ended()


def test_another_process_is_refused(home: Home, sup: redis.Redis, orphan: Child) -> None:
    home.pid_file.write_text(str(os.getpid()))
    with pytest.raises(StoreFault, match=f"another process than {os.getpid()} answers"):
        claimed(home, sup)
    assert not orphan.ended()


def test_one_that_keeps_its_data_elsewhere_is_refused(home: Home, sup: redis.Redis, orphan: Child) -> None:
    orphan.signal(signal.SIGTERM)
    until(orphan.ended)
    elsewhere = home.path.parent / "elsewhere"
    elsewhere.mkdir()
    home.configuration.write_text(valkey_conf(home).replace(f'dir "{home.path}"', f'dir "{elsewhere}"'))
    with running(home, sup) as other, pytest.raises(StoreFault, match=f"{other.pid} keeps its data in {elsewhere}"):
        claimed(home, sup)


def test_one_that_left_no_note_is_refused(home: Home, sup: redis.Redis, orphan: Child) -> None:
    home.served_by.unlink()
    with pytest.raises(StoreFault, match=r"it left no note of which one it is\. Look who holds .*server\.lock"):
        claimed(home, sup)
    assert not orphan.ended()


def test_one_that_does_not_answer_is_refused(home: Home, sup: redis.Redis, orphan: Child) -> None:
    orphan.signal(signal.SIGSTOP)
    with pytest.raises(StoreFault, match=f"process {orphan.pid} does not answer as it should"):
        claimed(home, sup)


def test_what_a_killed_server_leaves_is_cleared(home: Home, sup: redis.Redis, orphan: Child) -> None:
    """Its socket, its note, and the drafts of a file that it was rewriting."""
    drafts = [home.path / "temp-rewriteaof-1.aof", home.append_only / "temp-appendonly.aof.manifest"]
    for draft in drafts:
        draft.touch()
    orphan.signal(signal.SIGKILL)
    until(orphan.ended)
    assert home.socket.exists()
    lock = claimed(home, sup)
    assert isinstance(lock, int)
    os.close(lock)
    assert [path for path in (home.socket, home.pid_file, *drafts) if path.exists()] == []


def test_an_adopted_server_serves_is_watched_and_is_stopped(home: Home, nonce: NonceId, orphan: Child) -> None:
    """The load of an orphan may be one that nobody judged, so its nonces are stale, but new ones are good."""
    supervisor = subprocess.Popen([sys.executable, "-c", SUPERVISOR, home.path], stdout=subprocess.PIPE, text=True)
    assert supervisor.stdout
    service = Service(home.path)
    try:
        assert "found running and taken over" in supervisor.stdout.readline()
        assert supervisor.stdout.readline() == "ready\n"
        assert service.redeem(nonce) is Outcome.STALE
        new = service.issue()
        orphan.signal(signal.SIGKILL)
        ready_again(home, after=orphan.pid)
        assert service.redeem(new) is Outcome.SPENT
    finally:
        service.close()
        server = pid_of(home.pid_file)
        supervisor.terminate()
        supervisor.communicate()
    assert supervisor.returncode == 0
    assert not alive(server)


def test_an_adopted_server_that_was_judged_goes_on(home: Home, nonce: NonceId, sup: redis.Redis, orphan: Child) -> None:
    """Its epoch is bound to it, so nothing becomes stale; and a stop ends it."""
    replid = sup.info("replication")["master_replid"]
    epoch = sup.execute_command("GET", "ik{00}:e").decode().partition(":")[2]
    sup.set("ik{00}:e", f"{replid}:{epoch}")
    supervisor = subprocess.Popen([sys.executable, "-c", SUPERVISOR, home.path], stdout=subprocess.PIPE, text=True)
    assert supervisor.stdout
    service = Service(home.path)
    try:
        assert "taken over" in supervisor.stdout.readline()
        assert supervisor.stdout.readline() == "ready\n"
        assert service.redeem(nonce) is Outcome.SPENT
    finally:
        service.close()
        supervisor.terminate()
        supervisor.communicate()
    assert orphan.ended()
    assert not home.socket.exists()


def test_a_server_that_does_not_end_is_killed(home: Home, nonce: NonceId) -> None:
    """In the end; all that it ever answered for is on disk."""
    supervisor = subprocess.Popen([sys.executable, "-c", SUPERVISOR, home.path], stdout=subprocess.PIPE, text=True)
    assert supervisor.stdout
    assert supervisor.stdout.readline() == "ready\n"
    server = pid_of(home.pid_file)
    os.kill(server, signal.SIGSTOP)
    supervisor.terminate()
    assert supervisor.communicate()[0] == (
        f"The store's server (process {server}) did not end when asked to, and was killed.\n"
    )
    assert not alive(server)
    store = start(home.path)
    service = Service(home.path)
    try:
        assert service.redeem(nonce) is Outcome.SPENT
    finally:
        service.close()
        store.stop()


def test_a_directory_that_was_moved_starts(home: Home, nonce: NonceId) -> None:
    """All places are written anew at each start; moved files are the same files."""
    moved = home.path.parent / "moved"
    shutil.move(home.path, moved)
    store = start(moved)
    service = Service(moved)
    try:
        assert service.redeem(nonce) is Outcome.SPENT
    finally:
        service.close()
        store.stop()
