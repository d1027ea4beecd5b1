"""Reading a form: what is accepted is accepted in one way only, and everything else ends in a refusal."""

from __future__ import annotations

import base64
import io
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
from werkzeug.sansio.multipart import NEED_DATA, Data, Epilogue, Field, File, MultipartDecoder

from tokensvc.adapters.disk_files import DiskFiles
from tokensvc.core.errors import Code, Outage, Refusal
from tokensvc.core.upload import Kind
from tokensvc.ports import Incoming
from tokensvc.web import parts
from tokensvc.web.multipart import Form, FormLimits, read_form

BOUNDARY = "b0undary"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
LIMITS = FormLimits(max_file_bytes=1000)


class MemoryFile:
    """An Incoming in memory, for tests that are about the form."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.discarded = False

    @property
    def size(self) -> int:
        return len(self.content)

    def write(self, chunk: bytes | memoryview) -> None:
        assert not self.discarded
        self.content += chunk

    def seal(self) -> str:
        raise NotImplementedError

    def secure(self) -> None:
        raise NotImplementedError

    def open(self) -> io.BytesIO:
        return io.BytesIO(self.content)

    def discard(self) -> None:
        self.discarded = True


class Pieces(io.RawIOBase):
    """A stream that gives what it is told to, piece by piece; a piece may be an error."""

    def __init__(self, *pieces: bytes | BaseException) -> None:
        self._pieces = list(pieces)

    def readinto(self, buffer: Any) -> int:
        piece = self._pieces.pop(0) if self._pieces else b""
        if isinstance(piece, BaseException):
            raise piece
        now, later = piece[: len(buffer)], piece[len(buffer) :]
        if later:
            self._pieces.insert(0, later)
        buffer[: len(now)] = now
        return len(now)


def part(disposition: str | bytes, content: bytes = b"", *headers: str) -> bytes:
    text = disposition if isinstance(disposition, bytes) else disposition.encode()
    lines = [b"Content-Disposition: form-data; " + text, *(header.encode() for header in headers)]
    return f"--{BOUNDARY}\r\n".encode() + b"\r\n".join(lines) + b"\r\n\r\n" + content + b"\r\n"


def field(name: str, content: bytes = b"value", *headers: str) -> bytes:
    return part(f'name="{name}"', content, *headers)


def file(content: bytes = b"content", name: str = "file", file_name: str = "x.png") -> bytes:
    return part(f'name="{name}"; filename="{file_name}"', content, "Content-Type: image/png")


END = f"--{BOUNDARY}--\r\n".encode()


class Reader:
    """Reads forms, and knows the files it opened."""

    def __init__(self) -> None:
        self.files: list[MemoryFile] = []

    def open_file(self) -> Incoming:
        self.files.append(MemoryFile())
        return self.files[-1]

    def read(self, body: bytes | io.RawIOBase, content_type: str = CONTENT_TYPE, limits: FormLimits = LIMITS) -> Form:
        stream = io.BytesIO(body) if isinstance(body, bytes) else body
        return read_form(stream, content_type, open_file=self.open_file, limits=limits)

    def refused(
        self, body: bytes | io.RawIOBase, content_type: str = CONTENT_TYPE, limits: FormLimits = LIMITS
    ) -> tuple[str, str | None, str]:
        """The refusal, once it is certain that no file stays."""
        with pytest.raises(Refusal) as caught:
            self.read(body, content_type, limits)
        assert all(file.discarded for file in self.files)
        return str(caught.value.code), caught.value.field, caught.value.detail


@pytest.fixture
def reader() -> Reader:
    return Reader()


def content_of(form: Form) -> bytes | None:
    return None if form.file is None else form.file.open().read()


FIELDS = {"fileName": "ä\u200d😀.png", "token": "t", "empty": "", "tags": "a, 'b';\"c\""}


@pytest.mark.parametrize("at", range(5))
def test_fields_and_file_are_read_in_any_order(reader: Reader, at: int) -> None:
    parts = [field(name, value.encode()) for name, value in FIELDS.items()]
    parts.insert(at, file(b"\r\n--b0undar\r\n\0"))
    form = reader.read(b"".join(parts) + END)
    assert form.fields == FIELDS
    assert (form.file_name, content_of(form)) == ("x.png", b"\r\n--b0undar\r\n\0")
    assert not reader.files[0].discarded


def test_a_form_without_a_file_and_one_without_anything_are_forms(reader: Reader) -> None:
    assert reader.read(field("a") + END) == Form({"a": "value"}, None, "")
    assert reader.read(END) == Form({}, None, "")


def test_an_empty_file_is_a_file(reader: Reader) -> None:
    assert content_of(reader.read(file(b"", file_name="") + END)) == b""


def test_what_httpx_sends_is_read(reader: Reader) -> None:
    request = httpx.Request("POST", "http://x", data={"a": "ü\\"}, files={"file": ('q"ü.png', b"\0\r\n", "image/png")})
    form = reader.read(request.read(), request.headers["content-type"])
    assert (form.fields, form.file_name, content_of(form)) == ({"a": "ü\\"}, 'q"ü.png', b"\0\r\n")


@pytest.mark.parametrize(
    "spelling",
    [
        part("name=a", b"value"),
        part('NAME="a"', b"value"),
        part('name="a";', b"value"),
        part('name = "a" ; x=y', b"value"),
        field("a", b"value", "Content-Type: text/plain; charset=UTF-8", "Content-Length: 5"),
        field("a", b"value", 'content-type: text/plain;charset="utf-8"'),
        field("a", b"value", "Content-Transfer-Encoding: 8bit"),
        field("a", b"value", "Content-Transfer-Encoding: binary", "X-Other: 1"),
    ],
)
def test_harmless_spellings_of_a_field_are_read(reader: Reader, spelling: bytes) -> None:
    assert reader.read(spelling + END).fields == {"a": "value"}


@pytest.mark.parametrize(
    ("disposition", "file_name"),
    [
        ('name="file"; filename="x.png"', "x.png"),
        ('name="file"; filename="C:\\dir\\x.png"', "C:\\dir\\x.png"),
        ('name="file"; filename="a\\"b%22c.png"', 'a"b"c.png'),
        ("name=file; filename=x.png", "x.png"),
        ('name="file"; filename="x.png"; filename*=utf-8\'\'evil.svg', "x.png"),
        ("name=\"file\"; filename*=utf-8''evil.svg", ""),
    ],
)
def test_the_name_of_the_file_is_its_filename_and_never_filename_star(
    reader: Reader, disposition: str, file_name: str
) -> None:
    form = reader.read(part(disposition, b"content") + END)
    assert (form.file_name, content_of(form)) == (file_name, b"content")


@pytest.mark.parametrize(
    "content_type",
    [
        f"multipart/form-data;boundary={BOUNDARY}",
        f'Multipart/Form-Data; boundary="{BOUNDARY}"',
        f"multipart/form-data; charset=utf-8; boundary={BOUNDARY}",
        f"multipart/form-data; BOUNDARY={BOUNDARY}",
    ],
)
def test_spellings_of_the_content_type_are_read(reader: Reader, content_type: str) -> None:
    assert reader.read(field("a") + END, content_type).fields == {"a": "value"}


def test_line_breaks_around_the_form_are_passed_over(reader: Reader) -> None:
    assert reader.read(b"\r\n" + field("a") + END + b"\r\n\r\n").fields == {"a": "value"}
    assert reader.read(field("a") + END.removesuffix(b"\r\n")).fields == {"a": "value"}


MALFORMED = {
    "a field twice": field("a") + field("a") + END,
    "the file twice": file() + file() + END,
    "file and then a text of that name": file() + field("file") + END,
    "a file under another name": file(name="photo") + END,
    "an upper-case file": file(name="File") + END,
    "a file after a field of its name": field("photo") + file(name="photo") + END,
    "no disposition": f"--{BOUNDARY}\r\nContent-Type: text/plain\r\n\r\nx\r\n".encode() + END,
    "no part header": f"--{BOUNDARY}\r\n\r\nx\r\n".encode() + END,
    "another disposition": field("a").replace(b"form-data", b"attachment") + END,
    "two dispositions": field("a", b"x", 'Content-Disposition: form-data; name="b"') + END,
    "two types": field("a", b"x", "Content-Type: text/plain", "content-type: text/html") + END,
    "no name": part('nome="a"') + END,
    "an empty name": field("") + END,
    "two names": part('name="a"; name="b"') + END,
    "two names in another case": part('name="a"; NAME="b"') + END,
    "name*": part("name*=utf-8''a") + END,
    "name and name*": part("name=\"a\"; name*=utf-8''b") + END,
    "a continued name": part('name*0="a"; name*1="b"') + END,
    "two filenames": part('name="file"; filename="a"; filename="b"') + END,
    "a continued filename": part('name="file"; filename*0="a"; filename*1="b"') + END,
    "an open quote": part('name="a') + END,
    "a quote within": part('name="a"b"') + END,
    "a parameter without a value": part('name="a"; filename') + END,
    "NUL in a name": part(b'name="a\0"') + END,
    "a tab in a name": part(b'name="a\tb"') + END,
    "DEL in a name": part(b'name="a\x7f"') + END,
    "a C1 control in a name": part('name="a\u0085"') + END,
    "U+FFFD in a name": part('name="a\ufffd"') + END,
    "Latin-1 in a name": part(b'name="\xe4"') + END,
    "NUL in a filename": part(b'name="file"; filename="a\0.png"') + END,
    "Latin-1 in a filename": part(b'name="file"; filename="\xe4.png"') + END,
    "a folded header": part('name="a";\r\n filename="b"') + END,
    "a header line that is none": field("a", b"x", "nonsense") + END,
    "a blank before the colon": field("a", b"x", "Content-Type : text/plain") + END,
    "a header that ends in LF": field("a").replace(b"\r\n\r\n", b"\n\n") + END,
    "base64": field("a", b"x", "Content-Transfer-Encoding: base64") + END,
    "LF only": (field("a") + END).replace(b"\r\n", b"\n"),
    "CR only": (field("a") + END).replace(b"\r\n", b"\r"),
    "LF before the last boundary": field("a").removesuffix(b"\r\n") + b"\n" + END,
    "blanks after a boundary": field("a").replace(b"ary\r\n", b"ary  \r\n") + END,
    "letters after a boundary": field("a").replace(b"ary\r\n", b"aryx\r\n") + END,
    "other signs after the last boundary": field("a") + END.replace(b"ary--", b"ary.."),
    "text before the form": b"preamble\r\n" + field("a") + END,
    "text after the form": field("a") + END + b"epilogue",
    "a second form": field("a") + END + field("a") + END,
    "another boundary": field("a").replace(b"b0", b"c0") + END.replace(b"b0", b"c0"),
    "nothing": b"",
    "no last boundary": field("a"),
    "no last boundary after the file": field("a") + file(),
    "half of the last boundary": field("a") + END[:-4],
    "the last boundary without its end": field("a") + END[:-3],
    "a form that ends in a header": field("a") + file()[:30],
    "a form that ends in the file": field("a") + file()[:-5],
    "a name of 129 characters": field("a" * 129) + END,
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_body_that_is_not_a_good_form_is_refused_whole_or_in_single_bytes(reader: Reader, body: bytes) -> None:
    code, *rest = reader.refused(body)
    in_bytes = reader.refused(Pieces(*(body[at : at + 1] for at in range(len(body)))))
    assert (code, *rest) == in_bytes
    assert code == Code.REQUEST_MALFORMED


def test_what_a_file_is_called_is_not_remembered(reader: Reader) -> None:
    """Nor is the header of a field that says more than most. A name in it is the client's."""
    before = parts._parse_again.cache_info().currsize
    long = field("known", b"1", f"Content-Type: text/plain;{' ' * 100}charset=utf-8")
    reader.read(file(file_name="of-somebody.png") + long + END)
    assert parts._parse_again.cache_info().currsize == before
    reader.read(field("never-seen-before") + END)
    assert parts._parse_again.cache_info().currsize == before + 1


