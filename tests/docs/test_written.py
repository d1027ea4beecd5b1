"""Nothing can be set, asked, counted or refused that no page tells of; and code on pages can be read as such."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING, Any

import click
import jwt
import pytest
import yaml

from tests.support.pages import PAGES, Block, block, blocks
from tests.support.service import ROOT, clean_environment
from tokensvc import config
from tokensvc.adapters.metrics import Metrics
from tokensvc.cli import main as program
from tokensvc.config.reference import tables
from tokensvc.core import v1
from tokensvc.core.errors import Code
from tokensvc.core.mac import Keyed
from tokensvc.web.problems import STATUS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


# What there is


def test_the_pages_that_are_made_from_the_code_are_as_the_code_is() -> None:
    told = subprocess.run(
        [sys.executable, "docs/_tools/generate.py", "--check"],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")


def test_every_setting_and_every_variable_is_on_its_page() -> None:
    page = PAGES["docs/configuration.md"]
    for variable in config.settings.FROM_ENVIRONMENT.values():
        assert f"| `{variable}`" in page, variable
    for place, model in tables():
        names = set(model.model_fields) - (set() if place else set(config.settings.FROM_ENVIRONMENT))
        inner = {re.split(r"[.\[]", below.removeprefix(f"{place}.").removeprefix("["))[0] for below, _ in tables()}
        assert [name for name in names - inner if f"`{name}" not in page] == [], place
        assert f"`[{place}]`" in page or not place


def test_every_metric_is_on_its_page() -> None:
    names = re.findall(r"^# TYPE ([a-z_]+) ", Metrics().text(lambda: 0).decode(), re.MULTILINE)
    assert [name for name in names if f"| `{name}` |" not in PAGES["docs/metrics.md"]] == []


def test_every_error_code_has_a_page_and_every_page_a_code() -> None:
    codes = set(map(str, STATUS))
    assert set(map(str, Code)) <= codes
    assert {page for page in PAGES if page.startswith("docs/errors/")} == {f"docs/errors/{code}.md" for code in codes}
    for code in codes:
        assert f"(errors/{code}.md)" in PAGES["docs/errors.md"]
        assert re.search(r"## Cause\n\n.+\n\n## What to do\n\n.+\n", PAGES[f"docs/errors/{code}.md"])


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """Those that are listed, with their whole names."""
    yield path, command
    context = click.Context(command)
    group = command if isinstance(command, click.Group) else click.Group()
    for name in group.list_commands(context):
        part = group.get_command(context, name)
        if part is not None and not part.hidden:
            yield from commands(part, f"{path} {name}")


@pytest.mark.parametrize(("name", "command"), list(commands(program, "tokensvc")))
def test_every_command_is_described_with_all_of_its_options(name: str, command: click.Command) -> None:
    section = re.split(r"^## ", PAGES["docs/commands.md"], flags=re.MULTILINE)
    (mine,) = [part for part in section if part.partition("\n")[0] == name]
    assert command.help
    assert command.help.split("\n")[0] in mine
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            assert option.help, f"{name} {option.name} says nothing"
            assert all(spelling in mine for spelling in option.opts + option.secondary_opts), option.name


def test_commands_on_pages_exist() -> None:
    known = {name for name, _ in commands(program, "tokensvc")} | {"tokensvc preflight"}
    pages = "\n".join(text for page, text in PAGES.items() if page != "docs/commands.md")
    spoken = set(re.findall(r"`tokensvc ([a-z]+(?: [a-z]+)?)(?=[ `\n])", pages))
    for each in blocks("sh"):
        spoken |= set(re.findall(r"^(?:.*/)?tokensvc ([a-z]+(?: [a-z]+)?)", each.text, re.MULTILINE))
    groups = {name.split()[1] for name in known if len(name.split()) == 3}
    for words in spoken:
        first = words.split()[0]
        said = f"tokensvc {words}" if first in groups and len(words.split()) == 2 else f"tokensvc {first}"
        assert said in known, words


# What pages say in code

LANGUAGES = {"sh", "text", "toml", "json", "yaml", "python", "js", "kotlin", "swift", "dart", "http"}


def test_every_block_says_its_language_and_none_is_indented() -> None:
    assert {each.language for each in blocks()} <= LANGUAGES
    for page, text in PAGES.items():
        outside = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
        assert not re.search(r"\n\n    \S", outside), f"{page}: fence it"


def test_every_fence_opens_or_closes_a_block_that_the_tests_see() -> None:
    """An indented fence, one of tildes or one with more than a language would hide its commands from them."""
    for page, text in PAGES.items():
        fences = re.findall(r"^[ \t>]*(?:`{3,}|~{3,}).*$|<pre", text, re.MULTILINE)
        assert len(fences) == 2 * len([each for each in blocks() if each.page == page]), page


def named(found: list[Block]) -> list[Any]:
    return [pytest.param(each, id=f"{each.page}:{each.first}") for each in found]


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Tables joined, other members replaced."""
    both = {
        name: merged(below[name], above[name]) for name in below.keys() & above.keys() if isinstance(above[name], dict)
    }
    return {**below, **above, **both}


