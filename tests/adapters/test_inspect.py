"""What a file is, by its bytes; and that no file makes looking at it fail or take long."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from pathlib import Path

import puremagic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokensvc.adapters import inspect as inspecting
from tokensvc.adapters.inspect import UNKNOWN, inspect
from tokensvc.core.upload import Kind


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def zipped(name: str) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(name, "content")
    return target.getvalue()


IHDR = struct.pack(">IIBBBBB", 3, 2, 8, 2, 0, 0, 0)
PNG = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", IHDR) + chunk(b"IDAT", zlib.compress(b"\0" * 20)) + chunk(b"IEND", b"")
SOF = b"\xff\xc0\0\x11\x08" + struct.pack(">HH", 2, 3) + b"\3\1\x22\0\2\x11\1\3\x11\1"
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0" + SOF + b"\xff\xda" + b"\0" * 20 + b"\xff\xd9"
# Turned by 90 degrees, says its Exif.
EXIF = b"Exif\0\0MM\0*\0\0\0\x08\0\1" + struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0) + b"\0\0\0\0"
TURNED_JPEG = b"\xff\xd8\xff\xe1" + struct.pack(">H", 2 + len(EXIF)) + EXIF + SOF + b"\xff\xda" + b"\0" * 20
LATE_JPEG = b"\xff\xd8" + (b"\xff\xe1\xff\xff" + b"\0" * 0xFFFD) * 20 + SOF + b"\xff\xda" + b"\0" * 20
GIF = b"GIF89a" + struct.pack("<HH", 3, 2) + b"\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\3\0\2\0\0\2\2\x44\x01\0;"
WEBP = b"RIFF" + struct.pack("<I", 30) + b"WEBPVP8X" + struct.pack("<I", 10) + b"\0\0\0\0\2\0\0\1\0\0" + b"\0" * 12
ISPE = box(b"ispe", b"\0\0\0\0" + struct.pack(">II", 3, 2))


def avif(ftyp: bytes, *more: bytes) -> bytes:
    meta = box(b"meta", b"\0\0\0\0" + b"".join(more) + box(b"iprp", box(b"ipco", ISPE)))
    return box(b"ftyp", ftyp) + meta + box(b"mdat", b"\0" * 64)


BMP = b"BM" + struct.pack("<IHHIIii", 100, 0, 0, 54, 40, 3, -2) + b"\1\0\x18\0" + b"\0" * 70
TIFF = b"II*\0\x08\0\0\0\2\0" + struct.pack("<HHIHHHHIHH", 256, 3, 1, 3, 0, 257, 3, 1, 2, 0) + b"\0" * 30
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="3" height="2"><script>alert(1)</script></svg>'
HTML = b"<!DOCTYPE html><html><script>alert(1)</script></html>"
GIF_AND_JS = b"GIF89a/*\x20\x20*/=1;alert(1)//" + b" " * 64


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("x.png", PNG, Kind("image/png", 3, 2)),
        ("x.jpg", JPEG, Kind("image/jpeg", 3, 2)),
        ("late.jpg", LATE_JPEG, Kind("image/jpeg", 3, 2)),
        ("x.gif", GIF, Kind("image/gif", 3, 2)),
        ("x.webp", WEBP, Kind("image/webp", 3, 2)),
        ("x.avif", avif(b"avif\0\0\0\0avifmif1miaf"), Kind("image/avif", 3, 2)),
        ("0x1c.avif", avif(b"avif\0\0\0\0avifmif1miafMA1B"[:20]), Kind("image/avif", 3, 2)),
        ("x.heic", avif(b"heic\0\0\0\0mif1heic"), Kind("image/heic", 3, 2)),
        ("x.bmp", BMP, Kind("image/bmp", 3, 2)),
        ("x.tiff", TIFF, Kind("image/tiff", 3, 2)),
        ("x.svg", SVG, Kind("image/svg+xml", 3, 2)),
        ("x.svg", b'<?xml version="1.0"?>\n' + SVG, Kind("image/svg+xml", 3, 2)),
        ("x.svg", b"<svg viewBox='0 0 1 1'/>", Kind("image/svg+xml")),
        ("x.svg", b"<svg width='100%' height='2'/>", Kind("image/svg+xml")),
        ("x.pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj", Kind("application/pdf")),
        ("ascii.pdf", b"%PDF-1.4\n1 0 obj", Kind("application/pdf")),
        ("x.mp4", box(b"ftyp", b"isom\0\0\2\0isomiso2avc1mp41") + box(b"free", b""), Kind("video/mp4")),
        ("x.mp4", box(b"ftyp", b"iso5\0\0\2\0iso5iso6mp41"), Kind("video/mp4")),
        ("x.mov", box(b"ftyp", b"qt  \0\0\0\0qt  "), Kind("video/quicktime")),
        ("x.m4a", box(b"ftyp", b"M4A \0\0\0\0M4A mp42"), Kind("audio/mp4")),
        ("x.3gp", box(b"ftyp", b"3gp5\0\0\0\x003gp5"), Kind("video/3gpp")),
        ("x.webm", b"\x1aE\xdf\xa3\x9fB\x86\x81\1B\xf7\x81\1B\xf2\x81\4B\xf3\x81\x08B\x82\x84webm", Kind("video/webm")),
        ("x.mkv", b"\x1aE\xdf\xa3\xa3B\x86\x81\1B\x82\x88matroska", Kind("video/x-matroska")),
        ("x.ogg", b"OggS\0\2" + b"\0" * 22 + b"\1vorbis", Kind("audio/ogg")),
        ("x.ogv", b"OggS\0\2" + b"\0" * 22 + b"\x80theora", Kind("video/ogg")),
        ("x.wav", b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0", Kind("audio/wav")),
        ("x.avi", b"RIFF\x24\0\0\0AVI LIST\x10\0\0\0", Kind("video/x-msvideo")),
        ("x.mp3", b"ID3\4\0\0\0\0\0\0", Kind("audio/mpeg")),
        ("x.mp3", b"\xff\xfb\x90\0" + b"\0" * 60, Kind("audio/mpeg")),
        ("x.flac", b"fLaC\0\0\0\x22", Kind("audio/flac")),
        ("x.zip", zipped("a"), Kind("application/zip")),
        ("zip", zipped("a"), Kind("application/zip")),
        ("x.gz", b"\x1f\x8b\x08\0\0\0\0\0", Kind("application/gzip")),
        ("x.woff2", b"wOF2\0\1\0\0", Kind("font/woff2")),
        ("x.tar", b"a" + b"\0" * 256 + b"ustar\0" + b"00", Kind("application/x-tar")),
        ("x.html", HTML, Kind("text/html")),
        ("x.txt", b"hello", Kind("text/plain")),
        ("X.TXT", b"hello", Kind("text/plain")),
        ("x.txt", "héllo ünïcode".encode(), Kind("text/plain")),
        ("x.txt", "hello".encode("utf-16"), Kind("text/plain")),
        ("x.csv", b"a,b\r\n1,2\r\n", Kind("text/csv")),
        ("x.csv", b"ID3,BM,GIF8\r\n", Kind("text/csv")),
        ("x.json", b'{"a":1}', Kind("application/json")),
        ("x.md", b"# Title", Kind("text/markdown")),
        ("x.js", b"alert(1)", Kind("text/javascript")),
        ("x.xml", b"<?xml version='1.0'?><a/>", Kind("application/xml")),
        ("x.txt", b"", Kind("text/plain")),
        ("x.txt", b"a", Kind("text/plain")),
    ],
)
def test_a_file_is_what_its_bytes_are(name: str, content: bytes, kind: Kind) -> None:
    assert inspect(io.BytesIO(content), name) == kind


@pytest.mark.parametrize("content", [PNG, JPEG, GIF, WEBP, avif(b"avif\0\0\0\0avifmif1"), BMP, b"%PDF-1.7\n\0"])
@pytest.mark.parametrize("name", ["x", "x.html", "x.svg", "x.js", "x.pdf", "x.png", "x.mp4", ".", "", "x.."])
def test_a_binary_format_is_itself_under_any_name(name: str, content: bytes) -> None:
    assert inspect(io.BytesIO(content), name) == inspect(io.BytesIO(content), "x.bin")
    assert inspect(io.BytesIO(content), name).mime != UNKNOWN


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.png", HTML),
        ("x.jpg", SVG),
        ("x.png", b"\x00" + HTML),
        ("x.gif", b"GIF8" + HTML),
        ("x.bmp", b"BM" + HTML),
        ("x.mp4", HTML),
        ("x.pdf", HTML),
        ("x.png", b"\\x89PNG\0"),
        ("x.jpg", b"\0\0\0\x0cjP  \0"),
        ("x.svg", HTML),
        ("x.svg", b"\0" + SVG),
        ("x", b"hello"),
        ("x.unheardof", b"hello"),
        ("x.exe", b"hello"),
        ("x.png", b""),
        ("x.svg", b""),
        ("", b""),
        ("x.png", b"\0"),
        ("x.png", b"\x89"),
        ("x.png", b"\x89PNG"),
        ("x.txt", b"\0\1\2\3"),
        ("x.bin", bytes(range(1, 256))),
        # What stands at the end of a Targa picture, where the part that is read ends.
        ("x.tga", (bytes(40_942) + b"TRUEVISION-XFILE.\0") + bytes(100)),
    ],
)
def test_what_the_bytes_do_not_bear_out_is_octets(name: str, content: bytes) -> None:
    assert inspect(io.BytesIO(content), name) == Kind(UNKNOWN)


@pytest.mark.parametrize("name", ["x.gif", "x.js", "x.html", "x.svg", "x"])
def test_a_picture_that_is_a_script_as_well_is_a_picture(name: str) -> None:
    assert inspect(io.BytesIO(GIF_AND_JS), name).mime == "image/gif"
    assert inspect(io.BytesIO(PNG + HTML + SVG), name).mime == "image/png"


def test_a_name_decides_among_the_kinds_of_zip() -> None:
    docx = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    assert inspect(io.BytesIO(zipped("a")), "x.docx").mime == docx
    assert inspect(io.BytesIO(zipped("a")), "x.html").mime == "application/zip"


def test_width_and_height_are_the_stored_ones() -> None:
    """A JPEG that is to be turned by 90 degrees is still stored 3 wide."""
    assert inspect(io.BytesIO(TURNED_JPEG), "x.jpg") == Kind("image/jpeg", 3, 2)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.png", PNG[:20]),
        ("x.jpg", JPEG[:22]),
        ("x.gif", GIF[:8]),
        ("x.gif", b"GIF89a\0\0\0\0" + b"\0" * 20),
        ("x.webp", WEBP[:16]),
        ("x.avif", box(b"ftyp", b"avif\0\0\0\0")),
        ("x.tiff", b"II*\0\xff\xff\xff\xff"),
        ("x.bmp", BMP[:20]),
        ("x.svg", b"<svg width='" + b"9" * 400 + b"' height='2'>"),
        ("x.svg", b"<svg width='\xff' height='2'>"),
        ("x.svg", b"<svg width='1e9' height=''>"),
    ],
)
def test_a_broken_picture_has_no_size(name: str, content: bytes) -> None:
    kind = inspect(io.BytesIO(content), name)
    assert kind.mime.startswith("image/")
    assert (kind.width, kind.height) == (None, None)


SLOW = {
    "fill.jpg": b"\xff\xd8\xff\xe0\0\2" + b"\xff" * 20_000_000,
    "segments.jpg": b"\xff\xd8" + b"\xff\xe1\0\2" * 5_000_000,
    # A hundred thousand items of 65,535 extents each, and an extent takes no byte.
    "iloc.avif": avif(
        b"avif\0\0\0\0avif",
        box(b"iloc", b"\2\0\0\0\0\0" + struct.pack(">I", 100_000) + (b"\0" * 8 + b"\xff\xff") * 100_000),
    ),
    "boxes.avif": box(b"ftyp", b"avif\0\0\0\0avif") + box(b"free", b"") * 2_000_000,
    "ifd.tiff": b"II+\0\x08\0\0\0" + struct.pack("<Q", 16) + b"\xff" * 20_000_000,
    "digits.svg": b"<svg width='" + b"1" * 10_000_000,
    "text.txt": b"a" * 20_000_000,
}


@pytest.mark.parametrize("name", SLOW)
def test_a_file_made_to_be_slow_is_not(name: str) -> None:
    started = time.thread_time()
    inspect(io.BytesIO(SLOW[name]), name)
    assert time.thread_time() - started < 1


def test_the_answer_does_not_depend_on_the_run() -> None:
    """puremagic goes through a set of texts, whose order is another one in each process."""
    program = (
        "import io; from tests.adapters.test_inspect import *\n"
        "contents = [zipped('a'), b'FORM' + bytes(4) + b'AIFF' + bytes(9), bytes.fromhex('d0cf11e0a1b11ae100')]\n"
        "for content in contents:\n"
        "    for name in ('x', 'x.doc', 'x.docx', 'x.aif'): print(inspect(io.BytesIO(content), name))"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": str(seed)},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            check=True,
            timeout=30,
        ).stdout
        for seed in range(4)
    }
    assert len(answers) == 1
    assert b"Kind" in answers.pop()


def test_whoever_has_a_signature_of_puremagic_is_shown_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not asked about what begins and ends like nothing that it knows: every answer is as if it were."""
    contents = []
    for each in (*puremagic.magic_header_array, *puremagic.magic_footer_array):
        content = bytearray(b"\x01" * 40_960)
        start = each.offset % len(content)
        content[start : start + len(each.byte_match)] = each.byte_match
        contents.append(bytes(content))
    contents += [content[:length] for content in (*contents[::50], b"\x01" * 99) for length in (1, 4, 16)]
    quick = [inspect(io.BytesIO(content), "x.bin") for content in contents]
    monkeypatch.setattr(inspecting, "_KNOWN_TO_PUREMAGIC", ((slice(0), frozenset({b""})),))
    assert quick == [inspect(io.BytesIO(content), "x.bin") for content in contents]
    assert len(set(quick)) > 100


