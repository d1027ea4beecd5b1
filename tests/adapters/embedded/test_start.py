"""Starting, stopping and killing: no death of anything needs cleaning up by hand."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.embedded import Service, pid_of, ready_again
from tests.support.processes import alive, inside, until
from tokensvc.adapters.embedded import Store, StoreFault, start, url
from tokensvc.adapters.embedded.home import Home, take
from tokensvc.core.nonces import NonceId
from tokensvc.ports import Outcome

LAUNCHER = """
import sys
from pathlib import Path
from tokensvc.adapters.embedded import start

store = start(Path(sys.argv[1]))
print(store.owned, flush=True)
sys.stdin.read()
store.stop()
"""


def launch(directory: Path) -> subprocess.Popen[str]:
    """A launcher of its own, which stops its store when its standard input closes."""
    return subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, directory], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_it_is_ready_when_start_returns(store: Store, service: Service) -> None:
    assert store.owned
    assert store.alive()
    service.nonces.ready()
    assert service.redeem(service.issue()) is Outcome.SPENT


def test_a_stop_leaves_no_process_and_no_stale_file(
    directory: Path, home: Home, capfd: pytest.CaptureFixture[str]
) -> None:
    store = start(directory)
    store.stop()
    assert not store.alive()
    assert capfd.readouterr().err == "", "nothing had to be killed"
    assert inside(directory) == set()
    assert [path for path in (home.socket, home.pid_file, home.ready, home.unjudged) if path.exists()] == []


def test_a_stop_may_be_asked_for_twice(directory: Path) -> None:
    store = start(directory)
    store.stop()
    store.stop()


def test_passwords_stay_from_start_to_start(directory: Path) -> None:
    """A worker that was not restarted gets in again."""
    start(directory).stop()
    before = url(directory)
    start(directory).stop()
    assert url(directory) == before


def test_a_killed_server_comes_back_by_itself(service: Service, home: Home) -> None:
    kept, spent = service.issue(), service.issue()
    assert service.redeem(spent) is Outcome.SPENT
    server = pid_of(home.pid_file)
    os.kill(server, signal.SIGKILL)
    assert ready_again(home, after=server) < 2.0, "usually 0.2 s"
    assert service.redeem(spent) is Outcome.REPLAYED
    assert service.redeem(kept) is Outcome.SPENT


def test_a_killed_supervisor_takes_its_server_along(directory: Path, home: Home) -> None:
    store = start(directory)
    service = Service(directory)
    nonce = service.issue()
    supervisor, server = pid_of(home.ready), pid_of(home.pid_file)
    os.kill(supervisor, signal.SIGKILL)
    until(lambda: not alive(server))
    assert not store.alive()
    store.stop()
    with_next(directory, service, nonce)


def test_a_killed_supervisor_and_a_start_at_once(directory: Path, home: Home) -> None:
    """Not waiting for the orphan to end: the next supervisor does."""
    store = start(directory)
    service = Service(directory)
    nonce = service.issue()
    os.kill(pid_of(home.ready), signal.SIGKILL)
    with_next(directory, service, nonce)
    store.stop()


def test_both_killed(directory: Path, home: Home) -> None:
    store = start(directory)
    service = Service(directory)
    nonce = service.issue()
    supervisor, server = pid_of(home.ready), pid_of(home.pid_file)
    os.kill(supervisor, signal.SIGSTOP)  # it must not restart the server in between
    os.kill(server, signal.SIGKILL)
    os.kill(supervisor, signal.SIGKILL)
    assert home.socket.exists()
    with_next(directory, service, nonce)
    store.stop()


def with_next(directory: Path, service: Service, nonce: NonceId) -> None:
    """Start again, and find the nonce still good, once."""
    store = start(directory)
    try:
        assert store.owned
        assert service.redeem(nonce) is Outcome.SPENT
        assert service.redeem(nonce) is Outcome.REPLAYED
    finally:
        service.close()
        store.stop()


def test_a_second_start_shares(store: Store, service: Service) -> None:
    """It leaves the store running when it stops, as that is not its own."""
    nonce = service.issue()
    second = start(store.directory)
    assert not second.owned
    assert second.alive()
    second.stop()
    assert not second.alive()
    assert store.alive()
    assert service.redeem(nonce) is Outcome.SPENT


def test_who_shares_sees_the_end(directory: Path) -> None:
    store = start(directory)
    second = start(directory)
    store.stop()
    assert not second.alive()
    second.stop()


def test_two_launchers_at_once_have_one_store(directory: Path) -> None:
    launchers = [launch(directory) for _ in range(3)]
    said = sorted(launcher.stdout.readline().strip() for launcher in launchers if launcher.stdout)
    assert said == ["False", "False", "True"]
    assert len(inside(directory) - {launcher.pid for launcher in launchers}) == 2, "one supervisor, one server"
    for launcher in launchers:
        launcher.communicate()
        assert launcher.returncode == 0


def test_a_killed_launcher_takes_all_along(directory: Path, home: Home) -> None:
    launcher = launch(directory)
    assert launcher.stdout
    assert launcher.stdout.readline() == "True\n"
    server = pid_of(home.pid_file)
    launcher.kill()
    launcher.communicate()
    until(lambda: not inside(directory))
    assert not alive(server)
    assert not home.socket.exists(), "it was asked to end, not killed"


def test_a_terminal_interrupts_neither(store: Store, home: Home) -> None:
    """Ctrl-C goes to a session; the store has to outlive the workers' last requests."""
    assert store.alive()
    assert len({os.getsid(pid) for pid in (0, pid_of(home.ready), pid_of(home.pid_file))}) == 3