WHOLE: dict[str, Any] = {
    "accounts": {
        "default": {
            "active": "public_Pq4bX1dFh2",
            "keys": [{"public_key": "public_Pq4bX1dFh2", "private_key": "private_CANARYPq4bX1dFh2"}],
        }
    },
    "callers": {"a": {"kind": "api_key", "keys": [{"id": "a", "sha256": "f" * 64, "subject": "a"}]}},
    "profiles": {"default": {"callers": ["a"]}},
}
"""What a part of a configuration on a page is completed with."""


@pytest.mark.parametrize("block_", named([each for each in blocks("toml") if not each.text.startswith("[[case]]")]))
def test_every_configuration_can_be_loaded(block_: Block, tmp_path: Path) -> None:
    text = (
        block_.text.replace("…", "e" * 64)
        .replace("/run/secrets", str(tmp_path))
        .replace("/var/log/tokensvc", str(tmp_path))
    )
    for secret, name in enumerate(re.findall(r'_files? = \[?"([^"]+)"', text)):
        (tmp_path / name).write_text(f"private_CANARY-of-a-page-number-{secret}-7c1f09d2e5\n")
    whole = merged(WHOLE, tomllib.loads(text))
    (tmp_path / "whole.json").write_text(json.dumps(whole, default=str))
    path = tmp_path / "tokensvc.toml"
    path.write_text(toml_of(whole))
    settings = config.load({"TOKENSVC_CONFIG": str(path), "TOKENSVC_DATA_DIR": str(tmp_path / "d")})
    assert settings.profiles


def toml_of(table: dict[str, Any]) -> str:
    """A table as TOML, with everything inline: JSON's texts, numbers and lists are TOML's too."""
    return "".join(f"{name} = {_inline(value)}\n" for name, value in table.items())


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(name)} = {_inline(part)}" for name, part in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value) if isinstance(value, str | bool | int | float) else value.isoformat()


@pytest.mark.parametrize("block_", named(blocks("json")))
def test_every_json_is_json(block_: Block) -> None:
    json.loads(block_.text)


@pytest.mark.parametrize("block_", named(blocks("yaml")))
def test_every_yaml_is_yaml(block_: Block) -> None:
    assert yaml.safe_load(block_.text)


@pytest.mark.parametrize("block_", named(blocks("python")))
def test_every_python_is_python(block_: Block) -> None:
    compile(block_.text, block_.page, "exec")


@pytest.mark.parametrize("block_", named(blocks("js")))
def test_every_javascript_is_javascript(block_: Block) -> None:
    told = subprocess.run(
        ["node", "--input-type=module", "--check"], input=block_.text, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr


# What pages say in numbers


def test_the_vectors_of_the_protocol_page_are_what_the_code_signs() -> None:
    page = PAGES["docs/protocol.md"]
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \| (\d+) \| `([0-9a-f]{40})` \|$", page, re.MULTILINE)
    assert len(rows) == 2
    for private_key, token, expire, signature in rows:
        assert v1.sign(Keyed(private_key.encode()), token, int(expire)) == signature
    vector = block("docs/protocol.md", "text", "private key  private_key_test").text
    token = vector.split()[-1]
    claims = jwt.decode(token, "private_key_test", algorithms=["HS256"], options={"verify_exp": False})
    assert claims == {"fileName": "a.jpg", "useUniqueFileName": "true", "iat": 1700000000, "exp": 1700000400}
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "kid": "public_key_test", "typ": "JWT"}


SAMPLES = (
    *("Node", "Express", "JavaScript", "React", "Vue", "Angular", "Next.js", "React Native", "Android", "iOS", "Uppy"),
    *("Flask", "Django", "PHP", "Laravel", "Ruby", "Rails", "Go", "Java", ".NET", "jQuery"),
)
"""For what ImageKit has a sample or a quick start that signs uploads."""


def test_there_is_a_way_from_each_of_imagekit_s_samples() -> None:
    _, _, table = PAGES["docs/migration.md"].partition("| sample | on the server, delete | on the client, change |\n")
    rows = re.findall(r"^\|([^|]+)\|([^|]+)\|([^|]+)\|$", table.partition("\n\n")[0], re.MULTILINE)[1:]
    told = [name for sample, *_ in rows for name in re.findall(r"(?:^|\W)([\w.][\w. ]*)", sample)]
    assert [name for name in SAMPLES if not any(name in words for words in told)] == []
    assert all(server.strip() and client.strip() for _, server, client in rows)


def test_the_readme_is_one_screen() -> None:
    assert len(PAGES["README.md"].splitlines()) <= 72


def test_files_that_pages_name_exist() -> None:
    """Paths of the tree in code spans: tests, deploy, tokensvc and docs."""
    for page, text in PAGES.items():
        for path in re.findall(r"`((?:tests|deploy|tokensvc|docs|benchmarks)/[\w./-]+)`", text):
            assert (ROOT / path).exists(), f"{page}: {path}"
