"""Configuration: what is read, and that whatever is wrong is told at once, with its place and a remedy."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.service import ROOT
from tokensvc import config, use_cases, wiring
from tokensvc.config import Bucket, ConfigurationError, Settings
from tokensvc.config.reading import VARIABLES
from tokensvc.config.reference import tables, whole_page
from tokensvc.core.metadata import MetadataField
from tokensvc.core.params import CLIENT_CHOICES
from tokensvc.core.uses import Uses

PUBLIC, PRIVATE = "public_Pq4bX1dFh2", "private_CANARYPq4bX1dFh2"
DIGEST = "0123456789abcdef" * 4
MINIMAL = f"""
[callers.backend]
kind = "api_key"
keys = [{{ id = "ci", sha256 = "{DIGEST}", subject = "ci" }}]
[profiles.default]
callers = ["backend"]
"""
ACCOUNT = f"""
[accounts.default]
active = "{PUBLIC}"
[[accounts.default.keys]]
public_key = "{PUBLIC}"
private_key = "{PRIVATE}"
"""
KEYS = {"IMAGEKIT_PUBLIC_KEY": PUBLIC, "IMAGEKIT_PRIVATE_KEY": PRIVATE}


class Folder:
    """A folder with a `tokensvc.toml`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self, toml: str, environment: dict[str, str] | None = None, *, demo: bool = False) -> Settings:
        """Read the file's text, with the account from the environment unless that is given."""
        file = self.path / "tokensvc.toml"
        file.write_text(toml)
        return config.load({"TOKENSVC_CONFIG": str(file), **(KEYS if environment is None else environment)}, demo=demo)

    def faults(self, toml: str, environment: dict[str, str] | None = None) -> dict[str, str]:
        """What is wrong: place to sentence with remedy. No place is named twice, and no key is quoted."""
        with pytest.raises(ConfigurationError) as caught:
            self.load(toml, environment)
        told = caught.value.faults
        assert len({fault.place for fault in told}) == len(told), told
        assert "CANARY" not in str(caught.value)
        assert str(caught.value) == "\n".join(map(str, told))
        return {fault.place: f"{fault.what} -> {fault.remedy}" for fault in told}

    def secret(self, text: str) -> str:
        """The path of a file with that text."""
        file = self.path / "secret"
        file.write_text(text)
        return str(file)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A folder of its own, in which the test also works."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return Folder(tmp_path)


# What is read


def test_keys_in_the_environment_and_one_caller_are_enough(folder: Folder) -> None:
    settings = folder.load(MINIMAL)
    account = settings.accounts["default"]
    assert (account.active, account.url_endpoint) == (PUBLIC, "")
    assert [key.private_key.get_secret_value() for key in account.keys] == [PRIVATE]
    profile = settings.profiles["default"]
    assert (profile.account, profile.versions, profile.lifetime, profile.unissued) == (
        "default",
        ["v1", "v2"],
        1800,
        "refuse",
    )
    assert profile.allow.keys() == CLIENT_CHOICES
    assert (settings.cors.origins, settings.cors.max_age, settings.hosts) == ([], 600, [])
    assert (settings.upload.enabled, settings.upload.url, settings.upload.store) == (True, "", None)
    plan = settings.upload.plan
    assert (plan.most_bytes, plan.most_video_bytes, plan.max_unverified_bytes) == (25_000_000, 25_000_000, None)
    assert (settings.redis_url, settings.port, settings.workers) == (None, 8000, None)
    assert settings.data_dir == Path("var").absolute()


def test_every_table_of_the_file_is_read(folder: Folder) -> None:
    (folder.path / "keys").mkdir()
    (folder.path / "keys/a").write_text("private_CANARY_first_key\n")
    settings = folder.load(
        f"""
        hosts = ["uploads.example", ".below.example", "[::1]"]
        [accounts.default]
        url_endpoint = "https://ik.imagekit.io/demo"
        active = "public_B"
        [[accounts.default.keys]]
        public_key = "public_A"
        private_key_file = "keys/a"
        accept_until = 2026-12-01T00:00:00Z
        [[accounts.default.keys]]
        public_key = "public_B"
        private_key = "private_CANARY_second_key"
        [accounts.brand]
        active = "public_C"
        keys = [{{ public_key = "public_C", private_key = "private_CANARY_third_key" }}]
        [cors]
        origins = ["https://app.example", "http://localhost:5173", "http://[::1]:8080"]
        max_age = 5
        [callers.backend]
        kind = "api_key"
        keys = [{{ id = "ci", sha256 = "{DIGEST}", subject = "ci", may = ["issue", "redeem", "operate"] }}]
        [profiles.default]
        callers = ["backend"]
        [profiles.avatars]
        account = "brand"
        callers = ["backend"]
        versions = ["v2"]
        lifetime = 60
        unissued = "cross-off"
        allow = {{ fileName = true, folder = true }}
        [upload]
        enabled = false
        url = "https://uploads.example"
        store = "file:///srv/some%20files"
        plan = {{ max_bytes = "300 MB" }}
        """,
        {},
    )
    first, second = settings.accounts["default"].keys
    assert first.private_key.get_secret_value() == "private_CANARY_first_key"
    assert first.accept_until == datetime(2026, 12, 1, tzinfo=UTC)
    assert second.accept_until is None
    assert settings.accounts["default"].url_endpoint == "https://ik.imagekit.io/demo"
    assert settings.cors.origins == ["https://app.example", "http://localhost:5173", "http://[::1]:8080"]
    assert settings.cors.max_age == 5
    source = settings.callers["backend"]
    assert isinstance(source, config.ApiKeySource)
    assert source.keys[0].may == ["issue", "redeem", "operate"]
    avatars = settings.profiles["avatars"]
    assert (avatars.account, avatars.versions, avatars.lifetime, avatars.unissued) == ("brand", ["v2"], 60, "cross-off")
    assert avatars.allow.keys() == {"fileName", "folder"}
    assert settings.hosts == ["uploads.example", ".below.example", "[::1]"]
    assert (settings.upload.enabled, settings.upload.url) == (False, "https://uploads.example")
    assert settings.upload.store == Path("/srv/some files")
    assert settings.upload.plan.max_bytes == 300_000_000


