"""The recipes of README.md and docs/callers.md, run as they stand there: only names of hosts and files are put in.

Each block of code on the two pages is a case here. A block that is added needs one, and says so.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import secrets
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import jwt
import pytest

from tests.support.app import png
from tests.support.callers import ticket_in
from tests.support.identity_provider import IdentityProvider
from tests.support.processes import PATIENCE_SECONDS, until
from tests.support.service import ROOT, Answer, Client, Deployment, Running, await_ready, free_port, serving, tokensvc
from tokensvc import config, use_cases, wiring

README: Final = (ROOT / "README.md").read_text()
PAGE: Final = (ROOT / "docs/callers.md").read_text()
TOKENSVC: Final = "https://uploads.app.example"
IMAGEKIT: Final = "https://upload.imagekit.io"
ORIGIN: Final = "https://app.example"
OLD_KEY: Final = "Flask-Key-of-Old-Days-7c1f09d2"
NEW_KEY: Final = "Flask-Key-of-These-Days-55e8b0"
KEYS: Final = {"IMAGEKIT_PUBLIC_KEY": "public_Pq4bX1dFh2", "IMAGEKIT_PRIVATE_KEY": "private_CANARYPq4bX1dFh2"}


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page in that language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def titled(title: str, language: str, page: str = PAGE) -> str:
    """The one block in that language under a heading, or from a bold sentence to the next."""
    parts = re.split(r"^(?:## |\*\*)", page, flags=re.MULTILINE)
    (part,) = [part for part in parts if part.startswith(title)]
    (block,) = blocks(part, language)
    return block


BROWSER, PHONE, BACK_END = "A browser, signed in to your Flask app", "A phone, with an identity", "A back end, with an"
TICKETS, PROXY, EVERYBODY = "An app of any kind, with tickets", "A proxy that has signed", "Everybody"


@dataclass(frozen=True)
class Place:
    """A folder with a configuration as an operator has it."""

    deployment: Deployment = field(repr=False)

    @property
    def folder(self) -> Path:
        return self.deployment.folder

    def configure(self, toml: str) -> None:
        """Write the configuration."""
        self.deployment.toml.write_text(toml)

    def secret(self, name: str, text: str) -> None:
        """Write a file with a secret."""
        (self.folder / name).write_text(f"{text}\n")

    def load(self, toml: str) -> config.Settings:
        """Read the configuration in this process."""
        self.configure(toml)
        return config.load({**KEYS, "TOKENSVC_CONFIG": str(self.deployment.toml)})


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(Deployment(tmp_path))
    for name in ("flask-secret-key", "ticket-key"):
        made.secret(name, secrets.token_urlsafe(32))
    made.secret("flask-secret-key.old", secrets.token_urlsafe(32))
    return made


def run_curl(client: Client, line: str, **values: str) -> Answer:
    """Do what curl does with this command line: those of its options that the pages use."""
    for name, value in values.items():
        line = line.replace(f"${name}", value)
    command, url, *options = shlex.split(line)
    headers, body = {}, None
    for option, value in zip(options[::2], options[1::2], strict=True):
        if option == "-H":
            name, _, text = value.partition(": ")
            headers[name] = text
        else:
            assert option == "-d", option
            body = value.encode()
            headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
    assert (command, url[: len(TOKENSVC)]) == ("curl", TOKENSVC)
    return client.request("GET" if body is None else "POST", url.removeprefix(TOKENSVC), body, headers)


_JAVASCRIPT: Final = """
const asked = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
const real = globalThis.fetch;
const there = (url) => Object.entries(asked.hosts).reduce((text, [from, to]) => text.replace(from, to), url);
const fetch = (url, options = {}) => {
  const headers = { ...options.headers, Origin: asked.origin, Connection: "close" };
  if (options.credentials === "include" && asked.cookie) headers.Cookie = asked.cookie;
  return real(there(url), { ...options, headers });
};
const file = new File([Buffer.from(asked.picture, "base64")], asked.name, { type: "image/png" });
const upload = async ({ file, ...fields }) => {  // the SDK's own needs a browser, where other tests run it
  const form = new FormData();
  for (const [name, text] of Object.entries(fields)) form.append(name, text);
  form.append("file", file);
  return told(await real(there("https://upload.imagekit.io/api/v1/files/upload"), { method: "POST", body: form }));
};
const told = async (answer) => console.log(JSON.stringify({ status: answer.status, body: await answer.json() }));
const Block = Object.getPrototypeOf(async () => {}).constructor;
new Block("fetch", "file", "upload", "told", "headers", asked.code)(fetch, file, upload, told, asked.headers).catch(
  (error) => console.log(JSON.stringify({ error: String(error) })),
);
"""


def run_javascript(
    client: Client, code: str, *, cookie: str = "", name: str = "a.png", **headers: str
) -> dict[str, Any]:
    """Run a block in Node as in a page of the listed origin; what its upload was answered."""
    url = f"http://127.0.0.1:{client.address}"
    asked = {
        "hosts": {TOKENSVC: url, IMAGEKIT: url},
        "origin": ORIGIN,
        "cookie": cookie,
        "picture": base64.b64encode(png()).decode(),
        "name": name,
        "headers": headers,
        "code": code,
    }
    done = subprocess.run(
        ["node", "-e", _JAVASCRIPT], input=json.dumps(asked), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def claims_of(answer: Answer) -> dict[str, Any]:
    """What a v2 credential binds."""
    assert answer.status == 200, answer.body
    claims: dict[str, Any] = jwt.decode(answer.json["token"], options={"verify_signature": False})
    return {name: text for name, text in claims.items() if name not in ("iat", "exp")}


# The pages


def test_every_block_has_its_case_here() -> None:
    counts = {
        language: (len(blocks(README, language)), len(blocks(PAGE, language)))
        for language in ("toml", "sh", "js", "python")
    }
    assert counts == {"toml": (2, 5), "sh": (3, 1), "js": (1, 1), "python": (0, 3)}
    fences = re.findall(r"^```", README + PAGE, re.MULTILINE)
    assert len(fences) == 2 * sum(sum(pair) for pair in counts.values()), "a block in another language"


@pytest.mark.parametrize("number", range(7))
def test_every_configuration_on_the_pages_is_one(place: Place, number: int) -> None:
    toml = (blocks(README, "toml") + blocks(PAGE, "toml"))[number]
    settings = place.load(toml.replace("…", "f" * 64))
    assert use_cases.caller_sources(settings)
    assert wiring.profiles(settings)


def test_the_readme_starts_it_by_a_command_that_exists() -> None:
    command = blocks(README, "sh")[1]
    *variables, program, part = shlex.split(command)
    assert [variable.partition("=")[0] for variable in variables] == list(KEYS)
    assert (program, part) == ("tokensvc", "serve")
    assert tokensvc(part, "--help").returncode == 0


def test_the_links_of_the_pages_lead_somewhere() -> None:
    for folder, page in ((ROOT, README), (ROOT / "docs", PAGE)):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page):
            assert (folder / target).exists(), target


# A browser, signed in to a Flask app that runs beside


@dataclass(frozen=True)
class Sibling:
    """The Flask app of the page, in a process of its own."""

    port: int

    def sign_in(self) -> str:
        """Sign in as a browser does, and return its Cookie header from then on."""
        answer = Client(self.port).request("POST", "/sign-in")
        assert answer.status == 204, answer
        cookie = answer.headers["set-cookie"]
        assert "Domain=app.example" in cookie
        assert "SameSite=Lax" in cookie
        return cookie.partition(";")[0]


@contextlib.contextmanager
def sibling(folder: Path) -> Iterator[Sibling]:
    """Run the page's app with the keys that are in the folder, while the block lasts."""
    (folder / "app.py").write_text(titled(BROWSER, "python"))
    port = free_port()
    environment = {name: text for name, text in os.environ.items() if not name.startswith("FLASK_")}
    with (folder / "app.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "flask", "--app", "app", "run", "--port", str(port)],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )

    def answers() -> bool:
        assert process.poll() is None, (folder / "app.log").read_text()
        with contextlib.suppress(OSError):
            return Client(port).request("GET", "/").status == 404
        return False

    try:
        until(answers)
        yield Sibling(port)
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def reload(service: Running, client: Client) -> None:
    """Have the configuration read anew, and wait until nobody serves by the old one."""
    before = service.workers
    service.send(signal.SIGHUP)
    until(lambda: (now := service.workers) and not now & before)
    await_ready(service, client)


def test_a_page_of_a_sibling_flask_app_uploads_before_and_after_a_rotation(place: Place) -> None:
    toml, page = titled(BROWSER, "toml", README), titled(BROWSER, "js", README)
    (place.folder / "flask-secret-key.old").unlink()
    place.secret("flask-secret-key", OLD_KEY)
    place.configure(toml)
    with sibling(place.folder) as app:
        old = app.sign_in()
    rotated = place.folder / "app"
    rotated.mkdir()
    (rotated / "flask-secret-key").write_text(NEW_KEY)
    (rotated / "flask-secret-key.old").write_text(OLD_KEY)
    with sibling(rotated) as app:
        new = app.sign_in()

    with serving(place.deployment, "--workers", "1") as (service, client):

        def statuses() -> list[int]:
            """Of the app's cookies from before and after its rotation."""
            headers = [{"Cookie": cookie, "Origin": ORIGIN} for cookie in (old, new)]
            return [client.request("GET", "/auth", headers=each).status for each in headers]

        said = run_javascript(client, page, cookie=old)
        assert (said["status"], said["body"]["fileType"]) == (200, "image"), said
        assert run_javascript(client, page)["status"] == 401, "without a cookie there is no credential to upload with"
        require_cross_site_defence(client, old)
        assert statuses() == [200, 401]

        place.secret("flask-secret-key.new", NEW_KEY)
        place.configure(with_fallback(toml, "flask-secret-key.new"))
        reload(service, client)
        assert statuses() == [200, 200]

        place.secret("flask-secret-key", NEW_KEY)
        place.secret("flask-secret-key.old", OLD_KEY)
        place.configure(with_fallback(toml, "flask-secret-key.old"))
        reload(service, client)
        assert statuses() == [200, 200]
        assert run_javascript(client, page, cookie=new)["status"] == 200

        place.configure(toml)
        reload(service, client)
        assert statuses() == [401, 200]


def with_fallback(toml: str, file: str) -> str:
    """The recipe's configuration with a second key."""
    member = 'secret_key_file = "flask-secret-key"'
    assert member in toml
    return toml.replace(member, f'{member}, fallback_key_files = ["{file}"]')


def require_cross_site_defence(client: Client, cookie: str) -> None:
    """What a browser asks before, and what no page of another site gets."""
    ask = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "x-requested-with",
    }
    preflight = client.request("OPTIONS", "/auth", headers=ask)
    assert preflight.status == 204
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    assert preflight.headers["access-control-allow-credentials"] == "true"
    assert preflight.headers["access-control-allow-headers"] == "x-requested-with"
    answer = client.request("GET", "/auth", headers={"Cookie": cookie, "Origin": ORIGIN})
    assert (answer.status, answer.headers["access-control-allow-credentials"]) == (200, "true")
    assert "no-store" in answer.headers["cache-control"]
    for more, status, code in (
        ({}, 403, "origin.forbidden"),
        ({"Sec-Fetch-Site": "cross-site"}, 403, "origin.forbidden"),
        ({"Sec-Fetch-Site": "same-site"}, 403, "origin.forbidden"),
        ({"Origin": "https://evil.example"}, 403, "origin.forbidden"),
        ({"Origin": "null"}, 403, "origin.forbidden"),
        ({"X-Requested-With": "XMLHttpRequest"}, 200, None),
        ({"Sec-Fetch-Site": "same-origin"}, 200, None),
    ):
        answer = client.request("GET", "/auth", headers={"Cookie": cookie, **more})
        assert (answer.status, answer.headers.get("x-tokensvc-code")) == (status, code), more
        assert "access-control-allow-credentials" not in answer.headers
    evil = client.request("OPTIONS", "/auth", headers={**ask, "Origin": "https://evil.example"})
    assert evil.status == 403


