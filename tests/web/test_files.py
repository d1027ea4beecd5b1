"""Serving what was uploaded: the right bytes, and nothing that a browser would run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support.files import keep
from tokensvc.adapters.disk_files import DiskFiles
from tokensvc.core.upload import Kind, StoredFile
from tokensvc.web.files import SHOWN_IN_PLACE, files_blueprint

CONTENT = bytes(range(256)) * 40


class Watched(DiskFiles):
    """Remembers what it has opened."""

    opened: list[BinaryIO]

    def find(self, account: str, file_path: str, version_id: str = "") -> tuple[StoredFile, BinaryIO] | None:
        found = super().find(account, file_path, version_id)
        if found is not None:
            self.opened.append(found[1])
        return found


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DiskFiles]:
    """A store whose every file must have been closed in the end, also where there was no body to send."""
    watched = Watched(tmp_path / "files")
    watched.opened = []
    yield watched
    assert all(handle.closed for handle in watched.opened)


@pytest.fixture
def client(store: DiskFiles) -> FlaskClient:
    app = Flask(__name__)
    app.register_blueprint(files_blueprint(store, "default"))
    app.register_blueprint(files_blueprint(store, "other.one", "/files/~other.one"))
    return app.test_client()


def test_a_picture_is_shown_in_place_with_all_that_keeps_it_harmless(store: DiskFiles, client: FlaskClient) -> None:
    file = keep(store, CONTENT, "/a/x.png")
    with client.get("/files/a/x.png") as answer:
        assert answer.status_code == 200
        assert answer.data == CONTENT
        assert (
            dict(answer.headers)
            == {
                "Content-Type": "image/png",
                "Content-Length": str(len(CONTENT)),
                "Content-Disposition": "inline; filename=x.png",
                "Last-Modified": "Tue, 14 Nov 2023 22:13:20 GMT",
                "ETag": f'"{file.sha256}"',
                "Accept-Ranges": "bytes",
                "Cache-Control": "public, max-age=0, must-revalidate",
                "X-Content-Type-Options": "nosniff",
                "Content-Security-Policy": "sandbox; default-src 'none'",
                "Cross-Origin-Resource-Policy": "cross-origin",
                "Date": answer.headers.get("Date", ""),
            }
            or "Date" not in answer.headers
        )


@pytest.mark.parametrize(
    ("mime", "sent"),
    [
        ("image/svg+xml", "image/svg+xml; charset=utf-8"),
        ("text/html", "text/html; charset=utf-8"),
        ("application/xml", "application/xml; charset=utf-8"),
        ("application/xhtml+xml", "application/xhtml+xml; charset=utf-8"),
        ("application/pdf", "application/pdf"),
        ("application/octet-stream", "application/octet-stream"),
        ("text/plain", "text/plain; charset=utf-8"),
        ("text/javascript", "text/plain; charset=utf-8"),
        ("application/javascript", "text/plain; charset=utf-8"),
        ("text/css", "text/plain; charset=utf-8"),
    ],
)
def test_what_could_hold_script_is_a_download(store: DiskFiles, client: FlaskClient, mime: str, sent: str) -> None:
    keep(store, b"<script>", "/x.png", kind=Kind(mime))
    with client.get("/files/x.png") as answer:
        assert answer.content_type == sent
        assert answer.headers["Content-Disposition"] == "attachment; filename=x.png"
        assert answer.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_only_pictures_films_and_sounds_are_shown_in_place() -> None:
    assert {mime.partition("/")[0] for mime in SHOWN_IN_PLACE} == {"image", "video", "audio"}
    assert not any("xml" in mime for mime in SHOWN_IN_PLACE)


def test_a_name_in_any_script_is_a_name_in_the_header(store: DiskFiles, client: FlaskClient) -> None:
    keep(store, b"x", "/ä.txt", kind=Kind("text/plain"))
    with client.get("/files/%C3%A4.txt") as answer:
        assert answer.headers["Content-Disposition"] == "attachment; filename=a.txt; filename*=UTF-8''%C3%A4.txt"


@pytest.mark.parametrize("segment", ["tr:n-ik_ml_thumbnail", "tr:w-100,h-100:rt-90", "tr:"])
def test_a_transformation_is_answered_with_the_original(store: DiskFiles, client: FlaskClient, segment: str) -> None:
    keep(store, CONTENT, "/a/x.png")
    with client.get(f"/files/{segment}/a/x.png") as answer:
        assert answer.data == CONTENT


@pytest.mark.parametrize(
    "path", ["/files/tr:a/tr:b/a/x.png", "/files/a/tr:b/x.png", "/files/tr:a", "/files/tr:a/", "/files/xtr:a/a/x.png"]
)
def test_only_one_leading_segment_is_a_transformation(store: DiskFiles, client: FlaskClient, path: str) -> None:
    keep(store, CONTENT, "/a/x.png")
    assert client.get(path).status_code == 404


def test_an_account_sees_its_own_files_only(store: DiskFiles, client: FlaskClient) -> None:
    keep(store, b"ours", "/x.png")
    keep(store, b"theirs", "/y.png", account="other.one")
    assert client.get("/files/y.png").status_code == 404
    assert client.get("/files/~other.one/x.png").status_code == 404
    with client.get("/files/~other.one/y.png") as answer:
        assert answer.data == b"theirs"


def test_head_tells_all_but_the_bytes(store: DiskFiles, client: FlaskClient) -> None:
    keep(store, CONTENT)
    with client.get("/files/a/x.png") as get, client.head("/files/a/x.png") as head:
        assert head.status_code == 200
        assert head.data == b""
        assert head.headers == get.headers


def test_what_a_client_has_already_is_not_sent_again(store: DiskFiles, client: FlaskClient) -> None:
    file = keep(store, CONTENT)
    for header in ({"If-None-Match": f'"{file.sha256}"'}, {"If-Modified-Since": "Tue, 14 Nov 2023 22:13:20 GMT"}):
        with client.get("/files/a/x.png", headers=header) as answer:
            assert (answer.status_code, answer.data) == (304, b"")
            assert answer.headers["Cache-Control"] == "public, max-age=0, must-revalidate"
    keep(store, b"other", replace=True)
    with client.get("/files/a/x.png", headers={"If-None-Match": f'"{file.sha256}"'}) as answer:
        assert (answer.status_code, answer.data) == (200, b"other")


@pytest.mark.parametrize(
    ("asked", "sent", "said"),
    [
        ("bytes=0-0", CONTENT[:1], "bytes 0-0/10240"),
        ("bytes=10-19", CONTENT[10:20], "bytes 10-19/10240"),
        ("bytes=10000-", CONTENT[10000:], "bytes 10000-10239/10240"),
        ("bytes=10000-99999", CONTENT[10000:], "bytes 10000-10239/10240"),
        ("bytes=-5", CONTENT[-5:], "bytes 10235-10239/10240"),
    ],
)
def test_a_part_can_be_asked_for(store: DiskFiles, client: FlaskClient, asked: str, sent: bytes, said: str) -> None:
    keep(store, CONTENT)
    with client.get("/files/a/x.png", headers={"Range": asked}) as answer:
        assert (answer.status_code, answer.data, answer.headers["Content-Range"]) == (206, sent, said)
        assert answer.content_length == len(sent)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("asked", ["bytes=10240-", "bytes=99999-100000"])
def test_a_part_that_is_not_there_is_refused(store: DiskFiles, client: FlaskClient, asked: str) -> None:
    keep(store, CONTENT)
    with client.get("/files/a/x.png", headers={"Range": asked}) as answer:
        assert answer.status_code == 416
        assert answer.headers["Content-Range"] == "bytes */10240"


def test_a_part_of_an_older_file_is_answered_with_the_whole_new_one(store: DiskFiles, client: FlaskClient) -> None:
    keep(store, CONTENT)
    headers = {"Range": "bytes=0-1", "If-Range": '"0123"'}
    with client.get("/files/a/x.png", headers=headers) as answer:
        assert (answer.status_code, answer.data) == (200, CONTENT)


def test_an_earlier_version_is_served_if_it_is_asked_for(store: DiskFiles, client: FlaskClient) -> None:
    first = keep(store, b"first", kind=Kind("text/plain"))
    second = keep(store, b"second", replace=True)
    for version_id, content, mime in [
        (first.version_id, b"first", "text/plain; charset=utf-8"),
        (second.version_id, b"second", "image/png"),
        ("", b"second", "image/png"),
    ]:
        with client.get(f"/files/a/x.png?ik-obj-version={version_id}") as answer:
            assert (answer.status_code, answer.data, answer.content_type) == (200, content, mime)
    for unknown in ("x", "../x", first.file_id):
        assert client.get(f"/files/a/x.png?ik-obj-version={unknown}").status_code == 404


def test_an_empty_file_is_served(store: DiskFiles, client: FlaskClient) -> None:
    keep(store, b"")
    with client.get("/files/a/x.png") as answer:
        assert (answer.status_code, answer.data, answer.content_length) == (200, b"", 0)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_a_file_can_only_be_looked_at(store: DiskFiles, client: FlaskClient, method: str) -> None:
    keep(store, CONTENT)
    assert client.open("/files/a/x.png", method=method).status_code == 405


TRAVERSALS = [
    "../secret",
    "../../secret",
    "a/../../secret",
    "..%2f..%2fsecret",
    "%2e%2e/%2e%2e/secret",
    "%252e%252e%252fsecret",
    "..\\..\\secret",
    "..%5c..%5csecret",
    "/etc/passwd",
    "//etc/passwd",
    "%2fetc%2fpasswd",
    "C:/secret",
    "C:%5csecret",
    "CON",
    "a/x.png%00",
    "a/x.png%00.html",
    "a/x.png.",
    "a/x.png%20",
    "a/x.png/",
    "a//x.png",
    "a/./x.png",
    "./a/x.png",
    "A/X.PNG",
    "a",
    "",
    "%ff",
    "objects",
    "tr:x/../../../secret",
    "a%2fx.pn" + "g" * 5000,
    "..;/secret",
    "~root/secret",
]


@pytest.mark.parametrize("path", TRAVERSALS)
def test_no_other_spelling_finds_a_file_and_none_touches_the_disk(
    tmp_path: Path, store: DiskFiles, client: FlaskClient, path: str
) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "files" / "secret").write_text("secret")
    keep(store, CONTENT, "/a/x.png")
    (tmp_path / "files" / "objects" / "link").symlink_to(tmp_path / "secret")
    before = sorted(tmp_path.rglob("*"))
    answer = client.get(f"/files/{path}")
    assert answer.status_code == 404
    assert sorted(tmp_path.rglob("*")) == before
