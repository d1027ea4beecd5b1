from __future__ import annotations

import json
from typing import Any

import pytest

from tokensvc.core import constraints
from tokensvc.core.errors import Code, Refusal
from tokensvc.core.params import PARAMETERS, Kind, elements

ABS = {"type": "abs", "value": "sr-240_360"}
WIDTH = {"type": "transformation", "value": "w-100"}

GOOD: list[tuple[str, str]] = [
    ("fileName", "a b/ü?.jpg"),
    ("useUniqueFileName", "true"),
    ("tags", ""),
    ("tags", "a,b"),
    ("tags", "'a', 'b'"),
    ("tags", "x" * 500),
    ("tags", f"{'x' * 250},{'y' * 250}"),
    ("folder", ""),
    ("folder", "/"),
    ("folder", "/a" * 50),
    ("folder", "été_1-x/"),
    ("isPrivateFile", "false"),
    ("customCoordinates", ""),
    ("customCoordinates", "0,0,1,1"),
    ("customCoordinates", "10.5,0,100,200.25"),
    ("responseFields", ""),
    ("responseFields", ",".join(constraints.RESPONSE_FIELDS)),
    ("responseFields", "'tags', 'metadata'"),
    ("extensions", "[]"),
    ("extensions", '[ {"name": "remove-bg", "options": {"add_shadow": true}}, {"name":"ai-auto-description"} ]'),
    ("extensions", '[{"name":"google-auto-tagging","minConfidence":0,"maxTags":5}]'),
    ("extensions", '[{"name":"saved-extension","id":"ext_1"}]'),
    ("webhookUrl", "https://app.example/hook?a=1#x"),
    ("webhookUrl", "http://[::1]:8080/hook"),
    ("customMetadata", "{}"),
    ("customMetadata", '{"price": 10, "a": "\\u00e9"}'),
    ("transformation", '{"pre":"w-100"}'),
    ("transformation", '{"post":[]}'),
    ("transformation", json.dumps({"pre": "l-text,i-x,l-end", "post": [WIDTH] * 5})),
    ("transformation", json.dumps({"post": [{"type": "gif-to-video"}, {"type": "thumbnail", "value": "so-2"}]})),
    ("transformation", json.dumps({"post": [ABS | {"protocol": "hls"}, ABS | {"protocol": "dash"}, ABS]})),
    ("checks", '"file.size" < 1000'),
    ("description", "anything at all: %"),
]

