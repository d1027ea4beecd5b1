"""`tokensvc upload`, as a command, against a real server: nothing twice, nothing lost, whatever goes wrong."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import pty
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from tests.support.processes import PATIENCE_SECONDS, until
from tests.support.service import clean_environment
from tokensvc.bulk.addresses import Address
from tokensvc.bulk.credentials import Issued, Later, Lent
from tokensvc.bulk.outcomes import Manner
from tokensvc.bulk.plan import plan
from tokensvc.bulk.progress import Progress
from tokensvc.bulk.run import Run
from tokensvc.bulk.wire import Wire
from tokensvc.embed.pytest import Emulator, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
REFUSED, USAGE, OUTAGE, INTERRUPTED = 1, 2, 3, 130


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    data = Path(tempfile.mkdtemp(prefix="bulk-"))
    try:
        with running(data) as emulator:
            yield emulator
    finally:
        shutil.rmtree(data)


@pytest.fixture
def emulator(server: Emulator) -> Emulator:
    server.reset()
    return server


@dataclass(frozen=True)
class Told:
    """What the command said and how it ended."""

    status: int
    lines: list[dict[str, Any]]
    err: str

    @property
    def outcomes(self) -> dict[str, int]:
        names = [line["outcome"] for line in self.lines]
        return {name: names.count(name) for name in set(names)}


@dataclass(frozen=True)
class Place:
    """A folder with files, and the command in it."""

    folder: Path
    emulator: Emulator

    def fill(self, number: int, size: int = 2000) -> dict[str, str]:
        """Make files in `all/`; the SHA-256 of each by its target."""
        sums = {}
        for each in range(number):
            path = self.folder / "all" / f"part-{each % 7}" / f"file {each}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            content = os.urandom(size)
            path.write_bytes(content)
            sums[f"/all/part-{each % 7}/file_{each}.bin"] = hashlib.sha256(content).hexdigest()
        return sums

    def command(self, *arguments: str, to: str = "") -> list[str]:
        to = to or self.emulator.url
        return [sys.executable, "-m", "tokensvc", "upload", "--to", to, "--json", *arguments]

    def environment(self, **settings: str) -> dict[str, str]:
        return clean_environment({"TOKENSVC_API_KEY": self.emulator.api_key, **settings})

    def run(self, *arguments: str, to: str = "", **settings: str) -> Told:
        told = subprocess.run(
            self.command(*arguments, to=to),
            cwd=self.folder,
            env=self.environment(**settings),
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS * 2,
            check=False,
        )
        for secret in (self.emulator.api_key, self.emulator.private_key):
            assert secret not in told.stdout + told.stderr
        assert "Traceback" not in told.stderr, told.stderr
        return Told(told.returncode, [json.loads(line) for line in told.stdout.splitlines()], told.stderr)

    @contextlib.contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        with (
            (self.folder / "err").open("w") as err,
            (self.folder / "out").open("w") as out,
            subprocess.Popen(
                self.command(*arguments), cwd=self.folder, env=self.environment(), stdout=out, stderr=err, text=True
            ) as process,
        ):
            try:
                yield process
            finally:
                process.kill()

    def kept(self) -> dict[str, str]:
        """The SHA-256 of what is at each path of the server, which has it in one version."""
        sums = {}
        for document in (self.emulator.data / "files" / "index").glob("??/*.json"):
            record = json.loads(document.read_text())
            assert list(record["earlier"]) == [], record["file_path"]
            sums[record["file_path"]] = record["sha256"]
        return sums


@pytest.fixture
def place(tmp_path: Path, emulator: Emulator) -> Place:
    return Place(tmp_path, emulator)


# The loop


@pytest.mark.parametrize("version", [[], ["--v2"]], ids=["v1", "v2"])
def test_a_folder_goes_up_with_its_structure(place: Place, version: list[str]) -> None:
    sums = place.fill(10)
    told = place.run("all", *version)
    assert (told.status, told.outcomes) == (0, {"stored": 10}), told.err
    assert place.kept() == sums
    line = next(line for line in told.lines if line["target"] == "/all/part-3/file_3.bin")
    assert line == {
        "path": "all/part-3/file 3.bin",
        "target": "/all/part-3/file_3.bin",
        "size": 2000,
        "outcome": "stored",
        "tries": 1,
        "fileId": line["fileId"],
        "filePath": "/all/part-3/file_3.bin",
        "url": f"{place.emulator.url_endpoint}/all/part-3/file_3.bin",
    }


def test_parameters_and_a_folder_are_sent_with_every_file(place: Place) -> None:
    place.fill(2)
    told = place.run("all/", "--into", "shop", "--set", "tags=a,b", "--set", "isPrivateFile=true", "--v2")
    assert told.status == 0, told.err
    documents = (place.emulator.data / "files" / "index").glob("??/*.json")
    fields = [json.loads(document.read_text())["fields"] for document in documents]
    assert [(each["tags"], each["isPrivateFile"]) for each in fields] == [("a,b", "true")] * 2
    assert {path.split("/")[1] for path in place.kept()} == {"shop"}


def test_two_hundred_files_come_through_everything_that_goes_wrong(place: Place) -> None:
    sums = place.fill(200)
    place.emulator.faults(
        *("reject=0.08", "replay=0.08", "status=503@0.05", "status=429@0.03", "expire=now@0.05", "store=down@0.03"),
        seed=4,
    )
    told = place.run("all", "--manifest", "m", "--jobs", "8", "--tries", "12")
    assert told.status == 0, told.err
    assert sum(told.outcomes.values()) == 200
    assert sum(line["tries"] > 1 for line in told.lines) > 10
    assert place.kept() == sums


@pytest.mark.parametrize(
    ("fault", "tries"),
    [("reject=x1", 2), ("replay=x1", 2), ("expire=now@x1", 2), ("status=500@x1", 2), ("store=down@x2", 3)],
)
def test_each_fault_is_met_with_a_new_credential(place: Place, fault: str, tries: int) -> None:
    place.fill(1)
    place.emulator.faults(fault)
    told = place.run("all")
    assert (told.status, told.lines[0]["outcome"], told.lines[0]["tries"]) == (0, "stored", tries), told.err


def test_what_is_refused_for_good_is_not_tried_again(place: Place) -> None:
    place.fill(2)
    told = place.run("all", "--set", "customCoordinates=nonsense")
    assert (told.status, told.outcomes) == (REFUSED, {"refused": 2})
    assert [line["tries"] for line in told.lines] == [1, 1]
    assert "invalid value for customCoordinates" in told.lines[0]["why"]


def test_a_fault_s_status_reaches_who_sends_a_large_body(place: Place) -> None:
    """A client that is cut off while it sends sees a broken connection, as browsers do, and no answer."""
    place.emulator.faults("status=503")
    address = Address.parse(place.emulator.url)
    connection = http.client.HTTPConnection(address.host, address.port, timeout=PATIENCE_SECONDS)
    with contextlib.closing(connection):
        connection.request("POST", "/api/v1/files/upload", bytes(20_000_000), {"Connection": "close"})
        assert connection.getresponse().status == 503


def test_tries_have_an_end(place: Place) -> None:
    place.fill(1)
    place.emulator.faults("replay=1")
    told = place.run("all", "--tries", "2")
    assert (told.status, told.lines[0]["outcome"], told.lines[0]["tries"]) == (REFUSED, "refused", 2)
    place.emulator.faults("status=503")
    told = place.run("all", "--tries", "2")
    assert (told.status, told.lines[0]["outcome"], told.lines[0]["tries"]) == (OUTAGE, "unanswered", 2)


def test_an_outage_ends_the_run_before_every_file_has_met_it(place: Place) -> None:
    place.fill(30)
    place.emulator.faults("store=down")
    told = place.run("all", "--tries", "1", "--jobs", "2")
    assert told.status == OUTAGE
    assert 3 <= told.outcomes["unanswered"] <= 5
    assert "not sent" in told.err


class Counting:
    """A lender that notes how many it was asked for at a time."""

    def __init__(self, lender: Issued) -> None:
        self.lender = lender
        self.asked: list[int] = []
        self.at_once = lender.at_once

    def lend(self, uploads: Sequence[Mapping[str, str]]) -> list[Lent]:
        self.asked.append(len(uploads))
        return self.lender.lend(uploads)

    def abort(self) -> None:
        self.lender.abort()

    def close(self) -> None:
        self.lender.close()


def test_credentials_come_in_batches_and_none_is_left_over(place: Place) -> None:
    place.fill(23)
    address = Address.parse(place.emulator.url)
    lender = Counting(Issued(Wire(address), "/auth/batch", place.emulator.api_key, "v1"))
    with (place.folder / "said").open("w") as said:
        watcher = Progress(said, files=23, size=0, bars=False)
        wire = Wire(address.at("/api/v1/files/upload"))
        run = Run(wire, lender, Manner({}, jobs=5), watcher, lambda: 0.5)
        run.start(plan([str(place.folder / "all")]).items)
        until(lambda: run.over(0.05))
    assert len(place.kept()) == 23
    assert sum(lender.asked) == 23
    assert max(lender.asked) == 5
    assert len(lender.asked) <= 8


class Stingy(Counting):
    """One that lends a single credential at a time, as under a limit of outstanding ones."""

    def lend(self, uploads: Sequence[Mapping[str, str]]) -> list[Lent]:
        if len(uploads) > 1:
            self.asked.append(len(uploads))
            raise Later("At most 1 may be outstanding.", 0.0, is_outage=False)
        return super().lend(uploads)


def test_where_many_are_too_many_they_are_fetched_one_by_one(place: Place) -> None:
    place.fill(4)
    address = Address.parse(place.emulator.url)
    lender = Stingy(Issued(Wire(address), "/auth/batch", place.emulator.api_key, "v1"))
    with (place.folder / "said").open("w") as said:
        wire = Wire(address.at("/api/v1/files/upload"))
        manner = Manner({}, jobs=2, first_pause=0.01)
        run = Run(wire, lender, manner, Progress(said, files=4, size=0, bars=False), lambda: 0.5)
        run.start(plan([str(place.folder / "all")]).items)
        until(lambda: run.over(0.05))
    assert len(place.kept()) == 4
    assert lender.asked.count(1) == 4


# Names that are taken


def test_no_file_is_put_over_another(place: Place) -> None:
    sums = place.fill(1)
    assert place.run("all").status == 0
    (path,) = (place.folder / "all").rglob("*.bin")
    path.write_bytes(b"other")
    told = place.run("all")
    assert (told.status, told.lines[0]["outcome"]) == (REFUSED, "refused")
    assert "already exists" in told.lines[0]["why"]
    assert place.kept() == sums
    assert place.run("all", "--names", "unique").status == 0
    assert len(place.kept()) == 2
    told = place.run("all", "--names", "overwrite")
    assert (told.status, told.lines[0]["outcome"]) == (0, "stored")
    with pytest.raises(AssertionError, match=r"file_0\.bin"):
        place.kept()


class LossyProxy:
    """Passes connections on to a port; of uploads it keeps the first answers to itself."""

    def __init__(self, port: int, losses: int) -> None:
        self._to, self.losses = port, losses
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept)
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in (self._thread, *self._threads):
            thread.join()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._pass_on, args=(client,)))
                self._threads[-1].start()

    def _pass_on(self, client: socket.socket) -> None:
        is_upload = False
        with client, socket.create_connection(("127.0.0.1", self._to)) as server:
            while True:
                readable, _, _ = select.select([client, server], [], [])
                for one, other in ((client, server), (server, client)):
                    if one in readable:
                        try:
                            piece = one.recv(65_536)
                        except OSError:
                            piece = b""
                        is_upload = is_upload or (one is client and piece.startswith(b"POST /api/"))
                        if not piece:
                            return
                        if one is server and is_upload and self.losses:
                            self.losses -= 1
                            return
                        other.sendall(piece)


def test_an_upload_whose_answer_was_lost_is_found_and_not_done_twice(place: Place) -> None:
    sums = place.fill(6)
    with LossyProxy(Address.parse(place.emulator.url).port or 0, losses=3) as proxy:
        told = place.run("all", "--manifest", "m", to=f"http://127.0.0.1:{proxy.port}")
    assert proxy.losses == 0
    assert (told.status, told.outcomes) == (0, {"stored": 3, "found": 3}), told.err
    assert place.kept() == sums


# Going on


def test_what_was_stored_is_not_sent_again_and_what_was_added_is(place: Place) -> None:
    place.fill(5)
    assert place.run("all", "--manifest", "m").outcomes == {"stored": 5}
    for path in (place.folder / "all").rglob("*.bin"):
        path.touch()
    (place.folder / "all" / "new.bin").write_bytes(b"new")
    told = place.run("all", "--manifest", "m")
    assert (told.status, told.outcomes) == (0, {"unchanged": 5, "stored": 1})


def test_killed_in_the_middle_three_times_nothing_is_twice_and_nothing_lost(place: Place) -> None:
    sums = place.fill(200)
    for part in (1, 2, 3):
        enough = 45 * part
        with place.started("all", "--manifest", "m", "--jobs", "8") as process:
            until(lambda: place.emulator.state()["files"] >= enough)  # noqa: B023 - asked at once
            process.send_signal(signal.SIGKILL)
            assert process.wait(PATIENCE_SECONDS) == -signal.SIGKILL
        assert len(place.kept()) < 200
    told = place.run("all", "--manifest", "m", "--jobs", "8")
    assert told.status == 0, told.err
    assert told.outcomes.keys() <= {"unchanged", "found", "stored"}
    assert told.outcomes["unchanged"] > 100
    assert sum(told.outcomes.values()) == 200
    assert place.kept() == sums
    assert place.run("all", "--manifest", "m").outcomes == {"unchanged": 200}


def test_ctrl_c_lets_what_is_being_sent_end(place: Place) -> None:
    sums = place.fill(60)
    place.emulator.faults("latency=50ms")
    with place.started("all", "--manifest", "m") as process:
        until(lambda: place.emulator.state()["files"] >= 4)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == INTERRUPTED
    said = (place.folder / "err").read_text()
    assert "Interrupted. Run the same command" in said
    assert "Traceback" not in said
    stored = [json.loads(line) for line in (place.folder / "out").read_text().splitlines()]
    assert {line["target"] for line in stored if line["outcome"] == "stored"} == place.kept().keys()
    assert 4 <= len(stored) < 60
    place.emulator.faults()
    told = place.run("all", "--manifest", "m")
    assert (told.status, told.outcomes) == (0, {"unchanged": len(stored), "stored": 60 - len(stored)})
    assert place.kept() == sums


def test_a_second_ctrl_c_ends_it_at_once(place: Place) -> None:
    place.fill(8)
    place.emulator.faults("latency=60s")
    with place.started("all") as process:
        until(lambda: _connected(process.pid))
        process.send_signal(signal.SIGINT)
        said = place.folder / "err"
        until(lambda: "Ctrl-C again ends at once" in said.read_text())
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == INTERRUPTED
    assert "Traceback" not in (place.folder / "err").read_text()


def _connected(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError):  # a file that was closed meanwhile
        return any("socket:" in str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir())
    return False


# Signing here, as for ImageKit


@pytest.mark.parametrize("version", [[], ["--v2"]], ids=["v1", "v2"])
def test_with_the_private_key_here_nobody_is_asked_for_credentials(place: Place, version: list[str]) -> None:
    """The emulator stands for ImageKit: it takes what was signed elsewhere with its key."""
    sums = place.fill(12)
    configuration = place.folder / "tokensvc.toml"
    configuration.write_text(
        f'[callers.b]\nkind = "api_key"\nkeys = [{{ id = "b", sha256 = "{"0" * 64}", subject = "b" }}]\n'
        '[profiles.default]\ncallers = ["b"]\n'
    )
    settings = {
        "IMAGEKIT_PUBLIC_KEY": place.emulator.public_key,
        "IMAGEKIT_PRIVATE_KEY": place.emulator.private_key,
        "TOKENSVC_CONFIG": str(configuration),
    }
    place.emulator.faults("replay=x3")
    to = place.emulator.upload_v2_url if version else place.emulator.upload_url
    told = place.run("all", "--sign", *version, to=to, **settings)
    assert (told.status, told.outcomes) == (0, {"stored": 12}), told.err
    assert sum(line["tries"] for line in told.lines) == 15
    assert place.kept() == sums


# What is said


def test_a_dry_run_says_what_would_go_where_and_sends_nothing(place: Place) -> None:
    place.fill(3)
    told = place.run("all", "--dry-run", "--manifest", "m", TOKENSVC_API_KEY="")
    assert (told.status, told.outcomes) == (0, {"planned": 3})
    assert told.lines[0]["to"] == place.emulator.upload_url
    assert place.kept() == {}
    assert not (place.folder / "m").exists()


@pytest.mark.parametrize(
    ("arguments", "settings", "said"),
    [
        (["nothing.jpg"], {}, "There is no file nothing.jpg."),
        ([], {}, "Missing argument"),
        (["all", "--into", "a.b"], {}, "folder may hold"),
        (["all", "--set", "colour=red"], {}, "is not NAME=VALUE of an upload parameter"),
        (["all", "--set", "folder=/x"], {}, "is not NAME=VALUE of an upload parameter"),
        (["all", "--jobs", "0"], {}, "--jobs"),
        (["all", "--to", "http://uploads.app.example"], {}, "not encrypted"),
        (["all", "--to", "https://upload.imagekit.io/api/v1/files/upload"], {}, "ImageKit issues no credentials"),
        (["all", "--manifest", "no/m"], {}, "cannot be used"),
        (["all", "--key-file", "none"], {}, "cannot be read"),
        (["all"], {"TOKENSVC_API_KEY": ""}, "There is no api key"),
        (["all"], {"TOKENSVC_API_KEY": "tsk_of_nobody"}, "No credentials: The api key is not known here."),
        (["all", "--profile", "nobody"], {}, "No credentials: "),
        (["all", "--sign"], {}, "Nothing was uploaded"),
    ],
)
def test_wrong_usage_is_said_and_nothing_is_sent(
    place: Place, arguments: list[str], settings: dict[str, str], said: str
) -> None:
    place.fill(3)
    told = place.run(*arguments, **settings)
    assert (told.status, told.outcomes.get("stored")) == (USAGE, None), told.err
    assert said in " ".join(told.err.split())
    assert place.kept() == {}


def test_a_file_that_cannot_be_sent_is_told_and_the_others_go(place: Place) -> None:
    place.fill(2)
    os.mkfifo(place.folder / "all" / "pipe")
    (place.folder / "all" / "too long.bin").write_bytes(bytes(25_000_001))
    told = place.run("all")
    assert (told.status, told.outcomes) == (REFUSED, {"stored": 2, "refused": 2})
    assert {line["why"].partition(".")[0] for line in told.lines if "why" in line} == {
        "not a regular file",
        "Your request contains invalid file parameter",
    }


def test_nobody_there_is_an_outage(place: Place) -> None:
    place.fill(1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        to = f"http://127.0.0.1:{taken.getsockname()[1]}"
        taken.close()
        told = place.run("all", "--tries", "2", to=to)
    assert told.status == OUTAGE
    assert "Connection refused" in told.lines[0]["why"]


def test_on_a_terminal_there_is_a_bar_for_each_file_and_one_for_all(place: Place) -> None:
    place.fill(6, size=400_000)
    place.emulator.faults("latency=150ms", "reject=x1")
    screen, terminal = pty.openpty()
    command = [part for part in place.command("all") if part != "--json"]
    with subprocess.Popen(
        command, cwd=place.folder, env=place.environment(COLUMNS="100"), stdout=subprocess.DEVNULL, stderr=terminal
    ) as process:
        os.close(terminal)
        shown = b""
        with contextlib.suppress(OSError):  # a terminal whose last user has gone
            while piece := os.read(screen, 65_536):
                shown += piece
        os.close(screen)
        assert process.wait(PATIENCE_SECONDS) == 0
    text = shown.decode()
    assert "all/part-0/file 0.bin" in text
    assert "again in" in text
    assert "of 6 files" in text
    assert text.rstrip().endswith("6 files: 6 stored.")
