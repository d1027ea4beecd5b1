"""What films say of themselves, and what hostile ones can do: nothing but be unknown."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.films import MOV, MP4, WEBM
from tokensvc.adapters import films
from tokensvc.adapters.films import Film, read_film
from tokensvc.adapters.inspect import inspect
from tokensvc.core.upload import Kind

READER = Path(films.__file__).with_name("film_reader.py")


def film(path: Path, content: bytes) -> Film:
    path = path / "film"
    path.write_bytes(content)
    with path.open("rb") as opened:
        return read_film(opened)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (MP4, Film(32, 24, 1.0, 31_488, "h264", "aac")),
        (WEBM, Film(48, 16, 2.0, 2_960, "vp8", None)),
        (MOV, Film(64, 48, 1.0, 7_912, "mpeg4", None)),
    ],
)
def test_a_film_tells_its_size_length_and_codecs(tmp_path: Path, content: bytes, told: Film) -> None:
    assert film(tmp_path, content) == told


def test_what_is_found_goes_with_the_type(tmp_path: Path) -> None:
    (tmp_path / "film").write_bytes(MP4)
    with (tmp_path / "film").open("rb") as opened:
        assert inspect(opened, "x.txt") == Kind("video/mp4", 32, 24, 1.0, 31_488, "h264", "aac")


@pytest.mark.parametrize(
    "content", [b"", b"\0\0\0\x18ftypmp42", b"\x1aE\xdf\xa3webm" + bytes(10_000), bytes(range(256)) * 400]
)
def test_what_is_no_film_is_unknown(tmp_path: Path, content: bytes) -> None:
    found = film(tmp_path, content)
    assert (found.width, found.height, found.duration, found.video_codec) == (None, None, None, None)


@pytest.mark.parametrize("at", [3, 40, 300, 900])
def test_a_film_that_is_changed_or_cut_is_read_as_far_as_that_goes(tmp_path: Path, at: int) -> None:
    broken = bytearray(MP4)
    broken[at] ^= 0xFF
    for content in (bytes(broken), MP4[:at]):
        assert film(tmp_path, content).width in (None, 32)


def test_a_file_of_memory_is_unknown() -> None:
    assert read_film(io.BytesIO(MP4)) == Film()


def test_the_reader_knows_no_secret_and_may_write_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = tmp_path / "seen"
    spy = tmp_path / "spy.py"
    spy.write_text(
        "import json, os, sys, pathlib\n"
        f"pathlib.Path({str(seen)!r}).write_text(json.dumps([dict(os.environ), os.listdir('/proc/self/fd')]))\n"
        f"sys.path.insert(0, {str(READER.parent)!r})\nexec(open({str(READER)!r}).read())\n"
    )
    monkeypatch.setenv("IMAGEKIT_PRIVATE_KEY", "private_CANARY")
    monkeypatch.setattr(films, "_READER", spy)
    assert film(tmp_path, MP4).width == 32
    environment, descriptors = json.loads(seen.read_text())
    assert environment.keys() <= {"LC_CTYPE"}
    assert len(descriptors) <= 4  # three, and the one that lists them


BOUNDS = f"""
import resource, runpy
runpy.run_path({str(READER)!r})["main"]()
print([resource.getrlimit(getattr(resource, f"RLIMIT_{{name}}")) for name in ("CPU", "AS", "FSIZE", "CORE")])
"""


def test_the_reader_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "film").write_bytes(MP4)
    with (tmp_path / "film").open("rb") as opened:
        told = subprocess.run(
            [sys.executable, "-I", "-c", BOUNDS], stdin=opened, capture_output=True, check=True, timeout=60
        )
    assert b"[(5, 5), (1073741824, 1073741824), (0, 0), (0, 0)]" in told.stdout


ODD = {"General": {"duration": -1}, "Video": {"width": 1e99, "height": 2}, "Audio": {"format": "\x07"}}
TEXTS = {"General": {}, "Video": {"duration": "500.0", "format": "X"}, "Audio": {}}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("raise SystemExit(1)", Film()),
        ("print('nonsense')", Film()),
        ("print([])", Film()),
        (f"import json; print(json.dumps({ODD!r}))", Film()),
        (f"import json; print(json.dumps({TEXTS!r}))", Film(duration=0.5, video_codec="x")),
    ],
)
def test_whatever_the_reader_says_is_not_believed_blindly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, told: Film
) -> None:
    reader = tmp_path / "reader.py"
    reader.write_text(said)
    monkeypatch.setattr(films, "_READER", reader)
    assert film(tmp_path, MP4) == told


def test_a_reader_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = tmp_path / "reader.py"
    reader.write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setattr(films, "_READER", reader)
    monkeypatch.setattr(films, "_WITHIN_SECONDS", 0.3)
    assert film(tmp_path, MP4) == Film()
