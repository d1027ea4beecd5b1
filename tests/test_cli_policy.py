"""Trying a policy from the command line: what would be granted, cases, and what a configuration comes to."""

from __future__ import annotations

import datetime as dt
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest
from click.testing import CliRunner, Result

from tests.support.service import ROOT, tokensvc
from tokensvc import wiring
from tokensvc.cli import main
from tokensvc.config import Settings, cautions, load
from tokensvc.config.reference import tables, whole_page
from tokensvc.config.schema import schema
from tokensvc.config.settings import FROM_ENVIRONMENT
from tokensvc.core import v2
from tokensvc.core.keys import Secret, fingerprint
from tokensvc.core.window import Window

PUBLIC, PRIVATE = "public_CANARY_of_tests", "private_CANARY_of_tests_0123456789"
SESSION = '[callers.web]\nkind = "session"\nsecret_key = "CANARY-0123456789-0123456789-0123"\n'
BACKEND = f"""[callers.backend]
kind = "api_key"
keys = [{{ id = "ci", sha256 = "{"a" * 64}", subject = "ci" }},
  {{ id = "r", sha256 = "{"b" * 64}", subject = "reader", may = ["redeem"] }}]
"""
GUESTS = '[callers.guests]\nkind = "anonymous"\n'
POLICY = """[profiles.default]
callers = ["web", "backend"]
[profiles.default.force]
folder = "/{claims.org}/{subject}"
[profiles.default.allow]
fileName = true
tags = ["summer", "dress"]
description = true
customMetadata = true
isPublished = true
[profiles.default.limits]
max_bytes = 5000
[profiles.only-v2]
callers = ["backend"]
versions = ["v2"]
"""
TOO_LONG = {"fileName": "a.jpg", "description": "\U0001f600" * 4000}
GRANTED, REFUSED, USAGE = 0, 1, 2

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command with that configuration; what it says never holds a secret."""
    monkeypatch.chdir(tmp_path)
    variables = {"IMAGEKIT_PUBLIC_KEY": PUBLIC, "IMAGEKIT_PRIVATE_KEY": PRIVATE}
    monkeypatch.setattr(wiring, "environment", lambda: variables)

    def run(*arguments: str, toml: str = SESSION + BACKEND + POLICY) -> Result:
        (tmp_path / "tokensvc.toml").write_text(toml)
        result = CliRunner().invoke(main, list(arguments))
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        for secret in (PRIVATE, "CANARY-0"):
            assert secret not in result.output
        return result

    return run


# issue: what would be granted


def test_a_grant_is_told_rule_by_rule_with_the_claims(run: Run) -> None:
    told = run(
        *("issue", "--as", "u1", "--claims", "org=acme", "--expire", "600"),
        *("--v2", '{"fileName": "a.jpg", "tags": ["summer"], "folder": "/admin"}'),
    )
    assert (told.exit_code, told.stderr) == (GRANTED, "")
    text = re.sub(r"(iat|exp): \d{10}\n", r"\1: N\n", told.stdout)
    checks = '"file.size" <= 5000 AND "request.folder" IN ["/acme/u1", "acme/u1"]'
    assert text.splitlines() == [
        "  caller: 'u1' of web may have v2 of profile default",
        "  lifetime: 600 s, as asked; at most 1800 s",
        "  fileName: 'a.jpg' is allowed, as anything is by profile default",
        "  tags: 'summer' is allowed, as one of summer, dress is by profile default",
        "  folder: '/admin' of the client is set aside",
        "  folder: forced to '/acme/u1' by profile default",
        f"  checks: {checks}, by the limits and what is forced",
        "GRANTED: v2 of account default, good for 600 s",
        "  The JWT would bind:",
        '    fileName: "a.jpg"',
        '    tags: "summer"',
        '    folder: "/acme/u1"',
        f"    checks: {json.dumps(checks)}",
        "    iat: N",
        "    exp: N",
        "A dry run: nothing was signed, recorded or counted.",
    ]


def test_a_refusal_is_told_with_what_led_to_it_and_what_to_do(run: Run) -> None:
    told = run("issue", "--as", "u1", "--claims", "org=acme", "--v2", '{"tags": "winter"}')
    assert (told.exit_code, told.stderr) == (REFUSED, "")
    assert told.stdout.splitlines() == [
        "  caller: 'u1' of web may have v2 of profile default",
        "  lifetime: 1800 s, by profile default",
        "REFUSED with parameter.forbidden, field tags",
        "  tags: 'winter' is not one of summer, dress.",
        "  Choose tags as profile default allows it.",
        "A dry run: nothing was signed, recorded or counted.",
    ]


def test_both_as_json(run: Run) -> None:
    told = run("issue", "--json", "--as", "u1", "--claims", "org=acme", "--file-name", "a.jpg")
    body = json.loads(told.stdout)
    assert (told.exit_code, body.keys()) == (GRANTED, {"granted", "trace", "grant", "claims"})
    assert body["claims"] == {**body["grant"]["parameters"], "iat": body["claims"]["iat"], "exp": body["claims"]["exp"]}
    assert body["claims"]["exp"] - body["claims"]["iat"] == body["grant"]["lifetime"] == 1800
    assert body["grant"]["own_endpoint"] == {"max_bytes": 5000, "types": [], "forced": {"folder": "/acme/u1"}}
    told = run("issue", "--json", "--as", "../u2", "--claims", "org=acme")
    body = json.loads(told.stdout)
    assert (told.exit_code, body["granted"], body.keys()) == (REFUSED, False, {"granted", "trace", "refusal"})
    assert body["refusal"] == {
        "code": "caller.forbidden",
        "field": "folder",
        "detail": "folder is made with {subject}, and the caller's holds more than letters, digits, _ and -.",
        "remedy": "Give it a subject of those.",
    }


def test_v1_is_asked_for_when_nothing_is_said(run: Run) -> None:
    body = json.loads(run("issue", "--json", "--as", "u1", "--claims", "org=acme", "--token", "abc").stdout)
    assert (body["grant"]["version"], body["grant"]["token"], body["claims"]) == ("v1", "abc", None)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--as", " u1"], "caller.invalid"),
        (["--as", "u1", "--profile", "nothing"], "profile.unknown"),
        (["--as", "u1", "--profile", "only-v2", "--source", "web"], "caller.forbidden"),
        (["--as", "reader", "--profile", "only-v2", "--file-name", "a"], "caller.forbidden"),
        (["--as", "ci", "--profile", "only-v2"], "version.forbidden"),
        (["--as", "u1", "--claims", "org=a", "--token", "a b"], "token.invalid"),
        (["--as", "u1", "--claims", "org=a", "--expire", "soon"], "expire.invalid"),
        (["--as", "u1", "--claims", "org=a", "--expire", "1801", "--v2", "{}"], "expire.invalid"),
        (["--as", "u1", "--claims", "org=a", "--expire", "soon", "--v2", "{}"], "expire.invalid"),
        (["--as", "u1", "--claims", "org=a", "--v2", '{"filename": "a"}'], "parameter.invalid"),
    ],
)
def test_it_is_refused_as_the_service_would(run: Run, arguments: list[str], code: str) -> None:
    told = run("issue", "--json", *arguments)
    assert (told.exit_code, json.loads(told.stdout)["refusal"]["code"]) == (REFUSED, code)


def test_a_token_that_is_too_long_is_refused_too(run: Run) -> None:
    """That is known only once it is made."""
    told = run("issue", "--as", "u1", "--claims", "org=a", "--v2", json.dumps(TOO_LONG))
    assert told.exit_code == REFUSED
    assert "REFUSED with parameter.invalid, field uploadPayload\n  The parameters make a token of " in told.stdout


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "Missing option '--as'"),
        (["--as", "u1", "--source", "wbe"], "there is no source wbe"),
        (["--as", "u1", "--claims", "org"], "write NAME=VALUE"),
        (["--as", "u1", "--claims", "=x"], "write NAME=VALUE"),
        (["--as", "u1", "--claims", "a=1", "--claims", "a=2"], "each NAME once"),
        (["--as", "u1", "--v2", "{"], "it is not JSON"),
        (["--as", "u1", "--v2", "[]"], "not an object"),
        (["--as", "u1", "--v2", '{"a":1,"a":2}'], "occurs twice"),
        (["--as", "u1", "--v2", '{"fileName": "a"}', "--file-name", "b"], "fileName is in --v2 too"),
        (["--as", "u1", "--v2", "{}", "--token", "abc"], "only a v1 client"),
    ],
)
def test_what_cannot_be_asked_is_wrong_usage(run: Run, arguments: list[str], why: str) -> None:
    told = run("issue", *arguments)
    assert (told.exit_code, told.stdout) == (USAGE, "")
    assert why in " ".join(told.stderr.split())


def test_a_faulty_configuration_grants_nothing(run: Run) -> None:
    for arguments in (["issue", "--as", "u1"], ["policy", "test", "c.toml"], ["config", "check"]):
        told = run(*arguments, toml="[profiles.default]\n")
        assert (told.exit_code, told.stdout) == (USAGE, "")
        assert "2 faults in the configuration" in told.stderr


def test_what_is_told_is_what_is_minted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The claims of a dry run are those of the JWT that the account's own key would sign."""
    monkeypatch.setattr(wiring, "clock", lambda: 1_700_000_000)
    told = run("issue", "--json", "--as", "u1", "--claims", "org=a", "--v2", '{"tags": ["dress"]}')
    body = json.loads(told.stdout)
    pair = wiring.key_rings(wiring.load_settings())["default"].signing
    minted = v2.mint(pair, body["grant"]["parameters"], Window(1_700_000_000, 1_700_001_800))
    assert jwt.decode(minted, options={"verify_signature": False}) == body["claims"]


