"""What goes over the wire, and what answers are taken to mean."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest

from tokensvc.bulk.addresses import Address
from tokensvc.bulk.answers import Meaning, meaning_of
from tokensvc.bulk.form import ChangedError, Form
from tokensvc.bulk.wire import Answer

if TYPE_CHECKING:
    from pathlib import Path


def nothing(_sent: int) -> None:
    """Watch nothing."""


def test_a_form_is_as_long_as_it_says_and_tells_how_far_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(200_000))
    sent: list[int] = []
    with path.open("rb") as content:
        form = Form({"fileName": "ä.jpg", "tags": "a,b"}, content, 200_000)
        body = b"".join(form.chunks(sent.append))
    assert len(body) == form.length
    assert sent == [65_536, 131_072, 196_608, 200_000]
    assert form.sha256 == "4cbbd9be0cba685835755f827758705db5a413c5494c34262cd25946a73e7582"
    assert 'name="fileName"\r\n\r\nä.jpg\r\n'.encode() in body


def test_a_gigabyte_goes_through_little_memory(tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb+") as content:
        content.truncate(1_000_000_000)
        form = Form({"fileName": "big"}, content, 1_000_000_000)
        tracemalloc.start()
        try:
            length = 0
            for chunk in form.chunks(nothing):
                length += len(chunk)
                assert len(chunk) <= 65_536
            assert tracemalloc.get_traced_memory()[1] < 1_000_000
        finally:
            tracemalloc.stop()
    assert length == form.length


@pytest.mark.parametrize("size", [2, 4])
def test_a_file_that_has_another_length_than_was_said_is_not_sent_to_its_end(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a"
    path.write_text("abc")
    with path.open("rb") as content, pytest.raises(ChangedError):
        b"".join(Form({}, content, size).chunks(nothing))


@pytest.mark.parametrize(
    ("url", "written"),
    [
        ("https://uploads.app.example", "https://uploads.app.example"),
        ("https://upload.imagekit.io/api/v1/files/upload", "https://upload.imagekit.io/api/v1/files/upload"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("http://localhost", "http://localhost"),
    ],
)
def test_an_address_is_read(url: str, written: str) -> None:
    assert str(Address.parse(url)) == written


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("uploads.app.example", "is no URL"),
        ("ftp://a.example", "is no URL"),
        ("https://", "is no URL"),
        ("http://uploads.app.example", "not encrypted"),
        ("http://192.168.1.2", "not encrypted"),
        ("https://user:password@a.example", "a user name"),
        ("https://a.example/?x=1", "a query"),
        ("https://a.example/#x", "a fragment"),
    ],
)
def test_what_is_no_address_or_would_show_the_key_is_refused(url: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        Address.parse(url)
    assert sentence in str(caught.value)
    assert "password" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "code", "message", "meaning"),
    [
        (200, "", "", Meaning.STORED),
        (202, "", "The pre-transformation has been queued successfully.", Meaning.STORED),
        (400, "", "Your request contains invalid expire parameter. Expire …", Meaning.SPOILT),
        (400, "", "Your request contains expired token.", Meaning.SPOILT),
        (400, "", "The token with value 'x' has been used before. We suggest …", Meaning.SPOILT),
        (400, "", "Your request contains invalid signature parameter.", Meaning.SPOILT),
        (400, "credential.replayed", "anything", Meaning.SPOILT),
        (403, "credential.unissued", "Your account cannot be authenticated.", Meaning.SPOILT),
        (403, "", "Your account cannot be authenticated.", Meaning.NEVER),
        (400, "parameter.invalid", "A file with the same name already exists at the exact location. …", Meaning.TAKEN),
        (400, "", "A file with the same name already exists at the exact location. …", Meaning.TAKEN),
        (400, "parameter.invalid", "Your request contains invalid expire parameter", Meaning.NEVER),
        (400, "too_large", "The file size exceeds limits.", Meaning.NEVER),
        (302, "", "", Meaning.NEVER),
        (404, "", "", Meaning.NEVER),
        (408, "", "", Meaning.LATER),
        (429, "", "", Meaning.LATER),
        (500, "", "", Meaning.LATER),
        (503, "store.unavailable", "", Meaning.LATER),
    ],
)
def test_an_answer_is_understood(status: int, code: str, message: str, meaning: Meaning) -> None:
    """Ours by its code, ImageKit's by its text."""
    answer = Answer(status, {"x-tokensvc-code": code} if code else {}, {"message": message})
    assert meaning_of(answer) is meaning