def test_nothing_is_fetched_unless_it_is_said_so(folder: Folder) -> None:
    settings = folder.load(MINIMAL)
    assert settings.profiles["default"].build("default").remote is None
    remote = settings.upload.remote
    assert (remote.enabled, remote.hosts, remote.seconds) == (False, [], 30)
    told = folder.load(f"{MINIMAL}[upload.remote]\nenabled = true\nhosts = ['.cdn.example']\nseconds = 300\n")
    assert (told.upload.remote.enabled, told.upload.remote.hosts) == (True, [".cdn.example"])
    wrong = "[upload.remote]\nenabled = 1\nhosts = ['https://a.example']\nseconds = 301\n"
    places = {f"upload.remote.{name}" for name in ("enabled", "hosts[0]", "seconds")}
    assert folder.faults(MINIMAL + wrong).keys() == places


@pytest.mark.parametrize(
    "rule", ["true", '"https://a.example/{subject}/**"', '["https://a.example/{date}"]', '{ regex = "https:.*" }']
)
def test_a_profile_says_from_which_urls_files_are_fetched(folder: Folder, rule: str) -> None:
    """It is no parameter that a credential could bind, so it is none of those that a client may choose."""
    profile = folder.load(f"{MINIMAL}allow = {{ fileName = true, file = {rule} }}\n").profiles["default"]
    assert profile.build("default").remote is not None
    assert profile.build("default").allow.keys() == {"fileName"}


def test_no_repr_shows_a_key(folder: Folder) -> None:
    settings = folder.load(MINIMAL, {**KEYS, "REDIS_URL": "redis://u:CANARY@127.0.0.1"})
    assert "CANARY" not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"


def test_files_are_kept_where_the_store_says(folder: Folder) -> None:
    target = folder.path / "elsewhere"
    wiring.file_store(folder.load(MINIMAL + f'[upload]\nstore = "file://{target}"\n'))
    assert (target / "incoming").is_dir()


@pytest.mark.parametrize("name", ["IMAGEKIT_PUBLIC_KEY", "IMAGEKIT_PRIVATE_KEY", "IMAGEKIT_URL_ENDPOINT", "REDIS_URL"])
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_variable_may_come_from_a_file(folder: Folder, name: str, end: str) -> None:
    values = {**KEYS, "IMAGEKIT_URL_ENDPOINT": "https://ik.imagekit.io/x", "REDIS_URL": "redis://127.0.0.1"}
    direct = folder.load(MINIMAL, values)
    from_file = {f"{name}_FILE": folder.secret(values.pop(name) + end)}
    assert folder.load(MINIMAL, {**values, **from_file}) == direct


def test_a_path_in_the_environment_is_relative_to_where_we_are(folder: Folder) -> None:
    Path("here").write_text(PRIVATE)
    assert folder.load(MINIMAL, {"IMAGEKIT_PUBLIC_KEY": PUBLIC, "IMAGEKIT_PRIVATE_KEY_FILE": "here"}).accounts


def test_a_path_in_the_file_is_relative_to_the_file(folder: Folder) -> None:
    folder.secret(PRIVATE)
    toml = ACCOUNT.replace(f'private_key = "{PRIVATE}"', 'private_key_file = "secret"')
    assert folder.load(MINIMAL + toml, {}).accounts["default"].keys[0].private_key.get_secret_value() == PRIVATE


@pytest.mark.usefixtures("folder")
def test_the_file_of_the_working_directory_is_read_when_none_is_named() -> None:
    Path("tokensvc.toml").write_text(MINIMAL)
    assert config.load(KEYS).callers


# What is wrong is told


def test_nothing_configured_lists_what_is_needed() -> None:
    with pytest.raises(ConfigurationError) as caught:
        config.load({"TOKENSVC_CONFIG": ""})
    assert [fault.place for fault in caught.value.faults] == ["accounts", "callers", "profiles"]
    assert all(fault.remedy for fault in caught.value.faults)


def test_eight_faults_are_told_at_once(folder: Folder) -> None:
    toml = f"""
    colour = "red"
    hosts = ["https://uploads.example"]
    [accounts.default]
    active = "{PUBLIC}"
    keys = [{{ public_key = "{PUBLIC}", private_key = "public_CANARYPq4bX1dFh2" }}]
    [cors]
    origins = ["*"]
    [callers.backend]
    kind = "api_key"
    keys = [{{ id = "ci", sha256 = "abc", subject = "ci" }}]
    [profiles.default]
    callers = ["backend", "nobody"]
    lifetime = 3601
    [upload.plan]
    max_bytes = "25 mb"
    """
    assert folder.faults(toml, {}).keys() == {
        "colour",
        "hosts[0]",
        "accounts.default.keys[0].private_key",
        "cors.origins[0]",
        "callers.backend.keys[0].sha256",
        "profiles.default.callers[1]",
        "profiles.default.lifetime",
        "upload.plan.max_bytes",
    }


@pytest.mark.parametrize(
    ("toml", "place"),
    [
        ("colour = 1", "colour"),
        ("[accounts.brand]\nactive = 'public_C'\nkeys = []\ncolour = 1", "accounts.brand.colour"),
        ("[cors]\norigin = ['https://app.example']", "cors.origin"),
        ("[profiles.b]\ncallers = ['backend']\nlife_time = 60", "profiles.b.life_time"),
        ("[callers.b]\nkind = 'api_key'\nkey = []", "callers.b.key"),
        ("[upload]\nstorage = 'x'", "upload.storage"),
        ("[upload]\nstore_file = 'x'", "upload.store_file"),
        ("[upload.plan]\nmax = 1", "upload.plan.max"),
        ("redis_url = 'redis://127.0.0.1'", "redis_url"),
        ("data_dir = '/srv'", "data_dir"),
        ("port = 80", "port"),
        ("workers = 2", "workers"),
    ],
)
def test_an_unknown_member_is_a_fault(folder: Folder, toml: str, place: str) -> None:
    """So is one that only the environment may say."""
    top = toml if "[" not in toml else ""
    told = folder.faults(f"{top}\n{MINIMAL}\n{toml if not top else ''}")[place]
    assert "is not a setting" in told or "by the environment only" in told


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("public_CANARYPq4bX1dFh2", "swapped"),
        ("", "empty"),
        ("private_CANARY with blanks", "blanks"),
        ("private_CANARYPq4bX1dFh2\n\n", "blanks or a line break"),
        ("'private_CANARYPq4bX1dFh2'", "quotes"),
        ("private_CANARY_", "shorter than 16"),
        ("private_your_CANARY_key", "placeholder"),
        ("-----BEGIN CANARY KEY-----", "PEM"),
        ('{"kty": "CANARY-oct-key"}', "JWK"),
        ("CANARYPq4bX1dFh2CANARY", "start with private_"),
    ],
)
@pytest.mark.parametrize("source", ["file", "environment", "environment's file"])
def test_a_wrong_private_key_is_told_without_it(folder: Folder, key: str, why: str, source: str) -> None:
    if source == "file":
        path = folder.secret(key)
        toml = ACCOUNT.replace(f'private_key = "{PRIVATE}"', f'private_key_file = "{path}"')
        place, told = "accounts.default.keys[0].private_key_file", folder.faults(MINIMAL + toml, {})
    elif source == "environment":
        place = "IMAGEKIT_PRIVATE_KEY"
        told = folder.faults(MINIMAL, {**KEYS, place: key})
        why = "is missing" if key == "" else why
    else:
        place = "IMAGEKIT_PRIVATE_KEY_FILE"
        told = folder.faults(MINIMAL, {"IMAGEKIT_PUBLIC_KEY": PUBLIC, place: folder.secret(key)})
        why = "is missing" if key == "" else why
    assert told.keys() <= {place, "IMAGEKIT_PRIVATE_KEY"}
    assert why in next(iter(told.values()))


