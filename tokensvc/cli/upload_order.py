"""What `tokensvc upload` was told: where to, under which names, and with whose credentials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import click

from tokensvc import wiring
from tokensvc.bulk.addresses import Address, is_this_machine
from tokensvc.bulk.credentials import Issued, Lender, Signed
from tokensvc.bulk.wire import Wire

from .telling import settings_or_exit

_IMAGEKIT: Final = "imagekit.io"
_UPLOAD: Final = {"v1": "/api/v1/files/upload", "v2": "/api/v2/files/upload"}
NAMES: Final[Mapping[str, Mapping[str, str]]] = {
    "keep": {"useUniqueFileName": "false", "overwriteFile": "false"},
    "overwrite": {"useUniqueFileName": "false", "overwriteFile": "true"},
    "unique": {"useUniqueFileName": "true"},
}
"""The parameters that each choice of `--names` stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The options, as they came."""

    to: Address | None
    auth: Address | None
    profile: str
    key_file: Path | None
    sign: bool
    v2: bool
    names: str
    parameters: Mapping[str, str]
    jobs: int
    tries: int
    manifest: Path | None

    @property
    def version(self) -> Literal["v1", "v2"]:
        return "v2" if self.v2 else "v1"

    @property
    def service(self) -> Address:
        """Where to go if nothing is said: the development server."""
        return self.to or Address.parse("http://127.0.0.1:8000")

    @property
    def endpoint(self) -> Address:
        to = self.service
        return to if to.path else to.at(_UPLOAD[self.version])

    def lender(self) -> Lender:
        """Who issues or signs; ends the command with status 2 if there is nobody."""
        if self.sign:
            return self._signed()
        issuer = self.auth or self.service.at("")
        if issuer.host.endswith(_IMAGEKIT):
            raise click.UsageError(
                "ImageKit issues no credentials. Add --auth URL of a tokensvc, or --sign with the private key here."
            )
        path = "/auth/batch" if self.profile == "default" else f"/auth/{self.profile}/batch"
        return Issued(Wire(issuer), issuer.path + path, self._api_key(issuer), self.version)

    def _api_key(self, issuer: Address) -> str:
        environment = wiring.environment()
        demo = Path(environment.get("TOKENSVC_DATA_DIR") or "var") / "dev" / "api-key"
        file = self.key_file
        if file is None and "TOKENSVC_API_KEY" not in environment and is_this_machine(issuer.host) and demo.exists():
            file = demo
        try:
            key = (file.read_text() if file is not None else environment.get("TOKENSVC_API_KEY", "")).strip()
        except (OSError, UnicodeDecodeError):
            raise click.BadParameter(f"{file} cannot be read.", param_hint="--key-file") from None
        if not (key.isascii() and key.isprintable() and key):
            raise click.UsageError(
                "There is no api key. Put one into TOKENSVC_API_KEY or a file (--key-file); `tokensvc keys new` makes "
                "it. Or add --sign, where the private key is in the configuration."
            )
        return key

    def _signed(self) -> Signed:
        settings = settings_or_exit(wiring.load_settings, "Nothing was uploaded")
        profiles = wiring.profiles(settings)
        if self.profile not in profiles:
            raise click.BadParameter(f"there is no profile {self.profile}.", param_hint="--profile")
        profile = profiles[self.profile]
        pair = wiring.key_rings(settings)[profile.account].signing
        return Signed(pair, profile.lifetime, self.version, wiring.clock, wiring.chance)