def test_a_name_of_128_characters_is_read(reader: Reader) -> None:
    assert reader.read(field("a" * 128) + END).fields == {"a" * 128: "value"}


def test_a_repeated_field_is_named(reader: Reader) -> None:
    assert reader.refused(field("token") + field("token") + END) == (
        Code.REQUEST_MALFORMED,
        "token",
        "The field token occurs twice.",
    )


def test_a_file_may_be_sent_as_text(reader: Reader) -> None:
    form = reader.read(field("a") + field("file", b"aGVsbG8=") + END)
    assert (form.fields, form.file_name, content_of(form)) == ({"a": "value"}, "", b"hello")


def test_a_file_that_is_an_empty_text_is_no_file(reader: Reader) -> None:
    assert reader.read(field("a") + field("file", b"") + END) == Form({"a": "value"}, None, "")


@pytest.mark.parametrize("text", [b"aGVsbG8=", b""])
@pytest.mark.parametrize("last", ["text", "binary"])
def test_a_file_that_is_sent_both_as_text_and_as_a_part_is_refused(reader: Reader, text: bytes, last: str) -> None:
    both = [field("file", text), file()]
    body = b"".join(both if last == "binary" else reversed(both)) + END
    assert reader.refused(body)[:2] == (Code.REQUEST_MALFORMED, "file")


