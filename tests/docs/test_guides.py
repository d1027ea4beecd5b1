"""The code of the guides: JavaScript in Node, Kotlin compiled and run, the HTTP of the others byte for byte.

Swift and Dart have no compiler here, and their pages say so: they are parsed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any, Final

import jwt
import pytest
import tree_sitter_dart_orchard
import tree_sitter_swift
from tree_sitter import Language, Parser

from tests.support.app import png
from tests.support.identity_provider import IdentityProvider
from tests.support.pages import PAGES, block, blocks
from tests.support.service import Client, Deployment, serving
from tests.test_recipes import IMAGEKIT, ORIGIN, TOKENSVC, run_javascript, run_python

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ORG_JSON: Final = "/usr/share/java/com.android.json.jar"
"""`org.json` as Android has it, of the package libandroid-json-java."""


@pytest.fixture(scope="module")
def phones(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, Callable[[], str]]]:
    """A service that knows the tokens of a provider, and forces a folder; and what makes such tokens."""
    deployment = Deployment(tmp_path_factory.mktemp("g"))
    with IdentityProvider(now=int(time.time())) as provider:
        deployment.write(f'[cors]\norigins = ["{ORIGIN}"]\n')
        toml = deployment.toml.read_text().replace('callers = ["backend"]\n', 'callers = ["mobile", "backend"]\n')
        deployment.toml.write_text(
            f'{toml}[profiles.default.force]\nfolder = "/users/{{subject}}"\n[callers.mobile]\nkind = "bearer"\n'
            f'issuer = "{provider.issuer}"\naudience = "uploads"\n'
            f'jwks_url = "{provider.issuer}/.well-known/jwks.json"\n'
        )
        with serving(deployment, "--workers", "1") as (_, client):
            yield client, provider.token


Phones = tuple[Client, "Callable[[], str]"]


# Browser, server, React Native

TOLD: Final = "console.log(JSON.stringify(RESULT));"


def test_the_browser_s_functions_fetch_and_upload(phones: Phones) -> None:
    """A token instead of the page's cookie: the session has its own test among the recipes."""
    client, token = phones
    public_key = client.issue().json["publicKey"]
    page = [each.text for each in blocks("js") if each.page == "docs/guides/browser.md"]
    with_token = {"Authorization": f"Bearer {token()}"}
    sdk = "(fields) => upload({ folder: '/users/u1', ...fields })"
    components = f"(got) => ({sdk})({{ file, fileName: file.name, publicKey: {json.dumps(public_key)}, ...got }})"
    for code, call in ((page[0], f"uploadWith({sdk}, file)"), (page[1], f"authenticator().then({components})")):
        asked = code.replace('credentials: "include"', "headers")
        assert asked != code
        said = run_javascript(client, f"{asked}\nawait {call};", **with_token)
        assert said["status"] == 200, said
        assert said["body"]["filePath"].startswith("/users/u1/a_")


def test_the_browser_is_told_why_it_was_refused(phones: Phones) -> None:
    client, _ = phones
    code = block("docs/guides/browser.md", "js", "async function authenticator").text
    said = run_javascript(client, f"{code}\nawait authenticator();")
    assert said["error"].startswith("Error: ")


def test_the_server_s_functions_fetch_a_credential(phones: Phones, tmp_path: Path) -> None:
    client, _ = phones
    page = "docs/guides/server.md"
    fetched = run_python(block(page, "python").text, tmp_path)["credential"](
        f"http://127.0.0.1:{client.address}", client.api_key
    )
    assert fetched.keys() == {"token", "expire", "signature", "publicKey"}
    code = f"{block(page, 'js').text}\nconsole.log(JSON.stringify(await credential({json.dumps(client.api_key)})));"
    assert run_javascript(client, code).keys() == fetched.keys()


REACT_NATIVE: Final = """
const Web = globalThis.FormData;
class FormData extends Web {  // as React Native's: a file is told by where it is
  append(name, value) { value.uri ? super.append(name, file, value.name) : super.append(name, value); }
}
"""


def test_react_native_s_function_uploads_what_was_picked(phones: Phones) -> None:
    client, token = phones
    code = block("docs/guides/react-native.md", "js").text
    call = f"await told(await uploadPicked({{ uri: 'file:///a', name: 'été.png', type: 'image/png' }}, '{token()}'));"
    said = run_javascript(client, f"{REACT_NATIVE}\n{code}\n{call}")
    assert said["status"] == 200, said
    assert said["body"]["filePath"].startswith("/users/u1/été_")


# Android

MAIN: Final = """
fun main(arguments: Array<String>) {
    val content = java.io.File(arguments[2]).readBytes()
    try {
        println(Uploads(arguments[0], arguments[0]).upload("été.png", "image/png", content, arguments[1]))
    } catch (refused: Refused) {
        println(JSONObject().put("status", refused.status).put("text", refused.message))
    }
}
"""