def test_a_private_key_in_the_public_one_s_place_is_not_quoted(folder: Folder) -> None:
    twice = f'[[accounts.default.keys]]\npublic_key = "{PRIVATE}"\nprivate_key = "{PUBLIC}"\n'
    told = folder.faults(f'{MINIMAL}[accounts.default]\nactive = "{PRIVATE}"\n{twice}{twice}', {})
    assert "swapped" in told["accounts.default.keys[1].public_key"]


@pytest.mark.parametrize("name", ["IMAGEKIT_PUBLIC_KEY", "IMAGEKIT_PRIVATE_KEY", "IMAGEKIT_URL_ENDPOINT", "REDIS_URL"])
def test_a_variable_and_its_file_are_one_too_many(folder: Folder, name: str) -> None:
    values = {**KEYS, "IMAGEKIT_URL_ENDPOINT": "https://ik.imagekit.io/x", "REDIS_URL": "redis://127.0.0.1"}
    told = folder.faults(MINIMAL, {**values, f"{name}_FILE": folder.secret(values[name])})
    assert told == {name: f"{name}_FILE is set too -> use one of the two"}


@pytest.mark.parametrize("name", ["IMAGEKIT_PUBLIC_KEY", "IMAGEKIT_PRIVATE_KEY", "IMAGEKIT_URL_ENDPOINT", "REDIS_URL"])
def test_a_file_that_cannot_be_read_is_one_fault(folder: Folder, name: str) -> None:
    values = {key: value for key, value in KEYS.items() if key != name}
    told = folder.faults(MINIMAL, {**values, f"{name}_FILE": "/nowhere/at-all"})
    assert told.keys() == {f"{name}_FILE"}
    assert "No such file" in told[f"{name}_FILE"]


@pytest.mark.parametrize(
    ("path", "why"),
    [("'/nowhere'", "No such file"), ("'.'", "Is a directory"), ("7", "path in quotes"), ("'a\\u0000'", "")],
)
def test_a_secret_file_of_the_toml_that_cannot_be_read_is_one_fault(folder: Folder, path: str, why: str) -> None:
    toml = ACCOUNT.replace(f'private_key = "{PRIVATE}"', f"private_key_file = {path}".replace("'", '"'))
    told = folder.faults(MINIMAL + toml, {})
    assert told.keys() == {"accounts.default.keys[0].private_key_file"}
    assert why in next(iter(told.values()))


def test_a_key_and_its_file_in_one_table_are_one_too_many(folder: Folder) -> None:
    told = folder.faults(f'{MINIMAL}{ACCOUNT}private_key_file = "{folder.secret(PRIVATE)}"', {})
    assert told == {"accounts.default.keys[0].private_key_file": "private_key is set too -> use one of the two"}


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        (KEYS, "IMAGEKIT_PUBLIC_KEY"),
        ({"IMAGEKIT_PRIVATE_KEY": PRIVATE}, "IMAGEKIT_PRIVATE_KEY"),
        ({"IMAGEKIT_URL_ENDPOINT": "https://ik.imagekit.io/x"}, "IMAGEKIT_URL_ENDPOINT"),
    ],
)
def test_the_default_account_is_given_once(folder: Folder, environment: dict[str, str], place: str) -> None:
    told = folder.faults(MINIMAL + ACCOUNT, environment)
    assert told == {place: "[accounts.default] is configured too -> use one of the two"}


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ("IMAGEKIT_PUBLIC_KEY", {"IMAGEKIT_PRIVATE_KEY"}),
        ("IMAGEKIT_PRIVATE_KEY", {"IMAGEKIT_PUBLIC_KEY"}),
        ("IMAGEKIT_URL_ENDPOINT", {"IMAGEKIT_PUBLIC_KEY", "IMAGEKIT_PRIVATE_KEY"}),
    ],
)
def test_half_an_account_is_told_by_what_is_missing(folder: Folder, given: str, missing: set[str]) -> None:
    values = {**KEYS, "IMAGEKIT_URL_ENDPOINT": "https://ik.imagekit.io/x"}
    assert folder.faults(MINIMAL, {given: values[given]}).keys() == missing


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("IMAGEKIT_PUBLIC_KEY", PRIVATE, "swapped"),
        ("IMAGEKIT_PUBLIC_KEY", "pk_1", "public_ followed by"),
        ("IMAGEKIT_URL_ENDPOINT", "ik.imagekit.io/x", "must start with https://"),
        ("PORT", "http", "whole number"),
        ("PORT", "-1", "whole number"),
        ("PORT", "0", "at least 1"),
        ("PORT", "65536", "at most 65535"),
        ("PORT", "８０", "whole number"),
        ("WEB_CONCURRENCY", "0", "at least 1"),
        ("WEB_CONCURRENCY", "65", "at most 64"),
        ("WEB_CONCURRENCY", "auto", "whole number"),
    ],
)
def test_a_wrong_variable_is_told_by_its_name(folder: Folder, name: str, value: str, why: str) -> None:
    told = folder.faults(MINIMAL, {**KEYS, name: value})
    assert told.keys() == {name}
    assert why in told[name]


@pytest.mark.parametrize(("name", "value", "member"), [("PORT", "1", "port"), ("PORT", "65535", "port")])
def test_a_port_at_its_limit_is_read(folder: Folder, name: str, value: str, member: str) -> None:
    assert getattr(folder.load(MINIMAL, {**KEYS, name: value}), member) == int(value)