def test_a_text_that_is_no_file_leaves_no_file(reader: Reader) -> None:
    code, name, detail = reader.refused(field("file", b"aGVsbG8=" * 30 + b"!") + END)
    assert (code, name) == (Code.PARAMETER_INVALID, "file")
    assert "base64" in detail


@pytest.mark.parametrize("value", ["a\0", "a\r\nb", "a\nb", "\t", "\x7f", "\x85", "\x9f", "\ufffd", "\x1b[0m"])
def test_a_value_with_a_control_character_is_refused(reader: Reader, value: str) -> None:
    code, name, detail = reader.refused(file() + field("tags", value.encode()) + END)
    assert (code, name) == (Code.PARAMETER_INVALID, "tags")
    assert "control character" in detail


@pytest.mark.parametrize("value", [b"\xff", b"\xc3", b"\xc0\x80", b"\xed\xa0\x80", "ä".encode("latin-1")])
def test_a_value_that_is_not_utf8_is_refused(reader: Reader, value: bytes) -> None:
    assert reader.refused(file() + field("tags", value) + END)[:2] == (Code.PARAMETER_INVALID, "tags")


@pytest.mark.parametrize("charset", ["iso-8859-1", "utf-16", "utf-7", "us-ascii", "_"])
def test_a_field_in_another_charset_is_refused(reader: Reader, charset: str) -> None:
    body = file() + field("tags", b"x", f"Content-Type: text/plain; charset={charset}") + END
    assert reader.refused(body)[:2] == (Code.PARAMETER_INVALID, "tags")