def test_the_page_s_own_function_uploads_with_a_session_and_with_a_token(place: Place) -> None:
    """The same function for a page and for a phone; a name that is not ASCII included."""
    call = titled(BROWSER, "js") + "await told(await uploadFile(file, headers));"
    place.secret("flask-secret-key", OLD_KEY)
    toml = titled(BROWSER, "toml").replace('claims = ["team"]', "claims = []").replace("/teams/{claims.team}", "/users")
    with IdentityProvider(now=int(time.time())) as provider:
        phone = titled(PHONE, "toml", README).replace("https://id.example", provider.issuer)
        phone = phone.replace("[profiles.default]", "[profiles.phones]")
        place.configure(f'[cors]\norigins = ["{ORIGIN}"]\n{toml}\n{phone}')
        with serving(place.deployment, "--workers", "1") as (_, client):
            with sibling(place.folder) as app:
                said = run_javascript(client, call, cookie=app.sign_in(), name="été 1.png")
            assert said["status"] == 200, said
            assert re.fullmatch(r"/users/u1/été_1_[\w-]{9}\.png", said["body"]["filePath"])
            on_phones = call.replace(f"{TOKENSVC}/auth", f"{TOKENSVC}/auth/phones")
            assert on_phones != call
            said = run_javascript(client, on_phones, Authorization=f"Bearer {provider.token(sub='u2')}")
            assert said["status"] == 200, said
            assert said["body"]["filePath"].startswith("/users/u2/a_")
            said = run_javascript(client, on_phones, Authorization=f"Bearer {provider.token(aud='elsewhere')}")
            assert said == {"error": "Error: The bearer token is for another audience."}