def test_bytes_that_puremagic_knows_nothing_of_are_not_shown_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(puremagic, "magic_string", None)
    assert inspect(io.BytesIO(b"\x01" * 40_960), "x.bin").mime == UNKNOWN


@pytest.mark.parametrize("at", [255, 256, 40_959])
def test_one_byte_that_no_text_has_makes_it_none(at: int) -> None:
    content = bytearray(b"a" * 40_960)
    assert inspect(io.BytesIO(content), "x.txt").mime == "text/plain"
    content[at] = 1
    assert inspect(io.BytesIO(content), "x.txt").mime == UNKNOWN


SEEDS = [PNG, JPEG, TURNED_JPEG, GIF, WEBP, avif(b"avif\0\0\0\0avif"), BMP, TIFF, SVG, b"OggS", b"P5 1 1", b"%PDF-"]


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(SEEDS), st.integers(0, 200), st.binary(max_size=64), st.text(max_size=8))
def test_no_bytes_and_no_name_make_it_fail(seed: bytes, at: int, noise: bytes, name: str) -> None:
    kind = inspect(io.BytesIO(seed[:at] + noise + seed[at + len(noise) :]), name)
    assert kind.mime.count("/") == 1
    assert (kind.width is None) == (kind.height is None)
    assert kind.width is None or (kind.width > 0 and isinstance(kind.width, int))