def test_a_server_that_keeps_dying_is_given_up(directory: Path, home: Home, capfd: pytest.CaptureFixture[str]) -> None:
    store = start(directory)
    home.configuration.write_text("nonsense yes\n")
    os.kill(pid_of(home.pid_file), signal.SIGKILL)
    until(lambda: not store.alive())
    told = capfd.readouterr().err
    assert "died 5 times within 10 s, so it is not started any more." in told
    assert "nonsense yes" in told, "the server's own words"
    assert inside(directory) == set()
    assert not home.ready.exists()
    store.stop()


def test_a_start_that_takes_too_long_is_given_up(directory: Path, home: Home) -> None:
    start(directory).stop()
    lock = take(home.server_lock)
    assert lock is not None
    with pytest.raises(StoreFault, match=r"not ready within 0\.6 s\. Its server's last words, .*\n(.*\n)*.*bye bye"):
        start(directory, within_seconds=0.6)
    assert inside(directory) == set()
    os.close(lock)


def test_by_hand_it_says_that_it_is_ready_and_stops_when_asked(directory: Path) -> None:
    by_hand = subprocess.Popen(
        [sys.executable, "-m", "tokensvc.adapters.embedded", directory], stderr=subprocess.PIPE, text=True
    )
    assert by_hand.stderr
    assert by_hand.stderr.readline() == "tokensvc store: ready\n"
    other = subprocess.run(
        [sys.executable, "-m", "tokensvc.adapters.embedded", directory], capture_output=True, text=True, check=False
    )
    assert (other.returncode, other.stderr) == (
        1,
        f"tokensvc store: The store in {directory} runs already. Use that one, or stop it first.\n",
    )
    by_hand.terminate()
    assert by_hand.communicate()[1] == ""
    assert by_hand.returncode == 0


def test_a_launcher_that_died_first_leaves_nothing(directory: Path) -> None:
    """Between its fork and our asking to end with it: then nobody would ever stop the store."""
    late = subprocess.run(
        [sys.executable, "-m", "tokensvc.adapters.embedded", "--with-parent", "1", directory], check=False, timeout=10
    )
    assert late.returncode == 0
    assert not directory.exists()
