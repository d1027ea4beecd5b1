"""Five thousand upload requests of every kind: none is answered with 5xx, and none leaves what should not be there."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tests.support.app import BOUNDARY, Service, basic, png
from tests.support.valkey import Valkey
from tokensvc.core.params import PARAMETERS, Kind

REQUESTS = 5000

GIF = b"GIF89a\x01\0\x01\0\0\0\0;"
CONTENTS = (
    *(b"", b"\0", b"hello", png(), png(padding=99_900), GIF, b"<svg onload=alert(1)>", b"<!DOCTYPE html><script>"),
    *(b"%PDF-1.4", b"\xff\xd8\xff\xe0", b"\0\0\0\x18ftypmp42" + bytes(40), b"PK\x03\x04" + bytes(30), bytes(100_001)),
    *(b"\0\0\0\x18ftypmp42" + bytes(100_000), b"RIFF\xff\xff\xff\xffWEBPVP8 ", b"\x1f\x8b\x08", b"BM" + bytes(60)),
)
TEXTS = (
    *("", "null", "undefined", "true", "false", "0", "a.png", "../../etc/passwd", "..\\..\\x", "/", "//", "/a/b", "."),
    *("..", "~", "%2e%2e%2f", "C:\\x", "CON", "a\0b", "a\r\nb", "\u202egpj.exe", "\ufeff", "e\u0301", "a" * 300),
    *("/a" * 51, "'a', 'b'", "a,b,,c", "10,10,20,20", "1e9,1,1,1", "tags,metadata,nothing", '["tags"]', "[]", "{}"),
    *('{"pre":"w-1"}', '{"post":[{"type":"abs","value":"x"}]}', '{"post":[{"type":"gif-to-video"}]}', '{"a":1,"a":2}'),
    *('[{"name":"remove-bg"}]', '{"price":NaN}', "[" * 400, '"file.size" > 1', "'file.size' : 'x'", '("file.mime"'),
    *('"mediaMetadata.width" >= "1"', "https://app.example/hook", "http://[", "file:///etc/passwd", "data:,x"),
    *(
        "data:image/png;base64,iVBORw0KGgo=",
        "aGVsbG8gd29ybGQhIGhlbGxvIHdvcmxk",
        "aGVsbG8=",
        "aGVsbG8",
        "1234567890" * 7000,
    ),
)
GOOD = {
    **{name: ("true", "false", "") for name, parameter in PARAMETERS.items() if parameter.kind is Kind.FLAG},
    "tags": ("a,b", "'a', 'b'", "ä"),
    "folder": ("/", "a/b", "/ä/", "//x"),
    "customCoordinates": ("10,10,20,20",),
    "responseFields": ("tags,metadata", '["tags"]', "customMetadata"),
    "extensions": ('[{"name":"remove-bg"}]',),
    "webhookUrl": ("https://app.example/hook",),
    "customMetadata": ("{}",),
    "checks": ('"file.size" < "1mb"', "'request.folder' : '/'"),
    "description": ("<b>", "e\u0301"),
    "transformation": ('{"pre":"w-1"}',),
}
"""Texts that are mostly taken, by parameter; `fileName` is there in any case."""

NAMES = (*PARAMETERS, "file", "token", "signature", "expire", "publicKey", "folder ", "FILENAME", "x", "iat", "")


@dataclass
class Part:
    """One part of a form; `raw` is put in its header as it is."""

    name: str
    value: bytes
    file_name: str | None = None
    raw: str = ""

    def __bytes__(self) -> bytes:
        head = f'Content-Disposition: form-data; name="{self.name}"'
        if self.file_name is not None:
            head += f'; filename="{self.file_name}"'
        return f"--{BOUNDARY}\r\n{head}{self.raw}\r\n\r\n".encode("utf-8", "surrogatepass") + self.value + b"\r\n"


values = st.sampled_from(TEXTS).map(str.encode) | st.binary(max_size=40) | st.text(max_size=30).map(str.encode)
headers = st.sampled_from(
    ["", "", "", "\r\nContent-Type: image/png", "\r\nContent-Type: text/plain; charset=latin-1", "; x=y"]
)
headers |= st.sampled_from(
    ["\r\nContent-Transfer-Encoding: base64", "\r\n", "; name=file", "; filename*=UTF-8''a", "\0"]
)
file_names = (
    st.none() | st.sampled_from(["a.png", "", "../../x", "a\\b", "\u202e.exe", "x" * 300]) | st.text(max_size=9)
)
quoted = st.text(alphabet=st.characters(exclude_characters='"\\\r\n', exclude_categories=["Cs"]), max_size=8)
any_parts = st.builds(Part, st.sampled_from(NAMES) | quoted, values, file_names, headers)
names = st.builds(Part, st.just("fileName"), st.sampled_from([b"a.png", b"b", b"../x y.mp4", "ä.svg".encode()]))
good = st.sampled_from([Part(name, text.encode()) for name, texts in GOOD.items() for text in texts])
fields = st.builds(Part, st.sampled_from(sorted(PARAMETERS)), st.sampled_from(TEXTS).map(str.encode))
files = st.builds(Part, st.just("file"), st.sampled_from(CONTENTS) | st.binary(max_size=60), st.just("a.png"))
file_texts = st.builds(Part, st.just("file"), values)


@dataclass
class Ask:
    """A request to be. `cuts` and `flips` say what is done to its body, in thousandths of its length."""

    version: str
    authority: str
    parts: list[Part]
    file: Part | None
    cuts: list[int] = field(default_factory=list)
    flips: list[int] = field(default_factory=list)
    kind: str = f"multipart/form-data; boundary={BOUNDARY}"

    def body(self, credential: list[Part]) -> bytes:
        """The whole form, and then what is done to it."""
        parts = [*credential, *self.parts, *([self.file] if self.file else [])]
        body = bytearray(b"".join(map(bytes, parts)) + f"--{BOUNDARY}--\r\n".encode())
        for flip in self.flips:
            body[min(len(body) - 1, len(body) * flip // 1000)] ^= 1 << flip % 8
        for cut in self.cuts:
            del body[len(body) * cut // 1000 :]
        return bytes(body)


versions = st.sampled_from(["v1", "v2"])
authorities = st.sampled_from(["credential", "credential", "key", "headers", "none", "wrong", "both"])
orderly = st.builds(
    Ask,
    versions,
    st.sampled_from(["credential", "key", "headers"]),
    st.builds(
        lambda name, others: [name, *others], names, st.lists(good, max_size=4, unique_by=lambda part: part.name)
    ),
    files,
)
almost = st.builds(
    Ask,
    versions,
    authorities,
    st.builds(lambda name, others: [name, *others], names, st.lists(fields | good, max_size=3)),
    files | file_texts,
)
disorderly = st.builds(
    Ask,
    versions,
    authorities,
    st.lists(fields | any_parts, max_size=6),
    st.none() | files | file_texts,
    st.lists(st.integers(0, 1000), max_size=1),
    st.lists(st.integers(0, 999), max_size=3),
    st.just(f"multipart/form-data; boundary={BOUNDARY}")
    | st.sampled_from(["", "text/plain", "multipart/form-data", "multipart/form-data; boundary=", "a;b=c;b=d"]),
)


@dataclass
class Tally:
    """What came of all requests, and which versions of files must be there."""

    statuses: dict[int, int] = field(default_factory=dict)
    kept: dict[str, bytes] = field(default_factory=dict)


@pytest.fixture(scope="module")
def service(valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    def change(tables: dict[str, Any]) -> None:
        tables["throttle"] = {"failures": "10000/second"}
        tables["profiles"]["open"]["allow"] |= dict.fromkeys(PARAMETERS, True)

    made = Service(valkey.url, tmp_path_factory.mktemp("fuzz") / "data", change=change)
    yield made
    made.close()


def test_no_form_whatever_is_answered_with_5xx_or_leaves_a_part_of_a_file(service: Service) -> None:
    tally = Tally()

    @settings(max_examples=REQUESTS, deadline=None, suppress_health_check=list(HealthCheck))
    @given(orderly | almost | disorderly)
    def request(ask: Ask) -> None:
        answer = send(service, ask)
        note(answer.get_data(as_text=True))
        assert answer.status_code in {200, 202, 400, 401, 403, 413, 415}, answer.get_data()
        tally.statuses[answer.status_code] = tally.statuses.get(answer.status_code, 0) + 1
        assert not os.listdir(service.root / "incoming")  # noqa: PTH208 - thousands of times
        if answer.status_code == 200:
            version = answer.get_json()["versionInfo"]["id"]
            (held,) = (service.root / "objects").glob(f"??/{version}")
            assert held.stat().st_size == answer.get_json()["size"]
            if ask.file is not None and ask.file.file_name is not None and not (ask.cuts or ask.flips):
                tally.kept[version] = hashlib.sha256(ask.file.value).digest()

    request()
    sys.stdout.write(f"\n{sum(tally.statuses.values()):,} upload requests: {dict(sorted(tally.statuses.items()))}\n")
    assert sum(tally.statuses.values()) >= REQUESTS
    assert tally.statuses[200] > REQUESTS / 20
    assert tally.statuses[400] > REQUESTS / 20
    outside = [path for path in service.root.parent.parent.rglob("*") if not path.is_relative_to(service.root.parent)]
    assert outside == []
    assert {path.name for path in service.root.parent.iterdir()} <= {"files"}
    on_disk = service.on_disk()
    assert on_disk["incoming"] == 0
    assert on_disk["objects"] == tally.statuses[200] + tally.statuses.get(202, 0)
    objects = {path.name: path for path in (service.root / "objects").glob("??/*")}
    assert all(hashlib.sha256(objects[version].read_bytes()).digest() == sha for version, sha in tally.kept.items())
    assert service.files.sweep(1 << 40, 0) == 0


def send(service: Service, ask: Ask) -> Any:
    credential, headers = authority_of(service, ask)
    return service.send(
        "POST",
        f"/api/{ask.version}/files/upload",
        {**headers, **({"Content-Type": ask.kind} if ask.kind else {})},
        data=ask.body(credential),
    )


def authority_of(service: Service, ask: Ask) -> tuple[list[Part], dict[str, str]]:
    """What lets it in, or not: parts of the form, and headers."""
    key = {"Authorization": basic(service.private_key)}
    if ask.authority == "key":
        return [], key
    if ask.authority == "none":
        return [], {}
    if ask.authority == "wrong":
        return [Part("token", b"x"), Part("signature", b"0" * 40), Part("expire", b"9999999999")], {}
    credential = service.credential() if ask.version == "v1" else {"token": token_for(service, ask)}
    if ask.authority == "headers":
        named = {"token": "Token", "expire": "Expire", "signature": "Signature", "publicKey": "Public-Key"}
        return [], {f"X-Upload-{named[name]}": text for name, text in credential.items()}
    parts = [Part(name, text.encode()) for name, text in credential.items()]
    return parts, key if ask.authority == "both" else {}


def token_for(service: Service, ask: Ask) -> str:
    """A token for just these fields, or, where none is to be had for them, for no field."""
    payload: dict[str, str] = {}
    for part in ask.parts:
        if part.name in PARAMETERS and part.file_name is None:
            payload[part.name] = part.value.decode(errors="replace")
    service.clock.now += 1  # in one second, what is the same is one token
    answer = service.post({"uploadPayload": payload}, profile="open")
    if answer.status_code != 200:
        answer = service.post({"uploadPayload": {}}, profile="open")
    return str(answer.get_json()["token"])
