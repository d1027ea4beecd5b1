"""The development server's configuration: an ordinary `tokensvc.toml` with demo keys, kept in the data directory.

It runs through the same launcher, application and store as production. What makes it a demo is only its configuration:
generated keys, a caller source of kind "demo", and every parameter allowed.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokensvc.adapters.api_keys import new_api_key
from tokensvc.core.params import PARAMETERS

_ALPHABET = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class Demo:
    """A prepared data directory."""

    configuration: Path
    public_key: str
    api_key_file: Path

    @property
    def api_key(self) -> str:
        """The demo's api key, for trying things with curl."""
        return self.api_key_file.read_text().strip()


def prepare(directory: Path, *, host: str, origins: Sequence[str]) -> Demo:
    """Make what is missing in `directory`/dev, keep what is there, and write the configuration.

    OSError if the directory cannot be used.
    """
    home = home_of(directory)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    home.chmod(0o700)
    public_key = _kept(home / "public-key", f"public_{_random_text(28)}")
    _kept(home / "private-key", f"private_{_random_text(28)}")
    _kept(home / "sign-in-secret", _random_text(48))
    api_key, _ = new_api_key(secrets.token_bytes)
    api_key = _kept(home / "api-key", api_key)
    configuration = home / "tokensvc.toml"
    _write(configuration, _configuration(public_key, _digest(api_key), host, origins))
    return Demo(configuration, public_key, home / "api-key")


def home_of(directory: Path) -> Path:
    """Where in a data directory the development server keeps what is its own."""
    return directory / "dev"


def _configuration(public_key: str, api_key_sha256: str, host: str, origins: Sequence[str]) -> str:
    allow = "\n".join(f"{name} = true" for name in PARAMETERS)
    return f"""\
# Written by `tokensvc dev` at each start.
hosts = {_toml(["localhost", "127.0.0.1", "[::1]", host])}

[accounts.default]
url_endpoint = "https://ik.imagekit.io/demo"
active = "{public_key}"
[[accounts.default.keys]]
public_key = "{public_key}"
private_key_file = "private-key"

[cors]
origins = {_toml(list(origins))}

[callers.demo]
kind = "demo"
secret_key_file = "sign-in-secret"

[callers.backend]
kind = "api_key"
keys = [{{ id = "demo", sha256 = "{api_key_sha256}", subject = "demo", may = ["issue", "redeem", "operate"] }}]

[profiles.default]
callers = ["demo", "backend"]
lifetime = 3600
unissued = "cross-off"
[profiles.default.allow]
{allow}
"""


def _toml(value: list[str]) -> str:
    """A list of texts; TOML's are JSON's, but for pairs of surrogates."""
    return json.dumps(value, ensure_ascii=False)


def _digest(api_key: str) -> str:
    return hashlib.sha256(api_key.encode()).hexdigest()


def _random_text(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _kept(path: Path, text: str) -> str:
    """Return what the file holds; write `text` into it first if it holds nothing."""
    if not path.exists() or not path.read_text().strip():
        _write(path, text + "\n")
    return path.read_text().strip()


def _write(path: Path, text: str) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.touch(mode=0o600)
    fresh.write_text(text)
    fresh.replace(path)