@pytest.fixture(scope="module")
def android(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The guide's Kotlin, compiled."""
    folder = tmp_path_factory.mktemp("kotlin")
    source = folder / "Uploads.kt"
    source.write_text(block("docs/guides/android.md", "kotlin").text + MAIN)
    compiler = shutil.which("kotlinc")
    assert compiler, "apt-get install kotlin libandroid-json-java"
    told = subprocess.run(
        [compiler, source, "-classpath", ORG_JSON, "-include-runtime", "-d", folder / "uploads.jar"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    return folder / "uploads.jar"


def test_android_s_class_uploads_and_tells_a_refusal(phones: Phones, android: Path, tmp_path: Path) -> None:
    client, token = phones
    picture = tmp_path / "a.png"
    picture.write_bytes(png())

    def uploaded(access_token: str) -> Any:
        told = subprocess.run(
            ["java", "-Dfile.encoding=UTF-8", "-cp", f"{android}:{ORG_JSON}", "UploadsKt",
             f"http://127.0.0.1:{client.address}", access_token, str(picture)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert told.returncode == 0, told.stderr
        return json.loads(told.stdout)

    stored = uploaded(token())
    assert stored["filePath"].startswith("/users/u1/été_")
    assert stored["fileType"] == "image"
    assert uploaded("e30.e30.e30")["status"] == 401


# iOS and Flutter


@pytest.mark.parametrize(
    ("page", "language", "grammar"),
    [
        ("docs/guides/ios.md", "swift", tree_sitter_swift.language()),
        ("docs/guides/flutter.md", "dart", tree_sitter_dart_orchard.language()),
    ],
)
def test_the_code_that_is_not_compiled_can_be_parsed(page: str, language: str, grammar: object) -> None:
    parser = Parser(Language(grammar))
    code = block(page, language).text
    assert not parser.parse(code.encode()).root_node.has_error
    assert parser.parse(code.replace(")", "", 1).encode()).root_node.has_error


def sent(client: Client, request: str, **put_in: bytes) -> tuple[int, Any]:
    """Send a request of a page byte for byte, with lines that end as HTTP's do, and the length that a client adds."""
    head, _, body = request.partition("\n\n")
    raw_head, raw = head.replace("\n", "\r\n").encode(), body.removesuffix("\n").encode()
    if "multipart/form-data" in head:
        raw = raw.replace(b"\n", b"\r\n") + b"\r\n"
    for name, value in put_in.items():
        mark = f"<{name.replace('_', ' ')}>".encode()
        assert mark in raw_head + raw
        raw_head, raw = raw_head.replace(mark, value), raw.replace(mark, value)
    whole = raw_head + f"\r\nContent-Length: {len(raw)}\r\nConnection: close\r\n\r\n".encode() + raw
    assert isinstance(client.address, int)
    with socket.create_connection(("127.0.0.1", client.address), timeout=30) as connection:
        connection.sendall(whole)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    status, _, rest = answer.partition(b"\r\n\r\n")
    return int(status.split()[1]), json.loads(rest)


@pytest.mark.parametrize("page", ["docs/guides/ios.md", "docs/guides/flutter.md"])
def test_what_goes_over_the_wire_is_taken_once(phones: Phones, page: str) -> None:
    assert "is not compiled here" in PAGES[page]
    client, token = phones
    ask, send = [each.text for each in blocks("http") if each.page == page]
    status, answer = sent(client, ask, access_token=token().encode())
    assert (status, list(answer)) == (200, ["token"])
    bound = jwt.decode(answer["token"], options={"verify_signature": False})
    assert (bound["fileName"], bound["folder"]) == ("a.jpg", "/users/u1")
    filled = {"token": answer["token"].encode(), "content": png(), "checks": bound["checks"].encode()}
    assert bound.keys() == {"fileName", "folder", "checks", "iat", "exp"}
    status, stored = sent(client, send, **filled)
    assert status == 200, stored
    assert stored["filePath"].startswith("/users/u1/a_")
    status, refused = sent(client, send, **filled)
    assert (status, "used before" in refused["message"]) == (400, True)


def test_the_addresses_of_the_guides_are_those_that_the_tests_put_theirs_in_for() -> None:
    for page in ("docs/guides/ios.md", "docs/guides/flutter.md"):
        assert TOKENSVC in PAGES[page]
        assert IMAGEKIT in PAGES[page]


# Migration


def test_the_route_that_is_left_behind_answers_what_tokensvc_answers(
    phones: Phones, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, _ = phones
    monkeypatch.setenv("IMAGEKIT_PRIVATE_KEY", "private_CANARYPq4bX1dFh2")
    route = run_python(block("docs/migration.md", "python").text, tmp_path)["app"].test_client()
    before = route.get("/api/upload-auth").get_json()
    now = client.issue().json
    assert before.keys() | {"publicKey"} == now.keys()
    assert {name: type(value) for name, value in before.items()} == {name: type(now[name]) for name in before}
    text = f"{before['token']}{before['expire']}".encode()
    assert before["signature"] == hmac.new(b"private_CANARYPq4bX1dFh2", text, hashlib.sha1).hexdigest()