def test_the_charset_of_the_file_is_its_own_affair(reader: Reader) -> None:
    body = part('name="file"; filename="x.txt"', b"\xe4", "Content-Type: text/plain; charset=latin-1") + END
    assert content_of(reader.read(body)) == b"\xe4"


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        f"multipart/mixed; boundary={BOUNDARY}",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        f'multipart/form-data; boundary="{BOUNDARY} "',
        f"multipart/form-data; boundary={'b' * 71}",
        "multipart/form-data; boundary=a*b",
        "multipart/form-data; boundary=ä",
        f"multipart/form-data; boundary={BOUNDARY}; boundary={BOUNDARY}",
        f"multipart/form-data; boundary={BOUNDARY}, text/plain",
        f"multipart/form-data; charset=latin-1; boundary={BOUNDARY}",
    ],
)
def test_a_content_type_that_announces_no_form_is_refused_unread(reader: Reader, content_type: str) -> None:
    unread = Pieces(AssertionError("read"))
    assert reader.refused(unread, content_type)[:2] == (Code.REQUEST_MALFORMED, "Content-Type")


def test_a_boundary_of_70_characters_is_taken(reader: Reader) -> None:
    boundary = "b" * 70
    body = (field("a") + END).replace(BOUNDARY.encode(), boundary.encode())
    assert reader.read(body, f"multipart/form-data; boundary={boundary}").fields == {"a": "value"}


