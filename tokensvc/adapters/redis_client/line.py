"""Scripts of many callers over one connection: what is asked while answers are on their way goes together as the next.

So there is one write to the store and one read for all of them, and with `appendfsync always` one fsync; and calls of a
script that takes several are one call. Whoever comes first asks for all, and then wakes them and one of those who came
meanwhile, to do the same: nobody is overtaken. In a gevent worker it first lets those come who are about to; who is
alone waits for nobody. Each is answered by itself, and what fails for many at once has one cause. What was sent and not
answered is not known to be undone, so only what may be asked again may go this way: scripts with a request id.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Any, Final

import redis
from redis.connection import BlockingConnectionPool

from .calls import Call, groups, pack_group
from .waits import Wait, let_others_come, new_wait

LONGEST_GATHERING_SECONDS: Final = 0.002
"""As long as the loop has something else to do, more may come; but who came first is not to wait for all of it."""

_NOT_ANSWERED: Final = object()


class _Question(Call):
    """What is asked, and what came of it: an answer, or the error to raise."""

    __slots__ = ("answer", "asks_for_all", "wait")

    def __init__(self, parts: Sequence[str | int], *, may_join: bool) -> None:
        super().__init__(parts, may_join=may_join)
        self.answer: Any = _NOT_ANSWERED
        self.asks_for_all = False
        self.wait: Wait | None = None


class Line:
    """One connection, as those of the pool and besides them, for many threads or greenlets. Safe over a fork."""

    def __init__(self, pool: BlockingConnectionPool, patience: float) -> None:
        """`patience` is how many seconds a caller waits for those before it; their time-outs are those of the pool."""
        self._pool, self._patience = pool, patience
        self._begin(os.getpid())

    def _begin(self, pid: int) -> None:
        self._pid = pid
        self._lock = threading.Lock()
        self._waiting: list[_Question] = []
        self._is_asked = False
        self._connection: Any = None
        self._hold_up = redis.TimeoutError()

    def ask(self, parts: Sequence[str | int], *, may_join: bool = False) -> Any:  # noqa: ANN401 - whatever the command answers
        """Return the answer to one command, or raise redis-py's errors as they come.

        What `may_join` is a call of a script that takes several; see `calls`.
        """
        if self._pid != os.getpid():  # the connection is the parent's, and its lock may be held for ever
            self._begin(os.getpid())
        question = _Question(parts, may_join=may_join)
        try:
            self._wait(question)
            if question.asks_for_all:
                let_others_come(LONGEST_GATHERING_SECONDS)
                with self._lock:
                    together, self._waiting = self._waiting, []
                self._exchange(together)
        finally:
            self._hand_on(question)
        if isinstance(question.answer, BaseException):
            raise question.answer
        return question.answer

    def _wait(self, question: _Question) -> None:
        """Until it is answered, or its turn to ask for all."""
        with self._lock:
            self._waiting.append(question)
            if not self._is_asked:
                self._is_asked = question.asks_for_all = True
                return
            question.wait = wait = new_wait()
        # Looked at twice: in a loop that stood still, the word may have come together with the end of patience.
        if not wait.until_woken(self._patience) and not question.asks_for_all and question.answer is _NOT_ANSWERED:
            raise redis.TimeoutError("Too many were asking before.") from self._hold_up

    def _hand_on(self, question: _Question) -> None:
        """Let the next one ask, if it was this one's turn."""
        if question.asks_for_all or question.answer is _NOT_ANSWERED:
            with self._lock:
                if question in self._waiting:  # it was ended, or gave up, before it was asked
                    self._waiting.remove(question)
                if question.asks_for_all:
                    self._is_asked = bool(self._waiting)
                    if self._waiting:
                        self._waiting[0].asks_for_all = True
                        _wake(self._waiting[0])

    def _exchange(self, questions: Sequence[_Question]) -> None:
        """Send all and read all answers. Whatever happens, none is left without one."""
        self._hold_up = redis.TimeoutError()  # the one cause for all who wait for this in vain
        try:
            connection = self._connected()
            together = groups(questions)
            while together:
                refused = _answer(connection, together)
                together = [[question] for group in refused for question in group]
        except redis.RedisError as exc:
            self._disconnect()
            for question in questions:
                if question.answer is _NOT_ANSWERED:
                    question.answer = type(exc)(*exc.args)
                    question.answer.__cause__ = exc
        except BaseException:
            self._disconnect()
            raise
        finally:
            for question in questions:
                if question.answer is _NOT_ANSWERED:  # the one who asked for all was ended
                    question.answer = redis.ConnectionError("Nobody is left to read the answer.")
                _wake(question)

    def _connected(self) -> Any:  # noqa: ANN401 - redis-py's kinds of connection have no common type
        if self._connection is None:
            pool: Any = self._pool
            self._connection = pool.make_connection()
        elif self._is_stale():
            self._connection.disconnect()
        self._connection.connect()  # nothing is done if it is
        return self._connection

    def _is_stale(self) -> bool:
        if not self._pool.owns_connection(self._connection):  # sentinels know another primary now
            return True
        try:
            return bool(self._connection.can_read(timeout=0))  # nothing is to come but the end
        except (redis.ConnectionError, OSError):
            return True

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.disconnect()


def _answer(connection: Any, together: Sequence[list[_Question]]) -> list[list[_Question]]:  # noqa: ANN401 - as above
    """Send all groups, each as one command, and read all answers. Returns those of several that are to be asked singly.

    An error does not say whose it is, nor what was done before it: each question finds out about its own.
    """
    connection.send_packed_command(["".join([pack_group(group) for group in together]).encode()])
    refused = []
    for group in together:
        try:
            answer = connection.read_response()
        except redis.ResponseError as exc:
            if len(group) == 1:
                group[0].answer = exc
            else:
                refused.append(group)
            continue
        if not group[0].shared:
            group[0].answer = answer
        else:
            for place, question in enumerate(group):
                question.answer = answer[place : place + 1]
    return refused


def _wake(question: _Question) -> None:
    if question.wait is not None:
        question.wait.wake()


class Lined(redis.Redis):
    """A client whose scripts go over its line. All other commands are redis-py's own, each on a connection."""

    line: Line

    def execute_command(self, *args: Any, may_join: bool = False, **options: Any) -> Any:  # noqa: ANN401 - redis-py's own
        """Run a command and return its answer. With `may_join` it is a call of a script that takes several."""
        if args[0] in ("EVALSHA", "EVAL"):
            return self.line.ask(args, may_join=may_join)
        return super().execute_command(*args, **options)  # type: ignore[no-untyped-call] # redis-py gives it no types