def test_a_number_of_workers_is_read(folder: Folder) -> None:
    assert [folder.load(MINIMAL, {**KEYS, "WEB_CONCURRENCY": text}).workers for text in ("", "1", "64")] == [
        None,
        1,
        64,
    ]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (
            "unix+cluster://u:CANARY@h:6379",
            "redis+sentinel://, rediss+sentinel://, redis+cluster://, rediss+cluster://",
        ),
        ("memcached://u:CANARY@h", "must start with redis://"),
        ("CANARY@127.0.0.1:6379", "must start with redis://"),
        ("CANARY", "must start with redis://"),
    ],
)
@pytest.mark.parametrize("name", ["REDIS_URL", "REDIS_URL_FILE"])
def test_a_store_that_we_cannot_talk_to_is_told_without_its_password(
    folder: Folder, url: str, why: str, name: str
) -> None:
    value = url if name == "REDIS_URL" else folder.secret(url)
    told = folder.faults(MINIMAL, {**KEYS, name: value})
    assert told.keys() == {name}
    assert why in told[name]


@pytest.mark.parametrize(
    "url",
    [
        "redis://u:pw@h:6379/0",
        "rediss://u:pw@h:6379/0?ssl_ca_certs=/ca.pem&ssl_certfile=/us.pem&ssl_keyfile=/us.key",
        "unix://u:pw@/run/s.sock?db=0",
        "redis+sentinel://u:pw@h1:26379,h2,[::1]:26380/main?db=0&sentinel_password=pw",
        "rediss+sentinel://h1,h2/main?ssl_ca_certs=/ca.pem",
        "redis+cluster://u:pw@h1:6379,h2",
        "rediss+cluster://h1/?ssl_ca_certs=/ca.pem",
    ],
)
def test_a_store_is_named_in_every_form(folder: Folder, url: str) -> None:
    folder.load(MINIMAL)
    settings = wiring.load_settings({**KEYS, "REDIS_URL": url, "TOKENSVC_CONFIG": str(folder.path / "tokensvc.toml")})
    assert wiring.store_url(settings) == url
    use_cases.nonce_store(settings)  # it connects to nothing yet
    use_cases.throttle(settings)


@pytest.mark.parametrize(
    "url",
    [
        "redis://u:CANARY/x@h:6379",
        "redis://u:CANARY@h:port",
        "unix://relative",
        "redis://",
        "redis+sentinel://u:CANARY@h:26379",
        "redis+cluster://u:CANARY@h:6379/1",
    ],
)
def test_a_malformed_address_of_a_store_is_told_too(folder: Folder, url: str) -> None:
    folder.load(MINIMAL)
    with pytest.raises(ConfigurationError) as caught:
        wiring.load_settings({**KEYS, "REDIS_URL": url, "TOKENSVC_CONFIG": str(folder.path / "tokensvc.toml")})
    assert [fault.place for fault in caught.value.faults] == ["REDIS_URL"]
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize(
    ("toml", "why"),
    [
        ("a = ", "not TOML"),
        ("a = 1\na = 2", "not TOML"),
        ("private_key = private_CANARY", "not TOML"),
        ("\udcff", "UTF-8"),
    ],
)
def test_a_file_that_is_not_toml_is_one_fault(folder: Folder, toml: str, why: str) -> None:
    """What it lacks is not told: nobody knows."""
    file = folder.path / "tokensvc.toml"
    file.write_bytes(toml.encode(errors="surrogateescape"))
    with pytest.raises(ConfigurationError) as caught:
        config.load({"TOKENSVC_CONFIG": str(file)})
    (fault,) = caught.value.faults
    assert fault.place == str(file)
    assert why in fault.what or why == "UTF-8"
    assert "CANARY" not in str(fault)


@pytest.mark.parametrize(("path", "why"), [("/nowhere/x.toml", "No such file"), ("/tmp", "Is a directory")])
def test_a_file_that_is_named_must_be_there(path: str, why: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        config.load({"TOKENSVC_CONFIG": path})
    assert [fault.place for fault in caught.value.faults] == [path]
    assert why in caught.value.faults[0].what


@pytest.mark.parametrize(
    ("size", "number"),
    [
        ("1", 1),
        ("25_000_000", 25000000),
        ('"25MB"', 25000000),
        ('"25 MB"', 25000000),
        ('"1B"', 1),
        ('"7kB"', 7000),
        ('"7KB"', 7000),
        ('"2GB"', 2000000000),
    ],
)
def test_sizes_are_decimal(folder: Folder, size: str, number: int) -> None:
    assert folder.load(f"{MINIMAL}[upload.plan]\nmax_bytes = {size}\n").upload.plan.max_bytes == number


@pytest.mark.parametrize(
    "size",
    [
        "0",
        "-1",
        "2.5e7",
        "true",
        "[]",
        '""',
        '"0MB"',
        '"25mb"',
        '"25MiB"',
        '"25  MB"',
        '"2.5MB"',
        '"-1MB"',
        '"25"',
        '" 25MB"',
        '"２５MB"',
        '"99999999999999999MB"',
    ],
)
def test_a_wrong_size_is_a_fault(folder: Folder, size: str) -> None:
    told = folder.faults(f"{MINIMAL}[upload.plan]\nmax_bytes = {size}\n")
    assert told.keys() == {"upload.plan.max_bytes"}
    assert '"25MB"' in told["upload.plan.max_bytes"]


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "null",
        "https://App.example",
        "https://app.example/",
        "https://app.example/a",
        "app.example",
        "ftp://a.example",
        "https://*.example",
        "https://a.example:",
        "https://a.example:0",
        "https://a.example:65536",
        "https://a b",
        "https://a.example:443",
        "http://a.example:80",
        "https://u@a.example",
        "https://a.example?x",
        "https://",
        " ",
    ],
)
def test_a_wrong_origin_is_a_fault(folder: Folder, origin: str) -> None:
    """A browser sends neither a path nor a default port: such an entry would silently never match."""
    assert folder.faults(f"{MINIMAL}[cors]\norigins = ['{origin}']\n").keys() == {"cors.origins[0]"}


@pytest.mark.parametrize("origin", ["https://a.example:8443", "http://a.example:443", "https://xn--bcher-kva.example"])
def test_an_exact_origin_is_taken(folder: Folder, origin: str) -> None:
    assert folder.load(f"{MINIMAL}[cors]\norigins = ['{origin}']\n").cors.origins == [origin]