class ParseError(Exception):
    """As gunicorn's: an Exception and nothing more."""


@pytest.mark.parametrize(
    "error", [OSError("reset"), ValueError("closed"), EOFError(), ParseError(), ClientDisconnected(), MemoryError()]
)
def test_a_stream_that_fails_is_a_malformed_request_and_the_file_is_gone(reader: Reader, error: Exception) -> None:
    assert reader.refused(Pieces(file()[:-5], error))[0] == Code.REQUEST_MALFORMED
    assert len(reader.files) == 1


def test_a_stream_that_is_too_long_for_its_server_is_too_large(reader: Reader) -> None:
    assert reader.refused(Pieces(file()[:-5], RequestEntityTooLarge()))[0] == Code.TOO_LARGE


@pytest.mark.parametrize("error", [Outage("slow"), Refusal(Code.TOO_LARGE, "slow"), KeyboardInterrupt(), SystemExit()])
def test_what_a_stream_has_to_say_itself_goes_through_and_the_file_is_gone(
    reader: Reader, error: BaseException
) -> None:
    with pytest.raises(type(error)) as caught:
        reader.read(Pieces(file()[:-5], error))
    assert caught.value is error
    assert [file.discarded for file in reader.files] == [True]


def test_an_outage_of_the_store_goes_through_and_the_file_is_gone(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise Outage("full")

    monkeypatch.setattr(MemoryFile, "write", fail)
    with pytest.raises(Outage):
        reader.read(file() + END)
    assert [file.discarded for file in reader.files] == [True]


SMALL = FormLimits(max_file_bytes=20, max_field_bytes=10, max_fields_bytes=15, max_header_bytes=60, max_parts=3)


def test_each_limit_is_kept_to_the_byte(reader: Reader) -> None:
    def a(*sizes: int) -> bytes:
        return b"".join(field(chr(97 + at), b"x" * size) for at, size in enumerate(sizes)) + END

    def padded(size: int) -> bytes:
        start = 'Content-Disposition: form-data; name="'
        return field("n" * (size - len(start) - 1)) + END

    def a_file(size: int) -> bytes:
        return part('name="file"; filename=""', b"x" * size) + END

    fitting = [a(10), a(10, 5), a(1, 1, 1), padded(60), a_file(20)]
    for body in fitting:
        reader.read(body, limits=SMALL)
    too_large = [a(11), a(10, 6), a(1, 1, 1, 1), a_file(21)]
    found = [reader_.refused(body, limits=SMALL) for body in too_large for reader_ in [Reader()]]
    assert found == [
        ("too_large", "a", "a is longer than 10 bytes."),
        ("too_large", "b", "The text fields are longer than 15 bytes in all."),
        ("too_large", None, "The form has more than 3 parts."),
        ("too_large", "file", "The file is larger than 20 bytes."),
    ]
    assert Reader().refused(padded(61), limits=SMALL)[0] == Code.REQUEST_MALFORMED


def test_the_file_counts_as_a_part(reader: Reader) -> None:
    limits = FormLimits(max_file_bytes=1000, max_parts=1)
    assert reader.refused(file() + field("a") + END, limits=limits)[0] == Code.TOO_LARGE


def test_no_form_within_the_limits_is_longer_than_max_body_bytes(reader: Reader) -> None:
    """A form that reaches every limit at once fits, and not by much."""
    limits = FormLimits(
        max_file_bytes=5000, max_field_bytes=300, max_fields_bytes=600, max_header_bytes=200, max_parts=3
    )
    boundary = "b" * 70

    def full(disposition: str, size: int) -> bytes:
        header = f"Content-Disposition: form-data; {disposition}; x="
        return f"--{boundary}\r\n{header.ljust(200, 'x')}\r\n\r\n".encode() + b"x" * size + b"\r\n"

    body = full('name="a"', 300) + full('name="b"', 300) + full('name="file"', 0)[:-2]
    text = base64.encodebytes(bytes(5000)).replace(b"\n", b"\r\n")
    body += b"data:".ljust(248, b"x") + b";base64," + text + b"\r\n"
    body = b"\r\n" * 511 + body + f"--{boundary}--".encode() + b"\r\n" * 512
    form = reader.read(body, f"multipart/form-data; boundary={boundary}", limits)
    assert (len(form.fields), form.file and form.file.size) == (2, 5000)
    assert len(body) < limits.max_body_bytes < len(body) + 1000


@pytest.mark.parametrize("where", ["before", "after", "header", "field", "boundary"])
def test_an_endless_body_is_refused_soon(reader: Reader, where: str) -> None:
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        start, more = {
            "before": (b"", b"\r\n"),
            "after": (END, b"\r\n"),
            "header": (field("a")[:30], b"x"),
            "field": (field("a")[:-2], b"x"),
            "boundary": (field("a") + END[:-4], b"-x"),
        }[where]
        yield start
        while True:
            read += 1
            yield more * 500

    class Endless(Pieces):
        def readinto(self, buffer: Any) -> int:
            self._pieces = [next(pieces)]
            return super().readinto(buffer)

    pieces = endless()
    reader.refused(Endless())
    assert read < 150


@pytest.mark.parametrize("size", [30, 31])
def test_what_is_a_video_is_told_by_a_whole_ordinary_file_even_if_more_comes_at_once(reader: Reader, size: int) -> None:
    def inspect(content: BinaryIO, _name: str) -> Kind:
        return Kind("video/mp4" if content.read() == b"film!" * 2 else "image/png")

    limits, body = FormLimits(max_file_bytes=10, max_video_bytes=30), file((b"film!" * 7)[:size]) + END
    if size > 30:
        with pytest.raises(Refusal, match="larger than 30 bytes"):
            read_form(io.BytesIO(body), CONTENT_TYPE, open_file=reader.open_file, limits=limits, inspect=inspect)
    else:
        read_form(io.BytesIO(body), CONTENT_TYPE, open_file=reader.open_file, limits=limits, inspect=inspect)
        assert reader.files[0].content == b"film!" * 6


def test_an_upload_of_25_mb_needs_no_memory_of_that_order(tmp_path: Path) -> None:
    store = DiskFiles(tmp_path)
    chunk = bytes(range(256)) * 256
    body = [field("a"), file(b"")[:-2], *[chunk] * 382, b"\r\n" + END]
    limits = FormLimits(max_file_bytes=25_100_000)
    tracemalloc.start()
    try:
        form = read_form(Pieces(*body), CONTENT_TYPE, open_file=store.receive, limits=limits)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert form.file is not None
    assert form.file.size == 382 * len(chunk) > 25_000_000
    assert peak < 1_000_000
    form.file.discard()


names = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters='"\\\ufffd%'), min_size=1, max_size=9)
values = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufffd"), max_size=40)
contents = st.one_of(
    st.binary(max_size=80), st.lists(st.sampled_from([b"\r", b"\n", b"--", b"b0undary", b"-"])).map(b"".join)
)


