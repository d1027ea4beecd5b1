"""Scripts of many callers over one connection: each has an answer of its own, and none waits for ever."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.line import busy, held
from tests.support.processes import until
from tests.support.valkey import Valkey
from tokensvc.adapters.redis_client import connect
from tokensvc.adapters.redis_client.calls import pack
from tokensvc.adapters.redis_client.line import Lined

ECHO = "return ARGV[1]"


@pytest.fixture
def client(valkey: Valkey) -> Iterator[Lined]:
    with contextlib.closing(connect(valkey.url, connections=2)) as made:
        assert isinstance(made, Lined)
        yield made


def echo(client: Lined, text: str) -> Any:
    return client.execute_command("EVAL", ECHO, 0, text)


def test_a_command_is_packed_as_redis_py_packs_it(client: Lined) -> None:
    parts = ("EVAL", "return 1", 2, "ik{00}:n:ä", "", "x" * 5000)
    connection: Any = client.connection_pool.make_connection()
    assert pack(parts).encode() == b"".join(connection.pack_command(*parts))


@pytest.mark.alone
def test_everybody_is_given_the_answer_to_what_they_asked(client: Lined) -> None:
    texts = [f"{number}-{'x' * (number * 37 % 3000)}" for number in range(600)]
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda text: echo(client, text), texts))
    assert [answer.decode() for answer in answers] == texts


@pytest.mark.alone
def test_who_asks_while_an_answer_is_on_its_way_is_taken_along_with_the_others(valkey: Valkey, client: Lined) -> None:
    echo(client, "connected")
    with ThreadPoolExecutor(9) as pool:
        with busy(client.line):
            asked = [pool.submit(echo, client, str(number)) for number in range(8)]
            until(lambda: held(client.line, 8), "eight that wait")
            reads = int(valkey.command("INFO", "stats")["total_reads_processed"])
        assert [each.result().decode() for each in asked] == [str(number) for number in range(8)]
    # Two of the reads are the connection and the command that tell.
    assert int(valkey.command("INFO", "stats")["total_reads_processed"]) - reads < 8


@pytest.mark.alone
def test_an_error_is_only_for_the_one_whose_script_it_is_of(client: Lined) -> None:
    with ThreadPoolExecutor(3) as pool:
        with busy(client.line):
            before = pool.submit(echo, client, "before")
            until(lambda: held(client.line, 1))
            wrong = pool.submit(client.execute_command, "EVALSHA", "0" * 40, 0)
            until(lambda: held(client.line, 2))
            after = pool.submit(echo, client, "after")
            until(lambda: held(client.line, 3))
        assert (before.result(), after.result()) == (b"before", b"after")
        with pytest.raises(redis.exceptions.NoScriptError):
            wrong.result()


def test_a_connection_that_the_server_closed_meanwhile_is_no_outage(valkey: Valkey, client: Lined) -> None:
    echo(client, "x")
    valkey.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert echo(client, "y") == b"y"


@pytest.mark.alone
def test_when_the_answers_are_lost_all_are_told_and_the_next_are_answered(valkey: Valkey) -> None:
    with FaultProxy(valkey.socket) as proxy, contextlib.ExitStack() as stack:
        made = stack.enter_context(contextlib.closing(connect(f"unix://{proxy.socket}", connections=2)))
        assert isinstance(made, Lined)
        echo(made, "x")
        proxy.inject(Fault.DROP_REPLY, matching=b"EVAL", when=lambda k: k == 1)
        with ThreadPoolExecutor(4) as pool:
            with busy(made.line):
                asked = [pool.submit(echo, made, str(number)) for number in range(4)]
                until(lambda: held(made.line, 4))
            lost = [each.exception() for each in asked]
            assert all(isinstance(each, redis.ConnectionError) for each in lost)
            assert len({id(each) for each in lost}) == 4
            causes = {each and each.__cause__ for each in lost}
            assert None not in causes
            assert len(causes) == 1
        assert echo(made, "again") == b"again"


@pytest.mark.alone
def test_who_is_ended_while_it_asks_for_all_leaves_nobody_waiting(
    client: Lined, monkeypatch: pytest.MonkeyPatch
) -> None:
    echo(client, "x")
    connection: Any = client.line._connection

    class Ended(BaseException):
        """As GreenletExit and SystemExit are."""

    def end(**_options: object) -> None:
        raise Ended

    with ThreadPoolExecutor(3) as pool:
        with busy(client.line):
            asked = [pool.submit(echo, client, str(number)) for number in range(3)]
            until(lambda: held(client.line, 3))
            monkeypatch.setattr(connection, "read_response", end)
        came_of_it = [each.exception() for each in asked]
    assert sorted(type(each).__name__ for each in came_of_it) == ["ConnectionError", "ConnectionError", "Ended"]
    monkeypatch.undo()
    assert echo(client, "again") == b"again"


@pytest.mark.alone
def test_after_a_fork_each_process_has_a_line_of_its_own(client: Lined) -> None:
    echo(client, "x")
    holds, done = threading.Event(), threading.Event()

    def hold() -> None:
        with client.line._lock:
            holds.set()
            done.wait()

    holder = threading.Thread(target=hold)
    with busy(client.line):
        holder.start()
        holds.wait()
        child = os.fork()  # while a thread that the child does not have holds the lock, and another one asks
        if child == 0:
            status = 1
            with contextlib.suppress(BaseException):
                status = 0 if echo(client, "child") == b"child" else 2
            os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        done.set()
        holder.join()
    assert echo(client, "parent") == b"parent"


@pytest.mark.alone
def test_nobody_waits_for_those_before_longer_than_two_time_outs_and_then_is_not_asked_for(client: Lined) -> None:
    with busy(client.line), ThreadPoolExecutor(1) as pool:
        assert isinstance(pool.submit(echo, client, "late").exception(), redis.TimeoutError)
        assert held(client.line, 0)
    assert echo(client, "next") == b"next"


GREENLETS = """
from gevent import monkey
monkey.patch_all()
import sys
import gevent
from tokensvc.adapters.redis_client import connect

