"""What was observed of one client, and how `docs/conformance.md` says it.

The page is made of these rows and of nothing else that a run decides, so that a page and a run can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields
from typing import Any, Final

NOT_SPOKEN: Final = "–"
STORED: Final = "stored"
NOTHING: Final = "nothing"
FAULT: Final = "an exception inside the SDK"
OWN_WORDS: Final = "words of its own"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. Every cell but the first two is what happened."""

    client: str
    version: str
    fetch: str
    upload_v1: str
    upload_v2: str
    refused_upload: str
    refused_credential: str

    @property
    def key(self) -> tuple[str, str]:
        """What names the row."""
        return self.client, self.version

    def __str__(self) -> str:
        """The row in Markdown."""
        return f"| {' | '.join(astuple(self))} |"


def read_rows(page: str) -> dict[tuple[str, str], Row]:
    """The rows in a page, by client and version."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"]
    rows = [Row(*line) for line in cells if len(line) == len(fields(Row)) and line[0] != "client" and "---" not in line]
    return {row.key: row for row in rows}


def shown(reached: Mapping[str, Any], status: int, body: Mapping[str, Any], request_id: str | None) -> str:
    """Which members of a refusal reached the application, as a cell says it.

    `reached` is what the application got: `message`, `help`, `status`, `requestId`, each of which may be missing.
    """
    message, help_words = str(reached.get("message") or ""), reached.get("help")
    members = {
        "message": str(body["message"]) in message,
        "help": bool(body.get("help")) and (help_words == body["help"] or str(body["help"]) in message),
        "status": reached.get("status") == status or f"status {status}" in message,
        "request id": request_id is not None and reached.get("requestId") == request_id,
    }
    seen = ", ".join(member for member, is_there in members.items() if is_there)
    return seen or (OWN_WORDS if message else NOTHING)
