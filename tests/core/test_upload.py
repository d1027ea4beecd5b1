from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokensvc.core import upload
from tokensvc.core.errors import Code, Refusal
from tokensvc.core.upload import Kind, StoredFile


@pytest.mark.parametrize(
    ("claims", "sent", "field"),
    [
        ({"fileName": "a"}, {"fileName": "b"}, "fileName"),
        ({"fileName": "a"}, {"fileName": "a", "tags": "x"}, "tags"),
        ({"fileName": "a", "tags": "x"}, {"fileName": "a"}, "tags"),
        ({"tags": "a,b"}, {"tags": "b,a"}, "tags"),
        ({"tags": "a"}, {"tags": "a "}, "tags"),
        ({"useUniqueFileName": "true"}, {"useUniqueFileName": "True"}, "useUniqueFileName"),
        ({"fileName": "e\u0301"}, {"fileName": "\u00e9"}, "fileName"),
        ({}, {"publicKey": "public_x"}, "publicKey"),
        ({}, {"signature": "x"}, "signature"),
    ],
)
def test_a_form_that_is_not_what_was_signed_is_refused(
    claims: dict[str, str], sent: dict[str, str], field: str
) -> None:
    with pytest.raises(Refusal) as refused:
        upload.require_binding(claims, sent)
    assert (refused.value.code, refused.value.field) == (Code.PARAMETER_FORBIDDEN, f"uploadPayload.{field}")


def test_the_token_itself_is_not_part_of_what_is_bound() -> None:
    upload.require_binding({"fileName": "a"}, {"fileName": "a", "token": "x.y.z"})


@pytest.mark.parametrize(
    ("given_name", "kept"),
    [
        ("my photo (1).jpg", "my_photo__1_.jpg"),
        ("été.png", "été.png"),
        ("e\u0301.png", "é.png"),
        ("../../etc/passwd", ".._.._etc_passwd"),
        ("..", "__"),
        (".", "_"),
        ("CON", "CON"),
        ("写真.jpg", "写真.jpg"),
        ("a" * 241 + ".jpg", "a" * 241 + ".jpg"),
        ("a" * 242 + ".jpg", "a" * 241 + ".jpg"),
        ("a" * 300 + ".jpg", "a" * 241 + ".jpg"),
    ],
)
def test_a_name_is_kept_as_imagekit_keeps_it(given_name: str, kept: str) -> None:
    assert upload.safe_name(given_name) == kept


@given(st.text(min_size=1, max_size=400))
def test_a_kept_name_is_one_harmless_path_segment(name: str) -> None:
    try:
        kept = upload.unique_name(upload.safe_name(name), "123456789")
    except Refusal:
        return
    assert "/" not in kept
    assert "\0" not in kept
    assert kept not in (".", "..")
    assert 0 < len(kept.encode()) <= upload.MAX_NAME_BYTES


@pytest.mark.parametrize(
    ("name", "unique"),
    [
        ("photo.jpg", "photo_123456789.jpg"),
        ("photo", "photo_123456789"),
        (".env", ".env_123456789"),
        ("a.tar.gz", "a.tar_123456789.gz"),
    ],
)
def test_the_unique_suffix_stands_before_the_extension(name: str, unique: str) -> None:
    assert upload.unique_name(name, "123456789") == unique


@pytest.mark.parametrize(
    ("given_folder", "kept"),
    [("", "/"), ("/", "/"), ("a", "/a"), ("/a//b/", "/a/b"), ("/été_1-x", "/été_1-x"), ("/a" * 50, "/a" * 50)],
)
def test_a_folder_is_absolute_and_normal(given_folder: str, kept: str) -> None:
    assert upload.safe_folder(given_folder) == kept


@pytest.mark.parametrize(
    "folder", ["../x", "/a/../b", "/.", "a\\b", "%2e%2e/x", "C:/x", "a b", "nul\0", "/a" * 51, "/" + "x" * 256]
)
def test_a_folder_that_imagekit_refuses_is_refused(folder: str) -> None:
    with pytest.raises(Refusal) as refused:
        upload.safe_folder(folder)
    assert refused.value.field == "folder"


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("false", False), ("", True), ("null", True), ("undefined", True)]
)
def test_a_flag_is_true_or_false_or_unset(text: str, *, value: bool) -> None:
    assert upload.flag({"x": text}, "x", default=True) is value


@pytest.mark.parametrize("text", ["True", "1", "yes", " true"])
def test_a_flag_of_another_spelling_is_refused(text: str) -> None:
    with pytest.raises(Refusal):
        upload.flag({"x": text}, "x", default=True)


def stored(version_id: str, **fields: str) -> StoredFile:
    kind = Kind("image/png", 1, 2)
    return StoredFile(
        f"id of {version_id}", version_id, "default", "a.png", "/a.png", 3, "00", kind, 1_700_000_000, fields
    )


def test_a_stored_file_survives_its_record() -> None:
    file = stored("v3").after(stored("v2").after(stored("v1", tags="a")))
    assert StoredFile.from_record(file.to_record()) == file
    assert json.dumps(file.to_record()) == json.dumps(asdict(file))


def test_a_later_version_is_the_same_file_with_other_bytes() -> None:
    file = stored("v3").after(stored("v2").after(stored("v1")))
    assert (file.file_id, file.version_id, file.version_name) == ("id of v1", "v3", "Version 3")
    assert [earlier.version_id for earlier in file.earlier] == ["v1", "v2"]
    for number, version_id in enumerate(["v1", "v2", "v3"], 1):
        found = file.at_version(version_id)
        assert found is not None
        assert (found.version_id, found.version_name) == (version_id, f"Version {number}")
    assert file.at_version("v4") is None


def test_a_private_version_stays_private_behind_a_public_one() -> None:
    file = stored("v2").after(stored("v1", isPrivateFile="true", isPublished="false", tags="a"))
    first = file.at_version("v1")
    assert first is not None
    assert (first.is_private, first.is_published, file.is_private, file.is_published) == (True, False, False, True)


@pytest.mark.parametrize(("name", "switch"), [("tags", "overwriteTags"), ("customMetadata", "overwriteCustomMetadata")])
@pytest.mark.parametrize(
    ("flag", "sent", "kept"),
    [(None, None, None), ("true", None, None), ("false", None, "old"), ("false", "new", "new"), (None, "new", "new")],
)
def test_earlier_tags_and_metadata_are_kept_only_if_that_is_asked_for(
    name: str, switch: str, flag: str | None, sent: str | None, kept: str | None
) -> None:
    fields = {key: text for key, text in ((switch, flag), (name, sent)) if text is not None}
    later = stored("v2", **fields).after(stored("v1", **{name: "old"}, description="old"))
    assert later.fields.get(name) == kept
    assert "description" not in later.fields