# A phone


def test_a_phone_with_an_access_token_gets_its_own_folder(place: Place) -> None:
    (command,) = [line for line in blocks(PAGE, "sh") if "ACCESS_TOKEN" in line]
    with IdentityProvider(now=int(time.time())) as provider:
        place.configure(titled(PHONE, "toml", README).replace("https://id.example", provider.issuer))
        with serving(place.deployment, "--workers", "1") as (_, client):
            bound = claims_of(run_curl(client, command, ACCESS_TOKEN=provider.token()))
            assert (bound["fileName"], bound["folder"]) == ("a.jpg", "/users/u1")
            asked = command.replace('"fileName": "a.jpg"', '"fileName": "a.jpg", "folder": "/admin"')
            assert claims_of(run_curl(client, asked, ACCESS_TOKEN=provider.token())) == bound
            for wrong in (provider.token(aud="elsewhere"), provider.token(sub="../x"), "e30.e30.e30"):
                assert run_curl(client, command, ACCESS_TOKEN=wrong).status in (401, 403)


# A back end


def run_python(code: str, folder: Path) -> dict[str, Any]:
    """Run a block as a module in that folder; its names."""
    names: dict[str, Any] = {"__name__": "app"}
    with contextlib.chdir(folder):
        exec(compile(code, "app.py", "exec"), names)  # noqa: S102 - our own page
    return names