@pytest.mark.parametrize("host", ["https://a.example", "a.example:80", "a.example/x", "*", "*.example", "a b", "", "."])
def test_a_wrong_host_name_is_a_fault(folder: Folder, host: str) -> None:
    assert folder.faults(f"hosts = ['{host}']\n{MINIMAL}").keys() == {"hosts[0]"}


@pytest.mark.parametrize(
    ("store", "name", "prefix"),
    [
        ("s3://uploads", "uploads", ""),
        ("s3://uploads/", "uploads", ""),
        ("s3://my.up-loads3/a/b_c/", "my.up-loads3", "a/b_c"),
        ("s3://abc/(it's!)*", "abc", "(it's!)*"),
    ],
)
def test_files_are_kept_in_a_bucket_that_is_named(folder: Folder, store: str, name: str, prefix: str) -> None:
    assert folder.load(f'{MINIMAL}[upload]\nstore = "{store}"\n').upload.store == Bucket(name, prefix)


@pytest.mark.parametrize(
    ("plan", "of_any", "of_video"),
    [
        ("name = 'free'", 25_000_000, 100_000_000),
        ("name = 'paid-2023'", 25_000_000, 300_000_000),
        ("name = 'pro'\nmax_bytes = '1MB'", 1_000_000, 2_000_000_000),
        ("name = 'pro'\nmax_video_bytes = '60MB'", 50_000_000, 60_000_000),
        ("name = '2022'\nmax_bytes = '90MB'", 90_000_000, 90_000_000),
        ("max_bytes = '90MB'", 90_000_000, 90_000_000),
        ("max_video_bytes = '25MB'", 25_000_000, 25_000_000),
    ],
)
def test_a_plan_is_named_and_changed(folder: Folder, plan: str, of_any: int, of_video: int) -> None:
    found = folder.load(f"{MINIMAL}[upload.plan]\n{plan}\n").upload.plan
    assert (found.most_bytes, found.most_video_bytes) == (of_any, of_video)


def test_what_comes_unverified_may_be_less(folder: Folder) -> None:
    plan = folder.load(f"{MINIMAL}[upload.plan]\nmax_unverified_bytes = '1MB'\n").upload.plan
    assert plan.max_unverified_bytes == 1_000_000


@pytest.mark.parametrize(
    ("plan", "place"),
    [
        ("name = 'gold'", "upload.plan.name"),
        ("name = ''", "upload.plan.name"),
        ("max_video_bytes = 24_999_999", "upload.plan"),
        ("name = 'free'\nmax_bytes = '90MB'\nmax_video_bytes = '80MB'", "upload.plan"),
    ],
)
def test_a_plan_that_is_none_is_a_fault(folder: Folder, plan: str, place: str) -> None:
    assert folder.faults(f"{MINIMAL}[upload.plan]\n{plan}\n").keys() == {place}


@pytest.mark.parametrize(
    "store",
    [
        *("/srv/files", "file://srv/files", "file:srv", "file://", "ftp:///srv", "7", "file:///a?b"),
        *("s3://", "s3:///a", "s3://ab", "s3://Uploads", "s3://-uploads", "s3://uploads/a//b", "s3://uploads/../b"),
        *("s3://uploads/./b", "s3://uploads/..", "s3://uploads/a b", "s3://uploads?a", "s3://key:secret@uploads/a"),
        *("s3://uploads//", "s3:uploads", "S3://uploads"),
    ],
)
def test_a_wrong_place_for_files_is_a_fault(folder: Folder, store: str) -> None:
    assert folder.faults(f"{MINIMAL}[upload]\nstore = '{store}'\n").keys() == {"upload.store"}


@pytest.mark.parametrize(("lifetime", "taken"), [("0", False), ("1", True), ("3600", True), ("3601", False)])
def test_the_lifetime_has_two_limits(folder: Folder, lifetime: str, taken: bool) -> None:
    toml = f"{MINIMAL}lifetime = {lifetime}\n"
    if taken:
        assert folder.load(toml).profiles["default"].lifetime == int(lifetime)
    else:
        assert folder.faults(toml).keys() == {"profiles.default.lifetime"}


@pytest.mark.parametrize("value", ["true", '"60"', "60.0"])
def test_types_are_strict(folder: Folder, value: str) -> None:
    """`true` would come to one second."""
    assert folder.faults(f"{MINIMAL}lifetime = {value}\n").keys() == {"profiles.default.lifetime"}


@pytest.mark.parametrize("name", ["batch", "limits", "Avatars", "a.b", "a b", "-a", "a" * 65, "ä"])
def test_a_profile_s_name_must_do_in_a_path(folder: Folder, name: str) -> None:
    told = folder.faults(f'{MINIMAL}[profiles."{name}"]\ncallers = ["backend"]\n')
    assert told.keys() == {f"profiles.{name}"}


@pytest.mark.parametrize("name", ["a", "0", "a-b_c", "a" * 64, "default2"])
def test_other_names_of_profiles_are_taken(folder: Folder, name: str) -> None:
    assert name in folder.load(f'{MINIMAL}[profiles."{name}"]\ncallers = ["backend"]\n').profiles


@pytest.mark.parametrize("kind", ["accounts", "callers"])
def test_a_table_s_name_is_a_plain_word(folder: Folder, kind: str) -> None:
    toml = {
        "accounts": '[accounts."a b"]\nactive = "public_C"\n'
        'keys = [{ public_key = "public_C", private_key = "private_CANARY_third_key" }]\n',
        "callers": '[callers."a b"]\nkind = "api_key"\nkeys = [{ id = "x", sha256 = "'
        + "f" * 64
        + '", subject = "x" }]\n',
    }[kind]
    assert folder.faults(MINIMAL + toml).keys() == {f"{kind}.a b"}