def cut(body: bytes, cuts: list[int]) -> Pieces:
    places = [0, *sorted({at % (len(body) or 1) for at in cuts}), len(body)]
    return Pieces(*(body[a:b] for a, b in pairwise(places) if a < b))


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(names, values, max_size=4), contents, st.lists(st.integers(0, 500), max_size=12))
def test_a_form_is_read_alike_however_it_is_cut_and_as_werkzeug_reads_it_whole(
    fields: dict[str, str], content: bytes, cuts: list[int]
) -> None:
    fields.pop("file", None)
    body = b"".join(field(name, value.encode()) for name, value in fields.items()) + file(content) + END
    if f"\r\n--{BOUNDARY}".encode() in content:
        return
    form = Reader().read(cut(body, cuts))
    assert (form.fields, content_of(form)) == (fields, content)
    if f"--{BOUNDARY}".encode() not in content:
        assert werkzeug_reads([body]) == [
            *((name, value.encode()) for name, value in fields.items()),
            ("file", content),
        ]


def werkzeug_reads(pieces: list[bytes]) -> list[tuple[str, bytes]]:
    decoder = MultipartDecoder(BOUNDARY.encode())
    found: list[tuple[str, bytes]] = []
    for piece in [*pieces, None]:
        decoder.receive_data(piece)
        while (event := decoder.next_event()) is not NEED_DATA and not isinstance(event, Epilogue):
            if isinstance(event, Field | File):
                found.append((event.name, b""))
            elif isinstance(event, Data):
                found[-1] = (found[-1][0], found[-1][1] + event.data)
    return found