client = connect(sys.argv[1], connections=2)

def ask(number):
    for time in range(200):
        text = f"{number}-{time}"
        assert client.execute_command("EVAL", "return ARGV[1]", 0, text) == text.encode()

asking = [gevent.spawn(ask, number) for number in range(24)]
gevent.joinall(asking, raise_error=True)

# Ended wherever they are: waiting, woken, asking for all, or not even begun.
for turn in range(300):
    some = [gevent.spawn(ask, number) for number in range(6)]
    for _ in range(turn % 23):
        gevent.sleep(0)
    gevent.killall(some[turn % 6 : turn % 6 + 2])
    if turn % 5 == 0:
        gevent.killall(some)
    else:
        gevent.killall(some, timeout=0.001)
        gevent.joinall(some)
    assert client.execute_command("EVAL", "return ARGV[1]", 0, "next") == b"next"
assert not client.line._waiting and not client.line._is_asked
print("all answered")
"""


GATHERED = """
from gevent import monkey
monkey.patch_all()
import sys
import gevent
from tokensvc.adapters.redis_client import connect

client = connect(sys.argv[1], connections=2)
client.execute_command("EVAL", "return ARGV[1]", 0, "connected")
# Not with the first of a pool, which would connect meanwhile.
packed = []
send = client.line._connection.send_packed_command
client.line._connection.send_packed_command = lambda command: (packed.append(command[0].count(b"EVAL")), send(command))

def ask(turns):
    for _ in range(turns):
        gevent.sleep(0)
    client.execute_command("EVAL", "return ARGV[1]", 0, "x")

gevent.joinall([gevent.spawn(ask, turns) for turns in range(6)], raise_error=True)
print(packed)

def never_pauses():
    while True:
        gevent.sleep(0)

packed.clear()
other = gevent.spawn(never_pauses)
gevent.joinall([gevent.spawn(ask, 0)], raise_error=True)
other.kill()
print(packed)
"""


@pytest.mark.alone
def test_those_who_are_about_to_ask_come_along_and_a_loop_that_never_rests_holds_up_nobody(valkey: Valkey) -> None:
    told = subprocess.run(
        [sys.executable, "-c", GATHERED, valkey.url], capture_output=True, text=True, timeout=60, check=False
    )
    assert (told.stdout, told.returncode) == ("[6]\n[1]\n", 0), told.stderr


def test_greenlets_that_never_pause_overtake_nobody_and_may_be_ended_anywhere(valkey: Valkey) -> None:
    command = [sys.executable, "-c", GREENLETS, valkey.url]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (told.stdout, told.returncode) == ("all answered\n", 0), told.stderr