@pytest.mark.parametrize(
    ("line", "place", "why"),
    [
        ('account = "brand"', "profiles.b.account", "use one of: default"),
        ('callers = ["backend", "web"]', "profiles.b.callers[1]", "use some of: backend"),
        ("allow = { filename = true }", "profiles.b.allow.filename", "use some of: fileName"),
        ("allow = { fileName = false }", "profiles.b.allow.fileName", "leave the parameter out"),
        ("allow = { fileName = 1 }", "profiles.b.allow.fileName", "write true"),
        ("allow = { file = false }", "profiles.b.allow.file", "leave the parameter out"),
        ('allow = { file = "http://a.example/**" }', "profiles.b", "begin it with https://"),
        ('allow = { file = ["a.example"] }', "profiles.b", "begin it with https://"),
        ('allow = { file = "https://a.example/{claims.org}/*" }', "profiles.b", "is not known when a file is fetched"),
        ('allow = { file = ["https://a.example/{claims.org}"] }', "profiles.b", "is not known when a file is fetched"),
        ('force = { file = "https://a.example/" }', "profiles.b.force.file", "is no upload parameter"),
        ('defaults = { file = "https://a.example/" }', "profiles.b.defaults.file", "is no upload parameter"),
        ("callers = []", "profiles.b.callers", "not be empty"),
        ("public = 1", "profiles.b.public", "true or false"),
        ("versions = []", "profiles.b.versions", "not be empty"),
        ('versions = ["v3"]', "profiles.b.versions[0]", "must be 'v1' or 'v2'"),
        ('unissued = "accept"', "profiles.b.unissued", "cross-off"),
        ('account = ["default"]', "profiles.b.account", "text in quotes"),
        ('callers = [["backend"]]', "profiles.b.callers[0]", "text in quotes"),
        ('callers = "backend"', "profiles.b.callers", "list"),
        ("allow = true", "profiles.b.allow", "table"),
    ],
)
def test_a_profile_refers_to_what_there_is(folder: Folder, line: str, place: str, why: str) -> None:
    callers = "" if line.startswith("callers") else 'callers = ["backend"]\n'
    told = folder.faults(f"{MINIMAL}[profiles.b]\n{callers}{line}\n")
    assert told.keys() == {place}
    assert why in told[place]


@pytest.mark.parametrize(
    ("lines", "place", "why"),
    [
        ('versions = ["v1"]', "profiles.b", "is about v2, which the profile does not issue"),
        ('limits = { rate = "1/minute" }', "profiles.b", "does not count: rate is set"),
        ("limits = { per_day = 1 }", "profiles.b", "does not count: per_day is set"),
        ("limits = { outstanding = 1 }", "profiles.b", "does not count: outstanding is set"),
        ('public = true\ncallers = ["backend", "guests"]', "profiles.b.when_store_is_down", "without number"),
    ],
)
def test_what_goes_out_while_the_store_is_down_is_neither_counted_nor_for_everybody(
    folder: Folder, lines: str, place: str, why: str
) -> None:
    callers = "" if "callers" in lines else 'callers = ["backend"]\n'
    head = f'{MINIMAL}[callers.guests]\nkind = "anonymous"\n[profiles.b]\n{callers}'
    assert folder.load(f"{head}{lines}\n")
    told = folder.faults(f'{head}{lines}\nwhen_store_is_down = "issue-v2-untracked"\n')
    assert told.keys() == {place}
    assert why in told[place]


def test_the_active_key_is_one_of_the_account(folder: Folder) -> None:
    told = folder.faults(MINIMAL + ACCOUNT.replace(f'active = "{PUBLIC}"', 'active = "public_other"'), {})
    assert told.keys() == {"accounts.default.active"}


def test_the_active_key_does_not_run_out(folder: Folder) -> None:
    """What it signs would be refused from that moment on."""
    told = folder.faults(MINIMAL + ACCOUNT + "accept_until = 2099-01-01T00:00:00Z\n", {})
    assert told.keys() == {"accounts.default.keys[0].accept_until"}


@pytest.mark.parametrize("time", ["2026-12-01T00:00:00", "2026-12-01", '"soon"'])
def test_the_end_of_a_grace_names_its_time_zone(folder: Folder, time: str) -> None:
    more = f'[[accounts.default.keys]]\npublic_key = "public_A"\nprivate_key = "{PRIVATE}"\naccept_until = {time}\n'
    assert folder.faults(MINIMAL + ACCOUNT + more, {}).keys() == {"accounts.default.keys[1].accept_until"}


def test_a_public_key_is_listed_once(folder: Folder) -> None:
    more = f'[accounts.b]\nactive = "{PUBLIC}"\nkeys = [{{ public_key = "{PUBLIC}", private_key = "{PRIVATE}" }}]\n'
    assert folder.faults(MINIMAL + ACCOUNT + more, {}).keys() == {"accounts.b.keys[0].public_key"}


def test_an_api_key_has_one_holder(folder: Folder) -> None:
    """The second would silently take the first one's place."""
    more = f'[callers.other]\nkind = "api_key"\nkeys = [{{ id = "b", sha256 = "{DIGEST}", subject = "b" }}]\n'
    assert folder.faults(MINIMAL + more).keys() == {"callers.other.keys[0].sha256"}


@pytest.mark.parametrize(
    ("key", "place"),
    [
        (f'{{ id = "a b", sha256 = "{"f" * 64}", subject = "x" }}', "id"),
        ('{ id = "a", sha256 = "' + "F" * 64 + '", subject = "x" }', "sha256"),
        ('{ id = "a", sha256 = "tsk_CANARY", subject = "x" }', "sha256"),
        (f'{{ id = "a", sha256 = "{"f" * 64}", subject = "" }}', "subject"),
        (f'{{ id = "a", sha256 = "{"f" * 64}" }}', "subject"),
        (f'{{ id = "a", sha256 = "{"f" * 64}", subject = "x", may = ["all"] }}', "may[0]"),
    ],
)
def test_a_wrong_api_key_is_told_by_its_place(folder: Folder, key: str, place: str) -> None:
    told = folder.faults(f'{MINIMAL}[callers.b]\nkind = "api_key"\nkeys = [{key}]\n')
    assert told.keys() == {f"callers.b.keys[0].{place}"}


@pytest.mark.parametrize(
    ("toml", "place", "why"),
    [
        ('kind = "magic"', "callers.b", 'use kind = "api_key"'),
        ("keys = []", "callers.b", 'add kind = "api_key"'),
        ('kind = "api_key"', "callers.b.keys", "is missing"),
        ('kind = "demo"\nsecret_key = "CANARY"', "callers.b.kind", "`tokensvc dev` only"),
    ],
)
def test_a_caller_source_has_a_kind(folder: Folder, toml: str, place: str, why: str) -> None:
    assert why in folder.faults(f"{MINIMAL}[callers.b]\n{toml}\n")[place]


def test_the_demo_sign_in_is_for_the_development_server(folder: Folder) -> None:
    """Behind a proxy on the same machine everybody comes from loopback."""
    toml = MINIMAL + f'[callers.demo]\nkind = "demo"\nsecret_key = "{"CANARY" * 6}"\n'
    assert folder.faults(toml).keys() == {"callers.demo.kind"}
    assert isinstance(folder.load(toml, demo=True).callers["demo"], config.DemoSource)


