"""Whatever is killed, the service heals or ends whole; and a credential is never lost and never good twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING, Self

import pytest

from tests.support.processes import PATIENCE_SECONDS, alive, until
from tests.support.service import Client, Deployment, Running, clean_environment, free_port, serving
from tokensvc.launcher import OUTAGE, _before_gunicorn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
REPLAYED = "credential.replayed"


@pytest.fixture(scope="module")
def healing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Client, Deployment]]:
    """One service for all that it must heal from."""
    deployment = Deployment(tmp_path_factory.mktemp("l"))
    deployment.write()
    with serving(deployment) as (service, client):
        yield service, client, deployment
        assert service.stop() == 0


class Kept:
    """One credential that was spent and one that was not, before something happened."""

    def __init__(self, client: Client) -> None:
        self.spent, self.unspent = client.credential(), client.credential()
        assert client.upload(self.spent).status == 200

    def are_as_they_were(self, client: Client) -> None:
        """The spent one is refused, the other is good once."""
        assert client.upload(self.spent).headers["x-tokensvc-code"] == REPLAYED
        assert client.upload(self.unspent).status == 200
        assert client.upload(self.unspent).headers["x-tokensvc-code"] == REPLAYED


def test_a_killed_worker_is_replaced(healing: tuple[Running, Client, Deployment]) -> None:
    service, client, _ = healing
    kept = Kept(client)
    workers = service.workers
    victim = min(workers)
    os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in service.workers and len(service.workers) == 2)
    until(client.is_ready)
    kept.are_as_they_were(client)


@pytest.mark.parametrize("part", ["supervisor", "valkey"])
def test_a_killed_store_comes_back_with_what_it_knew(healing: tuple[Running, Client, Deployment], part: str) -> None:
    service, client, _ = healing
    kept = Kept(client)
    victims = {service.supervisor, service.valkey} if part == "supervisor" else {service.valkey}
    os.kill(getattr(service, part), signal.SIGKILL)
    until(lambda: not any(map(alive, victims)))
    until(client.is_ready)
    kept.are_as_they_were(client)
    assert service.process.poll() is None


def test_hup_replaces_the_workers_and_no_request_is_lost(healing: tuple[Running, Client, Deployment]) -> None:
    service, client, _ = healing
    kept = Kept(client)
    before = service.workers
    with Load(client) as load:
        service.send(signal.SIGHUP)
        until(lambda: len(service.workers) == 2 and not service.workers & before)
    assert load.failures == []
    assert load.resets == 0
    assert load.issued > 0
    kept.are_as_they_were(client)


def test_hup_with_a_faulty_configuration_is_told_and_changes_nothing(
    healing: tuple[Running, Client, Deployment],
) -> None:
    """gunicorn alone would start workers that cannot start, and then end."""
    service, client, deployment = healing
    reloads = service.log.count("Handling signal: hup")
    deployment.write("[cors]\norigins = ['*']\n")
    try:
        service.send(signal.SIGHUP)
        until(lambda: "tokensvc does not reload" in service.log)
        assert "cors.origins[0]" in service.log
        assert client.is_ready()
        assert service.log.count("Handling signal: hup") == reloads
    finally:
        deployment.write()


def test_no_header_of_a_client_makes_its_request_a_secure_one(healing: tuple[Running, Client, Deployment]) -> None:
    """gunicorn trusts loopback by default."""
    _, client, _ = healing
    answer = client.upload(client.credential(), {"X-Forwarded-Proto": "https", "X-Forwarded-Ssl": "on"})
    assert answer.json["url"].startswith("http://localhost/files/")


def test_no_secret_is_on_a_command_line_or_in_the_log(healing: tuple[Running, Client, Deployment]) -> None:
    service, client, deployment = healing
    credential = client.credential()
    told = service.command_lines() + service.log
    assert "gunicorn" in told
    assert "valkey-server" in told  # it was started, as no REDIS_URL is set
    for secret in (deployment.private_key, deployment.api_key, credential["token"], credential["signature"], "CANARY"):
        assert secret not in told


@pytest.mark.parametrize("part", ["master", "launcher"])
def test_when_the_main_process_is_killed_all_end_and_a_new_start_needs_no_cleaning_up(
    deployment: Deployment, part: str
) -> None:
    with serving(deployment) as (service, client):
        kept = Kept(client)
        os.kill(service.master if part == "master" else service.process.pid, signal.SIGKILL)
        status = service.wait()
        assert status == (OUTAGE if part == "master" else -signal.SIGKILL)
    with serving(deployment) as (service, client):
        kept.are_as_they_were(client)


def test_term_under_load_ends_cleanly_and_fails_no_request(deployment: Deployment) -> None:
    """A connection that nobody had accepted when the listening socket closed is refused, or reset by the kernel.

    But every credential that was recorded was handed out; and the store ends last.
    """
    with serving(deployment) as (service, client):
        supervisor, workers = service.supervisor, service.workers
        with Load(client) as load:
            until(lambda: load.issued > 50)
            assert load.resets == 0
            service.send(signal.SIGTERM)
            until(lambda: not alive(supervisor))
            assert not any(map(alive, workers))
            assert service.wait() == 0
        assert load.failures == []
        assert service.log.count('"event": "issued"') == load.issued


def test_ctrl_c_ends_everything_gracefully(tmp_path: Path) -> None:
    """A terminal sends it to the whole process group."""
    port = free_port()
    command = [sys.executable, "-m", "tokensvc", "dev", "--bind", f"127.0.0.1:{port}", "--data", str(tmp_path / "d")]
    with Running(command, {}, log=tmp_path / "log", data=tmp_path / "d") as service:
        until(Client(port).is_ready)
        os.killpg(service.process.pid, signal.SIGINT)
        assert service.wait() == 0
        assert "Traceback" not in service.log


def test_a_second_service_shares_the_store_and_takes_it_over(deployment: Deployment) -> None:
    with serving(deployment) as (first, client):
        kept = Kept(client)
        with serving(deployment) as (second, other):
            assert other.upload(kept.spent).headers["x-tokensvc-code"] == REPLAYED
            first.send(signal.SIGTERM)
            assert first.process.wait(PATIENCE_SECONDS) == 0
            until(other.is_ready)
            kept.are_as_they_were(other)
            assert second.stop() == 0


class Load:
    """Eight threads that fetch credentials, one connection each, until told to stop or refused a connection."""

    def __init__(self, client: Client) -> None:
        self.failures: list[str] = []
        self.issued = self.resets = 0
        self._client = client
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(8)]

    def _run(self) -> None:
        while not self._end.is_set():
            try:
                answer = self._client.issue()
            except ConnectionRefusedError:
                return
            except ConnectionResetError:
                with self._lock:
                    self.resets += 1
                return
            except Exception as exc:  # noqa: BLE001 - whatever it is, it is a request that failed
                with self._lock:
                    self.failures.append(repr(exc))
                return
            with self._lock:
                if answer.status == 200:
                    self.issued += 1
                else:
                    self.failures.append(repr(answer))

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()


# What follows runs the launcher with a program in gunicorn's stead, and a store that does as it is told.


_SERVER = (
    "import os, signal\n"
    "assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN\n"
    "signal.signal(signal.SIGHUP, lambda *a: os._exit(9))\n"
    "signal.signal(signal.SIGTERM, lambda *a: os._exit(0))\n"
    "print('runs', flush=True)\n"
    "while True: signal.pause()\n"
)


_WAITING_SERVER = (
    "from types import SimpleNamespace\n"
    "from gunicorn.config import Config\n"
    "from tokensvc import gunicorn_settings\n"
    "print('loaded', flush=True)\n"
    "gunicorn_settings.on_starting(SimpleNamespace(cfg=Config()))\n"
    "print('listens', flush=True)\n"
)


class Launched(Running):
    """A script that calls `launcher.run`."""

    def __init__(self, folder: Path, script: str) -> None:
        head = """
            import os, signal, sys, time
            from tokensvc import launcher
            from tokensvc.adapters.embedded import StoreFault
            say = lambda text: print(text, flush=True)
            class Store:
                lives = True
                def alive(self): return self.lives
                def stop(self): say("store stopped")
        """
        text = textwrap.dedent(head) + textwrap.dedent(script)
        super().__init__([sys.executable, "-c", text], {}, log=folder / "log", data=folder)

    def said(self, text: str) -> None:
        """Wait until it has said that."""
        until(lambda: text in self.log or self.process.poll() is not None)
        assert text in self.log, self.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_before_the_store_is_there_ends_gunicorn_too_and_it_never_listens(
    tmp_path: Path, number: signal.Signals
) -> None:
    script = f"""
        def start():
            say("starting")
            time.sleep(60)
        sys.exit(launcher.run([sys.executable, "-c", {_WAITING_SERVER!r}], dict(os.environ), start))
    """
    with Launched(tmp_path, script) as launched:
        launched.said("starting")
        launched.said("loaded")
        launched.send(number)
        assert launched.wait() == 0
        assert sorted(launched.log.splitlines()) == ["loaded", "starting"]


def test_gunicorn_loads_itself_while_the_store_starts_and_listens_only_then(tmp_path: Path) -> None:
    script = f"""
        def start():
            while "loaded" not in open({str(tmp_path / "log")!r}).read():
                time.sleep(0.02)
            say("store there")
            return Store()
        sys.exit(launcher.run([sys.executable, "-c", {_WAITING_SERVER!r}], dict(os.environ), start))
    """
    with Launched(tmp_path, script) as launched:
        assert launched.wait() == 0
        assert launched.log.splitlines() == ["loaded", "store there", "listens", "store stopped"]


def test_a_stop_that_gunicorn_cannot_handle_yet_is_a_clean_end(tmp_path: Path) -> None:
    server = f"{_WAITING_SERVER}import time; time.sleep(60)"
    script = f"""
        sys.exit(launcher.run([sys.executable, "-c", {server!r}], dict(os.environ), Store))
    """
    with Launched(tmp_path, script) as launched:
        launched.said("listens")
        assert launched.stop() == 0
        assert launched.log.endswith("store stopped\n")


@pytest.mark.parametrize(
    ("reload", "status", "told"),
    [
        ("lambda: True", OUTAGE, "gunicorn ended with status 9"),
        ("lambda: False", 0, ""),
        ("None", 0, ""),
    ],
)
def test_hup_reloads_or_ends_and_asks_first(tmp_path: Path, reload: str, status: int, told: str) -> None:
    """A program that has no handler yet would be ended by HUP, so it starts with it ignored."""
    script = f"""
        reload = {reload}
        def may_reload():
            say("asked")
            return reload()
        sys.exit(launcher.run([sys.executable, "-c", {_SERVER!r}], {{}}, None, reload and may_reload))
    """
    with Launched(tmp_path, script) as launched:
        launched.said("runs")
        launched.send(signal.SIGHUP)
        if reload == "lambda: False":
            launched.said("asked")
            launched.send(signal.SIGTERM)
        assert launched.wait() == status
        assert told in launched.log


def test_a_store_that_does_not_come_back_is_told_and_tried_for_again(tmp_path: Path) -> None:
    """The service stays: `/readyz` and 503 are for that."""
    script = """
        tries = 0
        def start():
            global tries
            tries += 1
            say(f"try {tries}")
            if tries in (2, 3):
                raise StoreFault("The disk is full.") if tries == 2 else OSError("no more processes")
            store = Store()
            store.lives = tries > 1
            return store
        launcher._FIRST_PAUSE_SECONDS = 0.02
        launcher._LOOK_SECONDS = 0.02
        sys.exit(launcher.run(["sleep", "60"], dict(os.environ), start))
    """
    with Launched(tmp_path, script) as launched:
        launched.said("it is started again")
        assert launched.stop() == 0
        assert "next try in 0.02 s. The disk is full." in launched.log
        assert "no more processes" in launched.log
        assert "try 4" in launched.log
        assert "try 5" not in launched.log


def test_a_store_that_does_not_start_at_all_is_told_to_who_asked(tmp_path: Path) -> None:
    script = f"""
        def start():
            raise StoreFault("The disk is full.")
        try:
            launcher.run([sys.executable, "-c", {_WAITING_SERVER!r}], dict(os.environ), start)
        except StoreFault as fault:
            say(f"told: {{fault}}")
    """
    with Launched(tmp_path, script) as launched:
        assert launched.wait() == 0
        assert launched.log.replace("loaded\n", "") == "told: The disk is full.\n"


@pytest.mark.parametrize(
    ("server", "status", "told"),
    [
        ("exit 0", 0, ""),
        ("exit 1", OUTAGE, "gunicorn ended with status 1."),
        ("kill -KILL $$", OUTAGE, "gunicorn was ended by SIGKILL."),
        ("kill -TERM $$", OUTAGE, "gunicorn was ended by SIGTERM."),
    ],
)
def test_the_end_of_gunicorn_is_judged(tmp_path: Path, server: str, status: int, told: str) -> None:
    script = f"""
        sys.exit(launcher.run(["/bin/sh", "-c", {server!r}], {{}}, Store))
    """
    with Launched(tmp_path, script) as launched:
        assert launched.wait() == status
        assert launched.log == (f"tokensvc: {told}\n" if told else "") + "store stopped\n"


def test_the_workers_of_a_killed_master_end_before_the_store(tmp_path: Path) -> None:
    """They are handed on to the launcher; one that does not notice would be killed."""
    server = "(trap '' TERM; sleep 0.3; echo worker ended) & kill -KILL $$"
    script = f"""
        sys.exit(launcher.run(["/bin/sh", "-c", {server!r}], dict(os.environ), Store))
    """
    with Launched(tmp_path, script) as launched:
        assert launched.wait() == OUTAGE
        assert launched.log.index("worker ended") < launched.log.index("store stopped")


@pytest.mark.parametrize(("off_by", "status"), [(0, 0), (1, 1)])
def test_gunicorn_does_not_start_for_another_parent_than_its_launcher(off_by: int, status: int) -> None:
    """The launcher may well be process 1, as in a container: that its number is 1 says nothing."""
    child = subprocess.Popen(["true"], env=clean_environment(), preexec_fn=_before_gunicorn(os.getpid() + off_by))  # noqa: PLW1509 - `true` needs no lock
    assert child.wait() == status
