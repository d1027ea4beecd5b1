"""Scripts of many callers over one connection: each has an answer of its own, and none waits for ever."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.valkey import Valkey, wait_until
from tokensvc.adapters.redis_client import connect
from tokensvc.adapters.redis_client.line import Lined, pack

ECHO = "return ARGV[1]"


@pytest.fixture
def client(valkey: Valkey) -> Iterator[Lined]:
    with contextlib.closing(connect(valkey.url, connections=2)) as made:
        assert isinstance(made, Lined)
        yield made


def echo(client: Lined, text: str) -> Any:
    return client.execute_command("EVAL", ECHO, 0, text)


def held(client: Lined, asked: int) -> bool:
    """Whether so many wait for their turn."""
    return len(client.line._waiting) == asked


def test_a_command_is_packed_as_redis_py_packs_it(client: Lined) -> None:
    parts = ("EVAL", "return 1", 2, "ik{00}:n:ä", "", "x" * 5000)
    connection: Any = client.connection_pool.make_connection()
    assert pack(parts) == b"".join(connection.pack_command(*parts))


def test_everybody_is_given_the_answer_to_what_they_asked(client: Lined) -> None:
    texts = [f"{number}-{'x' * (number * 37 % 3000)}" for number in range(600)]
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda text: echo(client, text), texts))
    assert [answer.decode() for answer in answers] == texts


def test_who_asks_while_an_answer_is_on_its_way_is_taken_along_with_the_others(valkey: Valkey, client: Lined) -> None:
    echo(client, "connected")
    with ThreadPoolExecutor(9) as pool:
        with client.line._turn:
            asked = [pool.submit(echo, client, str(number)) for number in range(8)]
            wait_until(lambda: held(client, 8), "eight that wait")
            reads = int(valkey.command("INFO", "stats")["total_reads_processed"])
        assert [each.result().decode() for each in asked] == [str(number) for number in range(8)]
    # Two of the reads are the connection and the command that tell.
    assert int(valkey.command("INFO", "stats")["total_reads_processed"]) - reads < 8


def test_an_error_is_only_for_the_one_whose_script_it_is_of(client: Lined) -> None:
    with ThreadPoolExecutor(3) as pool:
        with client.line._turn:
            before = pool.submit(echo, client, "before")
            wait_until(lambda: held(client, 1))
            wrong = pool.submit(client.execute_command, "EVALSHA", "0" * 40, 0)
            wait_until(lambda: held(client, 2))
            after = pool.submit(echo, client, "after")
            wait_until(lambda: held(client, 3))
        assert (before.result(), after.result()) == (b"before", b"after")
        with pytest.raises(redis.exceptions.NoScriptError):
            wrong.result()


def test_a_connection_that_the_server_closed_meanwhile_is_no_outage(valkey: Valkey, client: Lined) -> None:
    echo(client, "x")
    valkey.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert echo(client, "y") == b"y"


def test_when_the_answers_are_lost_all_are_told_and_the_next_are_answered(valkey: Valkey) -> None:
    with FaultProxy(valkey.socket) as proxy, contextlib.ExitStack() as stack:
        made = stack.enter_context(contextlib.closing(connect(f"unix://{proxy.socket}", connections=2)))
        assert isinstance(made, Lined)
        echo(made, "x")
        proxy.inject(Fault.DROP_REPLY, matching=b"EVAL", when=lambda k: k == 1)
        with ThreadPoolExecutor(4) as pool:
            with made.line._turn:
                asked = [pool.submit(echo, made, str(number)) for number in range(4)]
                wait_until(lambda: held(made, 4))
            for each in asked:
                with pytest.raises(redis.ConnectionError):
                    each.result()
        assert echo(made, "again") == b"again"


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
        with client.line._turn:
            asked = [pool.submit(echo, client, str(number)) for number in range(3)]
            wait_until(lambda: held(client, 3))
            monkeypatch.setattr(connection, "read_response", end)
        came_of_it = [each.exception() for each in asked]
    assert sorted(type(each).__name__ for each in came_of_it) == ["ConnectionError", "ConnectionError", "Ended"]
    monkeypatch.undo()
    assert echo(client, "again") == b"again"


def test_nobody_waits_for_those_before_longer_than_two_time_outs(client: Lined) -> None:
    with client.line._turn, ThreadPoolExecutor(1) as pool:
        error = pool.submit(echo, client, "x").exception()
    assert isinstance(error, redis.TimeoutError)


def test_who_was_answered_is_answered_although_others_had_every_turn(client: Lined) -> None:
    """A lock of threads knows no queue: whoever asks next may have it first, again and again."""
    line = client.line
    with line._turn, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(echo, client, "x")
        wait_until(lambda: held(client, 1), "one that waits")
        together, line._waiting = line._waiting, []
        line._exchange(together)
        assert asked.result() == b"x"


def test_after_a_fork_each_process_has_a_line_of_its_own(client: Lined) -> None:
    echo(client, "x")
    busy = threading.Event()
    done = threading.Event()

    def hold() -> None:
        with client.line._turn:
            busy.set()
            done.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    busy.wait()
    child = os.fork()  # while a thread that the child does not have holds the lock
    if child == 0:
        status = 1
        with contextlib.suppress(BaseException):
            status = 0 if echo(client, "child") == b"child" else 2
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    done.set()
    holder.join()
    assert echo(client, "parent") == b"parent"