@pytest.mark.parametrize("uses", [1, 100])
@pytest.mark.parametrize("spend", ["on-attempt", "on-success"])
def test_a_profile_says_how_often_and_what_spends_a_use(folder: Folder, uses: int, spend: str) -> None:
    profile = f"[profiles.b]\ncallers = ['backend']\nuses = {uses}\nspend = '{spend}'\n"
    settings = folder.load(MINIMAL + profile)
    assert settings.profiles["b"].build("b").uses == Uses(uses, spend)  # type: ignore[arg-type] # one of its literals
    assert settings.profiles["default"].build("default").uses == Uses(1, "on-attempt")


@pytest.mark.parametrize("member", ["uses = 0", "uses = 101", "uses = true", 'uses = "3"', 'spend = "never"'])
def test_uses_and_spend_are_of_what_there_is(folder: Folder, member: str) -> None:
    told = folder.faults(f"{MINIMAL}[profiles.b]\ncallers = ['backend']\n{member}\n")
    assert told.keys() == {f"profiles.b.{member.partition(' ')[0]}"}


@pytest.mark.parametrize(("lease", "good"), [(0, False), (1, True), (600, True), (601, False)])
def test_a_lease_is_a_second_to_ten_minutes(folder: Folder, lease: int, good: bool) -> None:
    toml = f"{MINIMAL}[upload]\nlease = {lease}\n"
    if good:
        assert folder.load(toml).upload.lease == lease
    else:
        assert folder.faults(toml).keys() == {"upload.lease"}


@pytest.mark.parametrize(
    "toml",
    [
        "accounts = 1",
        "callers = 'x'",
        "profiles = []",
        "cors = 1",
        "upload = 's3'",
        "hosts = 'a'",
        "accounts = { default = 1 }",
        "callers = { b = 'x' }",
        "profiles = { default = [] }",
        "upload = { plan = 1 }",
        "accounts = { default = { active = [], keys = 'x' } }",
        "accounts = { default = { keys = [1, []] } }",
        "callers = { b = { kind = [], keys = [[]] } }",
        "callers = { b = { kind = {} } }",
        "profiles = { b = { allow = [], callers = {}, account = {} } }",
        "accounts = { b = { keys = [{ public_key = [] }] } }",
    ],
)
@pytest.mark.parametrize("environment", [{}, KEYS])
def test_a_table_of_a_wrong_shape_is_a_fault_and_no_crash(
    folder: Folder, toml: str, environment: dict[str, str]
) -> None:
    with pytest.raises(ConfigurationError):
        folder.load(toml, environment)


# What would start, and be an opening

LONG = "CANARYq8Jr2vTn5wXz7LkPb3MfYc4Hs9"
OTHER = "CANARYw3Ne6uGd1oRi8VtKa5ZxQj2Bl7"
GUESTS = '[callers.guests]\nkind = "anonymous"\n'


def source(kind: str, key: str, name: str = "b", more: str = "") -> str:
    """A caller source with a secret."""
    if kind == "bearer":
        more += 'issuer = "https://id.example"\naudience = "uploads"\nalgorithms = ["HS256"]\n'
    return f"[callers.{name}]\nkind = \"{kind}\"\nsecret_key = '{key}'\n{more}"


SECRET_KINDS = pytest.mark.parametrize("kind", ["session", "bearer", "ticket"])


@SECRET_KINDS
def test_secrets_of_their_own_are_taken(folder: Folder, kind: str) -> None:
    settings = folder.load(MINIMAL + source(kind, LONG) + source("ticket", OTHER, "c"))
    assert settings.callers.keys() == {"backend", "b", "c"}


@SECRET_KINDS
@pytest.mark.parametrize("place", ["accounts.default.keys[0].private_key", "IMAGEKIT_PRIVATE_KEY"])
def test_a_caller_s_secret_is_not_the_private_key(folder: Folder, kind: str, place: str) -> None:
    """Who knows it could make credentials out of nothing."""
    private = f"private_{LONG}"
    environment = {**KEYS, "IMAGEKIT_PRIVATE_KEY": private} if place.isupper() else {}
    account = "" if environment else ACCOUNT.replace(PRIVATE, private)
    told = folder.faults(MINIMAL + account + source(kind, private), environment)
    assert told.keys() == {"callers.b.secret_key"}
    assert f"the same secret as {place} ->" in told["callers.b.secret_key"]


@SECRET_KINDS
def test_two_sources_do_not_share_a_secret(folder: Folder, kind: str) -> None:
    told = folder.faults(MINIMAL + source(kind, LONG) + source("ticket", LONG, "c"))
    assert told.keys() == {"callers.c.secret_key"}
    assert "the same secret as callers.b.secret_key" in told["callers.c.secret_key"]


def test_an_older_key_is_nobody_else_s_secret_either(folder: Folder) -> None:
    older = f'fallback_keys = ["{OTHER}", "{LONG}"]\n'
    told = folder.faults(MINIMAL + source("ticket", LONG, "a") + source("session", PRIVATE * 2, "b", older))
    assert told.keys() == {"callers.b.fallback_keys[1]"}
    assert folder.load(MINIMAL + source("session", LONG, "b", f'fallback_keys = ["{LONG}"]\n')), "a key of its own"


def test_a_secret_from_a_file_is_told_by_the_file_s_member(folder: Folder) -> None:
    files = source("ticket", "", "c").replace("secret_key = ''", f'secret_key_file = "{folder.secret(LONG)}"')
    assert folder.faults(MINIMAL + source("session", LONG) + files).keys() == {"callers.c.secret_key_file"}


@SECRET_KINDS
@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("change-me-change-me-change-me-please", "placeholder"),
        ("your-secret-goes-here-32-characters", "placeholder"),
        ("the_secret_key_of_the_flask_app_here", "placeholder"),
        ("0" * 32, "placeholder"),
        ("<put 32 random characters in here!>", "placeholder"),
        (f'"{LONG}"', "quotes"),
        (f" {LONG}", "blank"),
        (f"{LONG}\t", "blank"),
    ],
)
def test_a_secret_that_everybody_can_guess_or_that_was_copied_wrongly_is_a_fault(
    folder: Folder, kind: str, key: str, why: str
) -> None:
    told = folder.faults(MINIMAL + source(kind, key))
    assert told.keys() == {"callers.b.secret_key"}
    assert why in told["callers.b.secret_key"]
    assert key not in told["callers.b.secret_key"]