def test_werkzeug_still_lets_a_cr_into_a_value_if_a_piece_ends_within_a_boundary() -> None:
    """Why we cut ourselves. When this fails, werkzeug has been repaired, and `parts` may be looked at again."""
    body = field("a") + END
    assert werkzeug_reads([body]) == [("a", b"value")]
    assert werkzeug_reads([body[:-3], body[-3:]]) == [("a", b"value\r")]


GOOD = field("fileName", b"x.png") + file(b"content") + field("token", b"t") + END


@settings(max_examples=1500, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, len(GOOD)),
            st.integers(0, 12),
            st.one_of(
                st.binary(max_size=6),
                st.sampled_from(
                    [b"\r\n", b"\n", b"\r\n\r\n", b'"', b";", b"--b0undary", b"filename*=", b"\0", b"\xff", b"name="]
                ),
            ),
        ),
        max_size=4,
    ),
    st.lists(st.integers(0, 500), max_size=4),
)
@example([], [])
def test_a_damaged_form_is_a_form_or_a_refusal(damage: list[tuple[int, int, bytes]], cuts: list[int]) -> None:
    body = GOOD
    for at, length, replacement in damage:
        body = body[:at] + replacement + body[at + length :]
    whole, in_pieces = Reader(), Reader()
    results = [_result(lambda: whole.read(body), whole), _result(lambda: in_pieces.read(cut(body, cuts)), in_pieces)]
    assert results[0] == results[1]


@settings(max_examples=300, deadline=None)
@given(
    st.text(max_size=60), st.sampled_from(["", "multipart/form-data; boundary=", "multipart/form-data; ", CONTENT_TYPE])
)
def test_any_content_type_gives_a_form_or_a_refusal(text: str, start: str) -> None:
    reader = Reader()
    _result(lambda: reader.read(GOOD, start + text), reader)


def _result(read: Callable[[], Form], reader: Reader) -> object:
    try:
        form = read()
    except Refusal as refusal:
        assert all(file.discarded for file in reader.files)
        return refusal.code, refusal.detail
    assert not any(file.discarded for file in reader.files)
    return form.fields, form.file_name, content_of(form)