BAD: list[tuple[str, str, str]] = [
    ("fileName", "", "is empty"),
    ("fileName", "x" * 300, "is too long"),
    ("useUniqueFileName", "", "neither true nor false"),
    ("overwriteFile", "True", "neither true nor false"),
    ("isPublished", "1", "neither true nor false"),
    ("tags", "100%", "holds a %"),
    ("tags", "x" * 501, "501 characters"),
    ("tags", f"{'x' * 250},{'y' * 251}", "501 characters"),
    ("folder", "../x", "letters, digits"),
    ("folder", "/a b", "letters, digits"),
    ("folder", "/a.b", "letters, digits"),
    ("folder", "/a" * 51, "50 levels"),
    ("customCoordinates", "1,2,3", "x,y,width,height"),
    ("customCoordinates", "1,2,3,4,5", "x,y,width,height"),
    ("customCoordinates", "1,2,3,4,", "x,y,width,height"),
    ("customCoordinates", "1,2,3,x", "x,y,width,height"),
    ("customCoordinates", "1,2,3,", "x,y,width,height"),
    ("customCoordinates", "1,2,3,٤", "x,y,width,height"),
    ("customCoordinates", "1,2,3,1e9", "x,y,width,height"),
    ("responseFields", "tags,nonsense", "'nonsense'"),
    ("responseFields", "tags,", "''"),
    ("extensions", "", "not good JSON"),
    ("extensions", "remove-bg", "not good JSON"),
    ("extensions", '{"name":"remove-bg"}', "is an object"),
    ("extensions", '["remove-bg"]', "no object with a name"),
    ("extensions", '[{"Name":"remove-bg"}]', "no object with a name"),
    ("extensions", '[{"name":["remove-bg"]}]', "no object with a name"),
    ("extensions", '[{"name":"mine-bitcoin"}]', "'mine-bitcoin'"),
    ("extensions", '[{"name":"remove-bg","name":"remove-bg"}]', "a member occurs twice"),
    ("extensions", '[{"name":"saved-extension"}]', "without id"),
    ("extensions", '[{"name":"saved-extension","id":""}]', "without id"),
    ("extensions", '[{"name":"aws-auto-tagging","maxTags":"5"}]', "maxTags that is no number"),
    ("extensions", '[{"name":"aws-auto-tagging","minConfidence":true}]', "minConfidence that is no number"),
    ("extensions", "[NaN]", "not good JSON"),
    ("webhookUrl", "", "URL"),
    ("webhookUrl", "/hook", "URL"),
    ("webhookUrl", "app.example/hook", "URL"),
    ("webhookUrl", "ftp://app.example/", "URL"),
    ("webhookUrl", "javascript://app.example/", "URL"),
    ("webhookUrl", "https://", "URL"),
    ("webhookUrl", "https://[::1", "URL"),
    ("webhookUrl", "https://a.example:x/", "URL"),
    ("webhookUrl", "https://a.example/a b", "URL"),
    ("customMetadata", "[]", "is a list"),
    ("customMetadata", "null", "is null"),
    ("customMetadata", '{"a":1', "not good JSON"),
    ("transformation", "[]", "is a list"),
    ("transformation", "{}", "neither pre nor post"),
    ("transformation", '{"Pre":"w-1"}', "neither pre nor post"),
    ("transformation", '{"pre":""}', "pre that is empty"),
    ("transformation", '{"pre":" "}', "pre that is empty"),
    ("transformation", '{"pre":5}', "pre that is empty or no text"),
    ("transformation", '{"post":{}}', "post that is no list"),
    ("transformation", json.dumps({"post": [WIDTH] * 6}), "6 entries"),
    ("transformation", '{"post":["abs"]}', "no object with a type"),
    ("transformation", '{"post":[{"value":"w-1"}]}', "no object with a type"),
    ("transformation", '{"post":[{"type":"webp"}]}', "'webp'"),
    ("transformation", '{"post":[{"type":"transformation"}]}', "without value"),
    ("transformation", '{"post":[{"type":"transformation","value":""}]}', "without value"),
    ("transformation", '{"post":[{"type":"abs","protocol":"hls"}]}', "without value"),
    ("transformation", '{"post":[{"type":"thumbnail","value":1}]}', "value is no text"),
    ("transformation", json.dumps({"post": [WIDTH | {"protocol": "hls"}]}), "with a protocol"),
    ("transformation", json.dumps({"post": [ABS | {"protocol": "rtmp"}]}), "'rtmp'"),
    ("checks", "", "empty"),
    ("checks", "file.size < 1000", "cannot be read at character"),
]


@pytest.mark.parametrize(("name", "text"), GOOD)
def test_what_imagekit_takes_passes(name: str, text: str) -> None:
    constraints.require(name, text)


@pytest.mark.parametrize(("name", "text", "words"), BAD)
def test_what_imagekit_would_refuse_is_refused_before_it_is_signed(name: str, text: str, words: str) -> None:
    with pytest.raises(Refusal) as refused:
        constraints.require(name, text)
    assert (refused.value.code, refused.value.field) == (Code.PARAMETER_INVALID, name)
    assert refused.value.detail.startswith(name)
    assert words in refused.value.detail


def test_every_parameter_has_its_row() -> None:
    assert constraints._CONSTRAINTS.keys() == PARAMETERS.keys()


def test_every_parameter_with_a_constraint_is_among_the_cases_of_both_kinds() -> None:
    flags = {name for name, parameter in PARAMETERS.items() if parameter.kind is Kind.FLAG}
    assert {name for name, _ in GOOD} | flags == PARAMETERS.keys()
    assert {name for name, *_ in BAD} | flags == PARAMETERS.keys() - {"description"}


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("tags", "a,b", ("a", "b")),
        ("tags", "'a', 'b'", ("a", "b")),
        ("tags", "'a', \"b\" , c", ("a", "b", "c")),
        ("tags", "", ()),
        ("tags", "a,,b", ("a", "", "b")),
        ("tags", "''a''", ("'a'",)),
        ("tags", "'a", ("'a",)),
        ("tags", "'", ("'",)),
        ("tags", "'a\"", ("'a\"",)),
        ("responseFields", "tags, metadata", ("tags", "metadata")),
        ("fileName", "'a', b", ("'a', b",)),
    ],
)
def test_a_list_is_read_with_the_blanks_and_quotes_of_old_android(name: str, text: str, values: Any) -> None:
    assert elements(name, text) == values