def test_everybody_is_let_in_where_a_profile_says_so(folder: Folder) -> None:
    both = 'callers = ["backend", "guests"]\n'
    assert folder.load(f"{MINIMAL}[profiles.b]\n{both}public = true\n{GUESTS}").profiles["b"].public
    for more in ("", "public = false\n"):
        told = folder.faults(f"{MINIMAL}[profiles.b]\n{both}{more}{GUESTS}")
        assert told.keys() == {"profiles.b.public"}
        assert "guests is of kind anonymous -> say public = true" in told["profiles.b.public"]
    assert folder.load(MINIMAL + GUESTS).profiles["default"].public is False, "a source alone lets nobody in"


def test_a_profile_does_not_say_in_vain_that_everybody_may_ask(folder: Folder) -> None:
    told = folder.faults(f'{MINIMAL}[profiles.b]\ncallers = ["backend"]\npublic = true\n')
    assert told.keys() == {"profiles.b.public"}
    assert "none of its callers is of kind anonymous" in told["profiles.b.public"]


@pytest.mark.parametrize("value", ['"yes"', "1", "[]"])
def test_everybody_is_not_let_in_by_something_like_true(folder: Folder, value: str) -> None:
    toml = f'{MINIMAL}[profiles.b]\ncallers = ["guests"]\npublic = {value}\n{GUESTS}'
    assert folder.faults(toml).keys() == {"profiles.b.public"}


@pytest.mark.parametrize(("may", "reached"), [('["redeem", "operate"]', False), ('["redeem", "issue"]', True)])
def test_a_profile_that_nobody_can_reach_is_a_fault(folder: Folder, may: str, reached: bool) -> None:
    key = f'{{ id = "r", sha256 = "{"f" * 64}", subject = "r", may = {may} }}'
    toml = f'{MINIMAL}[callers.r]\nkind = "api_key"\nkeys = [{key}]\n[profiles.b]\ncallers = ["r"]\n'
    if reached:
        assert folder.load(toml).profiles.keys() == {"default", "b"}
    else:
        assert folder.faults(toml).keys() == {"profiles.b.callers"}
        assert folder.load(toml.replace('callers = ["r"]', 'callers = ["r", "backend"]')).profiles["b"]


@pytest.mark.parametrize("origin", ["*", "null", "https://*.app.example"])
@pytest.mark.parametrize("kind", ["session", "ticket"])
def test_no_wildcard_is_an_origin_with_cookies_or_without(folder: Folder, origin: str, kind: str) -> None:
    toml = f'{MINIMAL}{source(kind, LONG)}[profiles.b]\ncallers = ["b"]\n[cors]\norigins = ["{origin}"]\n'
    assert folder.faults(toml).keys() == {"cors.origins[0]"}


@pytest.mark.parametrize("name", ["IMAGEKIT_PUBLIC_KEY", "IMAGEKIT_PRIVATE_KEY"])
def test_a_key_whose_last_character_was_not_copied_is_told(folder: Folder, name: str) -> None:
    """A double click selects up to the `=`."""
    whole = {
        "IMAGEKIT_PUBLIC_KEY": "public_CANARY+0123456789/abcdefghi=",
        "IMAGEKIT_PRIVATE_KEY": f"private_{LONG[:27]}=",
    }
    assert folder.load(MINIMAL, whole).accounts["default"].active == whole["IMAGEKIT_PUBLIC_KEY"]
    told = folder.faults(MINIMAL, {**whole, name: whole[name][:-1]})
    assert told.keys() == {name}
    assert "no = at the end" in told[name]


# What is written about it


def test_the_page_of_settings_is_made_from_the_settings() -> None:
    """`make docs` writes it."""
    assert (ROOT / "docs/configuration.md").read_text() == whole_page()


def test_the_page_names_every_setting() -> None:
    page = whole_page()
    for place, model in tables():
        assert f"`[{place}]`" in page or not place
        for name, field in model.model_fields.items():
            in_the_file = name not in config.settings.FROM_ENVIRONMENT
            assert f"`{name}`" in page or f"[{name}" in page or not in_the_file
            assert field.description or not in_the_file
    for variable in VARIABLES:
        assert f"`{variable.name}`" in page


def test_the_page_s_example_is_a_configuration(folder: Folder) -> None:
    page = whole_page()
    toml = page.partition("```toml\n")[2].partition("```")[0]
    toml = (
        toml.replace("…", "f" * 64)
        .replace('"/run/secrets/key-a"', '"secret"')
        .replace('"/run/secrets/key-b"', '"secret"')
    )
    folder.secret(PRIVATE)
    assert folder.load(toml, {}).profiles["default"].lifetime == 900


def test_the_example_of_an_environment_has_every_variable() -> None:
    lines = (ROOT / "deploy/env.example").read_text().splitlines()
    matches = [match for line in lines if (match := re.fullmatch(r"#?([A-Z_]+)=(.*)", line))]
    pairs = {match[1]: match[2] for match in matches}
    wanted = {variable.name: variable.default for variable in VARIABLES}
    wanted |= {f"{variable.name}_FILE": "" for variable in VARIABLES if variable.may_be_file}
    assert pairs == wanted


@pytest.mark.parametrize(
    ("toml", "place"),
    [
        ("[accounts.default.metadata_fields.f]\n", "accounts.default.metadata_fields.f.type"),
        ("[accounts.default.metadata_fields.f]\ntype = 'Colour'\n", "accounts.default.metadata_fields.f.type"),
        (
            "[accounts.default.metadata_fields.f]\ntype = 'Text'\nlength = 1\n",
            "accounts.default.metadata_fields.f.length",
        ),
        ("[accounts.default.metadata_fields.f]\ntype = 'MultiSelect'\n", "accounts.default.metadata_fields.f"),
    ],
)
def test_a_wrong_metadata_field_is_a_fault(folder: Folder, toml: str, place: str) -> None:
    assert folder.faults(ACCOUNT + toml + MINIMAL, {}).keys() == {place}


def test_metadata_fields_are_read(folder: Folder) -> None:
    toml = (
        f"{ACCOUNT}[accounts.default.metadata_fields]\n"
        """
"release date" = { type = "Date", min_value = "2026-01-01" }
price = { type = "Number", max_value = 2.5, min_value = 1, required = true }
kind = { type = "SingleSelect", options = ["a", 1, true] }
"""
    )
    fields = folder.load(toml + MINIMAL, {}).accounts["default"].metadata_fields
    assert {name: field.build() for name, field in fields.items()} == {
        "release date": MetadataField("Date", min_value="2026-01-01"),
        "price": MetadataField("Number", required=True, min_value=1, max_value=2.5),
        "kind": MetadataField("SingleSelect", options=("a", 1, True)),
    }
