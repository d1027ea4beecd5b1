"""The Lua files as scripts that can be run. Where a line is the name of a file (`-- fence.lua`), that file is put, once
a script: so each has the functions that it uses, and no call of it pays for the making of others.

The first line is the script's flags and has to stay first. `allow-oom` is on all that only change a record
which is already there: a store that is full refuses to record, and goes on redeeming.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from redis import exceptions as redis_errors

from tokensvc.adapters.redis_client import Client

_NAMED: Final = re.compile(r"^-- (\w+)\.lua\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """A script's whole text, the SHA-1 by which a server that has seen it knows it, and its name for metrics.

    Of one that `takes_several` what is asked at the same time may become one call; see `redis_client.calls`.
    """

    text: str
    sha: str
    name: str
    takes_several: bool = False

    def run(self, client: Client, keys: Sequence[str], arguments: Sequence[str]) -> list[str]:
        """Run it and return its answer as texts. The script itself is sent only to a server that lacks it."""
        call = (len(keys), *keys, *arguments)
        try:
            answer: Any = client.execute_command("EVALSHA", self.sha, *call, may_join=self.takes_several)
        except redis_errors.NoScriptError:
            answer = client.execute_command("EVAL", self.text, *call)
        if self.takes_several:
            (answer,) = answer
        return [part.decode() if isinstance(part, bytes) else str(part) for part in answer]


def _load(name: str, *, takes_several: bool = False) -> Script:
    there: set[str] = set()

    def once(line: re.Match[str]) -> str:
        if line[1] in there:
            return ""
        there.add(line[1])
        return _with_named(line[1])

    def _with_named(name: str) -> str:
        return _NAMED.sub(once, files(__package__).joinpath(f"{name}.lua").read_text("utf-8"))

    text = _with_named(name)
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(), name, takes_several)


RECORD: Final = _load("record", takes_several=True)
REMAINING: Final = _load("remaining")
RECORD_BATCH: Final = _load("record_batch")
REDEEM: Final = _load("redeem", takes_several=True)
COMMIT: Final = _load("commit")
RELEASE: Final = _load("release")
FINISH: Final = _load("finish")
REVOKE: Final = _load("revoke")
LOOK: Final = _load("look")
OUTSTANDING: Final = _load("outstanding")
MARK: Final = _load("mark")
READY: Final = _load("ready")
HEAL: Final = _load("heal")
