"""A file that comes as text: its bytes exactly, or a refusal in words; never the text itself."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.app import KEPT_NONE, Service, png
from tokensvc.core.errors import Code, Refusal
from tokensvc.core.remote import MAX_URL_CHARACTERS, RemoteUrl
from tokensvc.web.file_text import SHORTEST_UNMARKED, decode, encoded_bytes

from .imagekit_answers import TOO_LARGE, assert_kept, assert_refused

INVALID = "Your request contains invalid value for file parameter."
NO_BASE64 = "file is a text that is no base64, no data URI and no URL."


def decoded(*pieces: bytes, max_bytes: int = 1000) -> bytes | None:
    content = decode(iter(pieces), max_bytes=max_bytes)
    assert not isinstance(content, RemoteUrl)
    return None if content is None else b"".join(content)


def refused(*pieces: bytes, max_bytes: int = 1000) -> str:
    with pytest.raises(Refusal) as caught:
        decoded(*pieces, max_bytes=max_bytes)
    assert caught.value.field == "file"
    return caught.value.detail


def cut(text: bytes, at: Iterable[int]) -> list[bytes]:
    ends = [0, *sorted(at), len(text)]
    return [text[start:end] for start, end in pairwise(ends)]


@given(st.binary(min_size=24, max_size=600), st.lists(st.integers(0, 800), max_size=6), st.booleans(), st.booleans())
def test_base64_is_decoded_however_the_stream_cuts_it(
    content: bytes,
    at: list[int],
    lines: bool,
    uri: bool,
) -> None:
    text = base64.encodebytes(content) if lines else base64.b64encode(content)
    text = b"data:image/png;base64," + text if uri else text
    assert decoded(*cut(text, at)) == content


@pytest.mark.parametrize(
    "head", [b"data:;base64,", b"DATA:image/svg+xml;charset=utf-8;BASE64,", b"data:a/b;x=y;base64,"]
)
def test_a_data_uri_says_that_it_is_one_so_it_may_be_short(head: bytes) -> None:
    assert decoded(head + b"aGVs") == b"hel"
    assert decoded(head) == b""


def test_an_empty_text_is_unset() -> None:
    assert decoded() is decoded(b"") is None


@pytest.mark.parametrize(
    "text",
    ["undefined", "null", "true", "[object Object]", "avatar01", "x.png", "file", "/tmp/x", "\r\n", "\0", "=" * 30],
)
def test_a_text_that_is_no_file_is_refused(text: str) -> None:
    assert refused(text.encode()) == NO_BASE64


def test_plain_text_of_base64_letters_is_taken_from_24_characters_on_or_with_its_padding() -> None:
    assert refused(b"a" * (SHORTEST_UNMARKED - 4)) == NO_BASE64
    assert decoded(b"a" * SHORTEST_UNMARKED) == base64.b64decode(b"a" * SHORTEST_UNMARKED)
    assert decoded(b"aGVsbG8=") == b"hello"
    assert decoded(b"aGVsbG8=\n") == b"hello"


@pytest.mark.parametrize("length", [30, 256, 1000, MAX_URL_CHARACTERS])
@pytest.mark.parametrize("size", [1, 100, 5000])
def test_a_url_is_read_as_one_however_the_stream_cuts_it(length: int, size: int) -> None:
    url = "HTTPS://x.example/".ljust(length, "a")
    content = decode(iter(cut(url.encode(), range(size, length, size))), max_bytes=10_000)
    assert content == RemoteUrl.parse(url)
    assert str(content) == url.replace("HTTPS", "https")


@pytest.mark.parametrize("url", ["HTTP://x", "file:///etc/passwd", "gopher://[::1]:6379/_x"])
def test_a_url_of_another_scheme_is_refused_as_one(url: str) -> None:
    assert refused(url.encode()) == "file is a URL that does not begin with https://."


def test_a_url_is_read_no_further_than_one_may_be_long() -> None:
    pieces = iter([b"https://x.example/".ljust(300, b"a")] * 100)
    with pytest.raises(Refusal, match="at most 2048 are allowed"):
        decode(pieces, max_bytes=10**9)
    assert len(list(pieces)) == 93


GOOD = b"QUJD" * 80
"""Longer than the head that is looked at."""


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        (GOOD + b"Q", "file is base64 text that is cut off: its length is no multiple of four."),
        (GOOD + b"QQ=", "file is base64 text that is cut off: its length is no multiple of four."),
        (GOOD + b"QR==", "file is base64 text whose last character has bits that belong to no byte."),
        (GOOD + b"QQ==" + GOOD, NO_BASE64),
        (GOOD + b"Q===", NO_BASE64),
        (GOOD + b"Q-_Q", NO_BASE64),
        (GOOD + b"Q Q=", "file is base64 text with a blank in it, which may have been a +."),
        (b"data:image/png;base64" + GOOD, "file is a data URI without a comma in its first 256 bytes."),
        (b"data:" + b"x" * 250 + b";base64," + GOOD, "file is a data URI without a comma in its first 256 bytes."),
        (b"data:text/plain,hello", "file is a data URI that is not in base64."),
        (b"data:text/plain;base64;x=1,aGVs", "file is a data URI that is not in base64."),
        (b"data:text/plain;base64,%61GVs", NO_BASE64),
    ],
)
def test_bad_base64_is_refused_with_the_reason(text: bytes, detail: str) -> None:
    assert refused(text) == detail


@pytest.mark.parametrize("more", [b"QUJD", b"Q"])
def test_nothing_may_follow_the_padding_not_even_in_the_next_piece(more: bytes) -> None:
    assert refused(GOOD + b"QQ==", more) == "file is base64 text that goes on after its end."


def test_a_text_that_never_ends_is_given_up_at_the_length_of_the_largest_file() -> None:
    allowed = encoded_bytes(1000)
    assert decoded(GOOD, b"\n" * (allowed - len(GOOD))) == base64.b64decode(GOOD)
    assert refused(GOOD, b"\n" * (allowed - len(GOOD)), b"\n") == "The file is larger than 1,000 bytes."


@pytest.mark.parametrize("head", ["", "data:image/png;base64,"])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_an_upload_in_base64_keeps_the_bytes(service: Service, version: str, head: str) -> None:
    """The field file is never part of what a v2 credential is bound to."""
    text = head + base64.b64encode(png()).decode()
    if version == "v1":
        answer = service.upload_v1(service.credential(), None, file=text)
    else:
        answer = service.upload_v2(service.jwt({"fileName": "a.png"}), None, fileName="a.png", file=text)
    body = assert_kept(answer)
    assert (body["size"], body["width"], body["fileType"]) == (len(png()), 3, "image")
    assert service.send("GET", f"/files/{body['name']}").get_data() == png()


def test_a_text_that_is_no_file_is_refused_before_the_credential_is_spent(service: Service) -> None:
    credential = service.credential()
    answer = service.upload_v1(credential, None, file="undefined")
    remedy = "Send the file itself as a part with a filename, or its bytes in base64 or as a data URI."
    assert_refused(answer, 400, Code.PARAMETER_INVALID, INVALID, f"{NO_BASE64} {remedy}")
    assert service.on_disk() == KEPT_NONE
    assert_kept(service.upload_v1(credential))


@pytest.mark.parametrize("over", [0, 1])
def test_the_limit_is_that_of_the_decoded_file(service: Service, over: int) -> None:
    content = bytes(service.settings.upload.plan.most_bytes + over)
    answer = service.upload_v1(service.credential(), None, file=base64.b64encode(content).decode())
    if not over:
        assert assert_kept(answer)["size"] == len(content)
        return
    assert_refused(
        answer, 400, Code.TOO_LARGE, TOO_LARGE, "The file is larger than 100,000 bytes. Send a smaller file."
    )
    assert service.on_disk() == KEPT_NONE