# policy test


def docs_blocks(page: str, language: str) -> list[str]:
    """The blocks of that language."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def cases(run: Run, toml: str, *options: str) -> Result:
    Path("cases.toml").write_text(toml)
    return run("policy", "test", "cases.toml", *options)


def case(more: str) -> str:
    return f'[[case]]\nname = "c"\nsubject = "u1"\nclaims = {{ org = "acme" }}\n{more}\n'


def test_the_documented_cases_come_out_as_documented(run: Run) -> None:
    (toml,) = docs_blocks("docs/policy.md", "toml")
    told = cases(run, toml)
    assert told.stdout.splitlines() == [
        "ok      a client's folder is set aside",
        "ok      nobody leaves their folder by their name",
        "ok      a year is too long",
        "3 cases, 0 failed.",
    ]
    assert told.exit_code == GRANTED


PAYLOAD = 'payload = { fileName = "a.jpg", tags = ["summer"] }\n'


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (PAYLOAD + "grant = {}", ""),
        (PAYLOAD + "grant = { lifetime = 1800 }", ""),
        (PAYLOAD + "grant = { lifetime = 1799 }", "the lifetime is 1800 s and not 1799 s"),
        (PAYLOAD + 'grant = { uses = 1, spend = "on-attempt" }', ""),
        (PAYLOAD + "grant = { uses = 2 }", "uses is 1 and not 2"),
        (PAYLOAD + 'grant = { spend = "on-success" }', "a use is spent on-attempt and not on-success"),
        (PAYLOAD + 'grant.parameters = { tags = "summer" }', ""),
        (PAYLOAD + 'grant.parameters = { tags = "dress" }', "tags is 'summer', and should be 'dress'"),
        (PAYLOAD + 'grant.parameters = { isPublished = "" }', "isPublished is not bound, and should be ''"),
        (PAYLOAD + 'grant.without = ["overwriteFile"]', ""),
        (PAYLOAD + 'grant.without = ["folder"]', "folder is '/acme/u1', and should not be bound"),
        (PAYLOAD + 'refusal = "parameter.forbidden"', "it is granted, and should be refused with parameter.forbidden"),
        ('payload = { tags = "x" }\nrefusal = "parameter.forbidden"', ""),
        ('payload = { tags = "x" }\nrefusal = "parameter.forbidden"\nfield = "tags"', ""),
        (
            'payload = { tags = "x" }\nrefusal = "parameter.forbidden"\nfield = "folder"',
            "the refusal is about tags and not about folder: tags: 'x' is not one of summer, dress.",
        ),
        (
            'payload = { tags = "x" }\nrefusal = "too_large"',
            "it is refused with parameter.forbidden and not with too_large: tags: 'x' is not one of summer, dress.",
        ),
        (
            'payload = { tags = "x" }\ngrant = {}',
            "it is refused: parameter.forbidden: tags: 'x' is not one of summer, dress.",
        ),
        ('version = "v2"\ngrant = {}', ""),
        ('token = "abc"\ngrant = { lifetime = 1800 }', ""),
        ('token = "a b"\nrefusal = "token.invalid"', ""),
        ("at = 2026-01-01T00:00:00Z\nexpire = 1767226200\ngrant = { lifetime = 600 }", ""),
        ("expire = 600\npayload = {}\ngrant = { lifetime = 600 }", ""),
        ('source = "backend"\ngrant = {}', ""),
        ('profile = "only-v2"\nsource = "web"\npayload = {}\nrefusal = "caller.forbidden"', ""),
        ('profile = "onlyv2"\nrefusal = "profile.unknown"', ""),
    ],
)
def test_a_case_holds_or_says_what_came_instead(run: Run, more: str, sentence: str) -> None:
    told = cases(run, case(more), "--json")
    body = json.loads(told.stdout)
    assert (told.exit_code, body["passed"], body["failed"]) == ((REFUSED, 0, 1) if sentence else (GRANTED, 1, 0))
    assert body["cases"][0]["objections"] == ([sentence] if sentence else [])
    assert body["cases"][0]["ok"] is not bool(sentence)


def test_a_failed_case_is_told_with_its_trace_and_the_others_all_the_same(run: Run) -> None:
    told = cases(run, case('payload = { tags = "x" }\ngrant = {}') + case("grant = {}").replace('"c"', '"d"'))
    assert told.exit_code == REFUSED
    assert told.stdout.splitlines() == [
        "FAILED  c",
        "        it is refused: parameter.forbidden: tags: 'x' is not one of summer, dress.",
        "          | caller: 'u1' of web may have v2 of profile default",
        "          | lifetime: 1800 s, by profile default",
        "ok      d",
        "2 cases, 1 failed.",
    ]


def test_every_fault_of_a_file_is_told_at_once(run: Run) -> None:
    told = cases(
        run,
        """
        [[case]]
        name = "a"
        source = "wbe"
        payload = { fileName = 2026-01-01 }
        refusal = "parameter.forbiden"
        feild = "folder"
        [[case]]
        name = "a"
        subject = "u1"
        at = 2026-01-01T00:00:00
        grant = { lifetime = "x", parameters = { foldr = "/" }, without = ["overwritefile"] }
        """,
    )
    assert (told.exit_code, told.stdout) == (USAGE, "")
    assert told.stderr.startswith("Nothing was tested: 10 faults in cases.toml.\n")
    assert set(re.findall(r"^  (case\S+): ", told.stderr, re.MULTILINE)) == {
        "case[0].source",
        "case[0].subject",
        "case[0].payload",
        "case[0].refusal",
        "case[0].feild",
        "case[1].name",
        "case[1].at",
        "case[1].grant.lifetime",
        "case[1].grant.parameters.foldr",
        "case[1].grant.without[0]",
    }
    assert "docs/configuration.md" not in told.stderr


@pytest.mark.parametrize(
    ("toml", "why"),
    [
        ("", "case: is missing"),
        ("case = []", "case: must not be empty"),
        ("x = ", "cases.toml: is not TOML: "),
        ("case = 1", "case: must be a list in [ ]"),
        ("case = [1]", "case[0]: must be a table"),
        (case(""), "case[0]: says what is expected in one of two ways"),
        (case('grant = {}\nrefusal = "caller.missing"'), "case[0]: says what is expected in one of two ways"),
        (case('grant = {}\nfield = "tags"'), "case[0]: has a field, which is that of a refusal"),
        (case('version = "v1"\npayload = {}\ngrant = {}'), "case[0]: has a payload, which a v1 ask has not"),
        (case('payload = {}\ntoken = "abc"\ngrant = {}'), "case[0]: has a token, which a v2 ask has not"),
        (case('grant.without = ["tags"]'), "case[0]: expects parameters, and a v1 credential binds none"),
        (case("payload = { fileName = nan }\ngrant = {}"), "case[0].payload: cannot be used: "),
    ],
)
def test_a_file_that_tests_nothing_for_certain_is_no_success(run: Run, toml: str, why: str) -> None:
    told = cases(run, toml)
    assert (told.exit_code, told.stdout) == (USAGE, "")
    assert f"\n  {why}" in told.stderr
    told = cases(run, toml, "--json")
    assert (told.exit_code, json.loads(told.stdout).keys()) == (USAGE, {"faults"})


def test_a_file_that_there_is_not(run: Run) -> None:
    told = run("policy", "test", "nothing.toml")
    assert (told.exit_code, told.stdout) == (USAGE, "")
    assert "nothing.toml: cannot be read: No such file" in told.stderr


# config check


def test_a_good_configuration_is_told_in_short(run: Run) -> None:
    told = run("config", "check", toml=BACKEND + '[profiles.default]\ncallers = ["backend"]\nversions = ["v1"]\n')
    assert (told.exit_code, told.stderr) == (GRANTED, "")
    assert told.stdout.splitlines() == [
        "The configuration is good.",
        "accounts",
        f"  default: {PUBLIC} signs; private key {fingerprint(Secret(PRIVATE))}",
        "callers",
        "  backend: api_key",
        "profiles",
        "  default: /auth issues v1 for at most 1800 s of account default to backend (api_key)",
    ]


def test_the_same_as_json_with_warnings(run: Run) -> None:
    told = run("config", "check", "--json")
    body = json.loads(told.stdout)
    assert (told.exit_code, body["good"]) == (GRANTED, True)
    assert body["callers"] == {"web": "session", "backend": "api_key"}
    assert body["profiles"]["only-v2"] == {
        "path": "/auth/only-v2",
        "account": "default",
        "versions": ["v2"],
        "lifetime": 1800,
        "callers": {"backend": "api_key"},
    }
    (key,) = body["accounts"]["default"]
    assert key == {
        "public_key": PUBLIC,
        "fingerprint": fingerprint(Secret(PRIVATE)),
        "signs": True,
        "accept_until": None,
    }
    assert [warning["place"] for warning in body["warnings"]] == ["profiles.default.versions"]


def test_every_fault_is_told_with_its_place_and_a_remedy(run: Run) -> None:
    toml = '[callers.web]\nkind = "sesion"\n[profiles.default]\ncallers = ["wbe"]\nlifetime = 9999\n'
    told = run("config", "check", "--json", toml=toml)
    body = json.loads(told.stdout)
    assert (told.exit_code, body["good"]) == (USAGE, False)
    assert {fault["place"] for fault in body["faults"]} == {
        "callers.web",
        "profiles.default.callers[0]",
        "profiles.default.lifetime",
    }
    assert all(fault.keys() == {"place", "what", "remedy"} for fault in body["faults"])
    told = run("config", "check", toml=toml)
    assert "3 faults in the configuration." in told.stderr
    assert "use some of: web" in told.stderr


def warned(toml: str, callers: str = SESSION + BACKEND + GUESTS) -> list[str]:
    """The places of the warnings about a configuration."""
    Path("tokensvc.toml").write_text(callers + toml)
    settings = load({"IMAGEKIT_PUBLIC_KEY": PUBLIC, "IMAGEKIT_PRIVATE_KEY": PRIVATE})
    return [caution.place.removeprefix("profiles.default.") for caution in cautions(settings)]


QUIET = '[profiles.default]\ncallers = ["web"]\nversions = ["v2"]\n[profiles.default.allow]\nfileName = true\n'


@pytest.mark.parametrize(
    ("old", "new", "places"),
    [
        ("", "", []),
        # v1 binds nothing
        ('["v2"]', '["v1", "v2"]', []),
        ('["v2"]\n[profiles.default.allow]', '["v1"]\n[profiles.default.allow]\ntags = ["a"]', ["versions"]),
        ('["v2"]\n[profiles.default.allow]', '["v2"]\n[profiles.default.allow]\ntags = ["a"]', []),
        ('["v2"]\n', '["v1"]\nforce = { folder = "/a" }\n', ["versions"]),
        ('["v2"]\n', '["v1"]\nlimits = { max_bytes = 1 }\n', ["versions"]),
        ('["v2"]\n', '["v1"]\nlimits = { types = ["image/*"] }\n', ["versions"]),
        ('["v2"]\n', '["v1"]\nlimits = { per_day = 1 }\n', []),
        # no record
        ('["v2"]\n', '["v2"]\nwhen_store_is_down = "issue-v2-untracked"\n', ["when_store_is_down"]),
        # everybody
        ('["web"]', '["web", "guests"]\npublic = true', ["limits"]),
        ('["web"]', '["guests", "web"]\npublic = true', ["callers[0]", "limits"]),
        ('["web"]', '["web", "guests", "backend"]\npublic = true', ["callers[1]", "limits"]),
        ('["web"]', '["web", "guests"]\npublic = true\nlimits = { rate = "1/day" }', []),
        ('["web"]', '["web", "guests"]\npublic = true\nlimits = { per_day = 1 }', []),
        ('["web"]', '["web", "guests"]\npublic = true\nlimits = { outstanding = 1 }', ["limits"]),
        # nearly an hour
        ('["web"]', '["web"]\nlifetime = 3540', []),
        ('["web"]', '["web"]\nlifetime = 3541', ["lifetime"]),
        # what ImageKit does not know
        ('["web"]', '["web"]\nuses = 1\nspend = "on-success"', []),
        ('["web"]', '["web"]\nuses = 2', ["uses"]),
    ],
)
@pytest.mark.usefixtures("run")
def test_a_doubtful_profile_is_warned_of(old: str, new: str, places: list[str]) -> None:
    assert old in QUIET
    assert warned(QUIET.replace(old, new, 1) if old else QUIET) == places


def test_serve_says_its_warnings_before_it_starts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokensvc.launcher.run", lambda *_arguments: 0)
    told = run("serve", toml=SESSION + '[profiles.default]\ncallers = ["web"]\nversions = ["v1"]\nlifetime = 3600\n')
    assert told.exit_code == GRANTED
    what = "is so close to an hour that ImageKit refuses the credential if its clock is behind"
    said = f"Warning: profiles.default.lifetime: {what} -> set 3540 or less"
    assert [line for line in told.stderr.splitlines() if "is in memory" not in line] == [said]


# config schema


def test_the_schema_is_printed_without_a_configuration() -> None:
    """In a process of its own: nothing else is needed for it."""
    told = tokensvc("config", "schema")
    assert (told.returncode, told.stderr) == (0, "")
    assert json.loads(told.stdout) == json.loads(json.dumps(schema()))


def test_the_schema_has_every_table_and_member_and_no_secret_of_the_environment() -> None:
    made = schema()
    assert made["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    places = {"": made, **made["$defs"]}
    for place, model in tables():
        found = places["" if model is Settings else model.__name__]["properties"]
        members = set(model.model_fields) - (set(FROM_ENVIRONMENT) if model is Settings else set())
        files = {name for name in found if name.endswith(("_file", "_files"))}
        assert set(found) - files == members, place
        assert all("description" in found[name] or "$ref" in found[name] for name in found), place
    assert "redis_url" not in json.dumps(made)
    assert '"null"' not in json.dumps(made)


GOOD = tomllib.loads(whole_page().partition("```toml\n")[2].partition("```")[0])


def test_the_documented_files_are_good_by_the_schema() -> None:
    pages = ("docs/configuration.md", "README.md")
    blocks = [block for page in pages for block in docs_blocks(page, "toml")]
    assert len(blocks) >= 2
    for block in blocks:
        assert faults(schema(), tomllib.loads(block)) == []


def with_(path: str, value: Any) -> dict[str, Any]:
    """The documented configuration with one member set, or taken out if it is None."""
    made: dict[str, Any] = json.loads(json.dumps(GOOD, default=str))
    *tables_to, name = path.split("/")
    table: Any = made
    for each in tables_to:
        table = table[int(each)] if isinstance(table, list) else table.setdefault(each, {})
    if value is None:
        del table[name]
    else:
        table[name] = value
    return made


KEY = "accounts/default/keys/0"
WEB = {"kind": "session", "secret_key": "x" * 16}


@pytest.mark.parametrize(
    ("path", "value", "good"),
    [
        ("hosts", ["a.example"], True),
        ("port", 80, False),
        ("misspelt", 1, False),
        ("redis_url", "redis://h", False),
        (f"{KEY}/public_key", None, False),
        (f"{KEY}/private_key", "both", False),
        (f"{KEY}/private_key_file", None, False),
        (f"{KEY}/public_key_file", "both", False),
        ("callers/web", WEB, True),
        ("callers/web", {**WEB, "fallback_key_files": ["a"]}, True),
        ("callers/web", {**WEB, "fallback_keys": ["a"], "fallback_key_files": ["a"]}, False),
        ("callers/web", {"kind": "session", "secret_key_file": "a"}, True),
        ("callers/web", {"kind": "session"}, False),
        ("callers/web", {"kind": "sesion"}, False),
        ("profiles/default/lifetime", 3600, True),
        ("profiles/default/lifetime", 3601, False),
        ("profiles/default/lifetime", "3600", False),
        ("profiles/default/versions", ["v3"], False),
        ("profiles/default/callers", [], False),
        ("profiles/default/allow", {"tags": True}, True),
        ("profiles/default/allow", {"tags": False}, False),
        ("profiles/default/allow", {"tags": ["a"], "folder": "/a/*", "fileName": {"max_length": 9}}, True),
        ("upload/plan/max_bytes", "25MB", True),
        ("upload/plan/max_bytes", 25, True),
        ("upload/plan/max_bytes", "25 mb", False),
        ("upload/plan/max_bytes", 0, False),
        ("profiles/default/limits", {"max_bytes": "1 kB", "rate": "60/minute", "per_day": 1}, True),
        ("profiles/default/limits", {"max_bytes": 1.5}, False),
    ],
)
def test_the_schema_tells_good_members_from_bad_ones(path: str, value: Any, good: bool) -> None:
    assert (faults(schema(), with_(path, value)) == []) is good


_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str, dt.datetime),  # editors show a time of TOML to the schema as a text
    "boolean": (bool,),
    "integer": (int,),
}
_SAYS_NOTHING = {"title", "description", "default", "format", "writeOnly", "discriminator", "$defs", "$schema"}


def faults(whole: dict[str, Any], value: Any) -> list[str]:
    """What a validator of JSON Schema has against `value`; a keyword that this small one does not know is an error."""
    return list(_faults(whole, whole, value, "$"))


def _faults(whole: dict[str, Any], part: dict[str, Any], value: Any, at: str) -> Iterator[str]:
    for word, said in part.items():
        if word not in _SAYS_NOTHING:
            yield from _faults_of_word(whole, part, (word, said), value, at)


def _faults_of_word(  # noqa: C901, PLR0912 - one branch for each keyword
    whole: dict[str, Any], part: dict[str, Any], keyword: tuple[str, Any], value: Any, at: str
) -> Iterator[str]:
    word, said = keyword
    bad = False
    match word:
        case "$ref":
            yield from _faults(whole, whole["$defs"][said.removeprefix("#/$defs/")], value, at)
        case "type":
            bad = not isinstance(value, _TYPES[said]) or (said == "integer" and isinstance(value, bool))
        case "properties":
            for name in value.keys() & said.keys() if isinstance(value, dict) else ():
                yield from _faults(whole, said[name], value[name], f"{at}.{name}")
        case "additionalProperties":
            others = set(value) - set(part.get("properties", ())) if isinstance(value, dict) else set()
            for name in others:
                if said is False:
                    yield f"{at}: {name} is not known"
                elif said is not True:
                    yield from _faults(whole, said, value[name], f"{at}.{name}")
        case "items":
            for number, each in enumerate(value if isinstance(value, list) else ()):
                yield from _faults(whole, said, each, f"{at}[{number}]")
        case "required":
            bad = isinstance(value, dict) and not set(said) <= set(value)
        case "allOf":
            for each in said:
                yield from _faults(whole, each, value, at)
        case "anyOf" | "oneOf":
            good = sum(1 for each in said if not list(_faults(whole, each, value, at)))
            bad = good == 0 or (word == "oneOf" and good > 1)
        case "not":
            bad = not list(_faults(whole, said, value, at))
        case "const" | "enum":
            bad = value not in (said if word == "enum" else [said]) or isinstance(value, bool) is not isinstance(
                said, bool
            )
        case "minimum" | "maximum":
            is_number = isinstance(value, int) and not isinstance(value, bool)
            bad = is_number and (value < said if word == "minimum" else value > said)
        case "minItems" | "minLength":
            bad = isinstance(value, list if word == "minItems" else str) and len(value) < said
        case "pattern":
            bad = isinstance(value, str) and not re.search(said, value)
        case _:
            raise AssertionError(f"{word} is not known here")
    if bad:
        yield f"{at}: {word} {said}"