def test_a_back_end_passes_on_what_it_fetches_with_a_key_that_was_just_made(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tokensvc("keys", "new").stdout
    api_key, printed = told.partition("\n")[0], told[told.index("[callers.backend]") :]
    toml = titled(BACK_END, "toml")
    digest = re.search(r'sha256 = "([0-9a-f]{64})"', printed)
    assert digest is not None
    place.configure(toml.replace("…", digest[1]))
    (command,) = [line for line in blocks(README, "sh") if "API_KEY" in line]
    with serving(place.deployment, "--workers", "1") as (_, client):
        answer = run_curl(client, command, API_KEY=api_key)
        assert answer.status == 200, answer
        fields = {name: str(value) for name, value in answer.json.items()}
        assert client.upload(fields).status == 200
        assert run_curl(client, command, API_KEY="tsk_of_nobody").status == 401

        for name, text in {
            "TOKENSVC": f"http://127.0.0.1:{client.address}",
            "API_KEY": api_key,
            "SECRET_KEY": "x",
        }.items():
            monkeypatch.setenv(name, text)
        app = run_python(titled(BACK_END, "python"), place.folder)["app"]
        visitor = app.test_client()
        assert visitor.get("/api/upload-auth").status_code == 401
        with visitor.session_transaction() as session:
            session["user_id"] = "u1"
        passed_on = visitor.get("/api/upload-auth")
        assert passed_on.headers["Cache-Control"] == "no-store"
        fields = {name: str(value) for name, value in passed_on.get_json().items()}
        assert client.upload(fields).status == 200


# The others


def test_a_ticket_that_the_page_s_code_signs_is_known_by_the_page_s_configuration(place: Place) -> None:
    settings = place.load(titled(TICKETS, "toml"))
    ticket = run_python(titled(TICKETS, "python"), place.folder)["ticket_for"]("u1")
    caller = use_cases.caller_sources(settings)["app"].identify(ticket_in(ticket))
    assert caller is not None
    assert (caller.subject, caller.profile, caller.once is not None) == ("u1", "avatars", True)


def test_the_proxy_and_the_guests_of_the_page_are_as_it_says(place: Place) -> None:
    settings = place.load(titled(PROXY, "toml"))
    assert wiring.profiles(settings)["default"].callers == ("proxy",)
    settings = place.load(titled(EVERYBODY, "toml"))
    assert settings.profiles["guestbook"].public
    with pytest.raises(config.ConfigurationError, match=r"profiles\.guestbook\.public"):
        place.load(titled(EVERYBODY, "toml").replace("public = true\n", ""))
