"""The Lua files as scripts that can be run. `preamble.lua` is put after the first line of each of the others, and
`uses.lua` in the place of the line that names it.

The first line is the script's flags and has to stay first. `allow-oom` is on all that only change a record
which is already there: a store that is full refuses to record, and goes on redeeming.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from redis import exceptions as redis_errors

from tokensvc.adapters.redis_client import Client


@dataclass(frozen=True, slots=True)
class Script:
    """A script's whole text, the SHA-1 by which a server that has seen it knows it, and its name for metrics."""

    text: str
    sha: str
    name: str

    def run(self, client: Client, keys: Sequence[str], arguments: Sequence[str]) -> list[str]:
        """Run it and return its answer as texts. The script itself is sent only to a server that lacks it."""
        call = (len(keys), *keys, *arguments)
        try:
            answer = client.execute_command("EVALSHA", self.sha, *call)
        except redis_errors.NoScriptError:
            answer = client.execute_command("EVAL", self.text, *call)
        return [part.decode() if isinstance(part, bytes) else str(part) for part in answer]


def _load(name: str) -> Script:
    preamble, uses, own = (_read(one) for one in ("preamble", "uses", name))
    flags, _, body = own.partition("\n")
    text = "\n".join((flags, preamble, body.replace("-- uses.lua\n", uses)))
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(), name)


def _read(name: str) -> str:
    return files(__package__).joinpath(f"{name}.lua").read_text("utf-8")


RECORD: Final = _load("record")
REMAINING: Final = _load("remaining")
RECORD_BATCH: Final = _load("record_batch")
REDEEM: Final = _load("redeem")
COMMIT: Final = _load("commit")
RELEASE: Final = _load("release")
FINISH: Final = _load("finish")
REVOKE: Final = _load("revoke")
LOOK: Final = _load("look")
OUTSTANDING: Final = _load("outstanding")
MARK: Final = _load("mark")
READY: Final = _load("ready")
HEAL: Final = _load("heal")
