"""`docs/conformance.md`, made of rows. Nothing in it but the rows depends on a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from tests.support.server import ROOT

from .clients import EVERY, NOT_RUN, PAGES, SERVERS, Named
from .replayed import REPLAYS
from .rows import Row

PATH: Final = ROOT / "docs/conformance.md"

_HEAD: Final = """\
# Conformance

Which clients were run against this service, and what happened. The tests run every client below and compare this page
with what they saw; `make conformance` writes it anew. Versions are exact.

- **fetch**: who asks for the credential, the SDK or the app around it, and by which requests. Servers ask for none:
  they sign, and their signature is the same.
- **upload v1**, **upload v2**: *stored* when the very bytes were served back, and width, height and size in the answer
  were right. – is what a client does not speak.
- **refused upload**: what of our answer reaches the application when a credential was used before (for servers: when
  the private key is wrong).
- **refused credential**: the same when no credential was issued, to a caller who may not have one. *words of its own*:
  the client says something else, and the log has to tell the reason.
"""

_TABLE: Final = """\
| client | version | fetch | upload v1 | upload v2 | refused upload | refused credential |
|---|---|---|---|---|---|---|
"""

_BROWSERS: Final = """
## In Chromium

Each is bundled as npm has it, on a page of another origin, and unchanged: the browser resolves ImageKit's upload hosts
to the service. React and Vue components get their file through the input that they render. SDKs that ask for themselves
cannot send a header, so they ask the back end of their app.

"""

_SERVERS: Final = """
## On servers

"""

_REPLAYED: Final = """
## Replayed

These cannot run where the tests run. Their requests are written byte for byte as their sources write them, the order of
parts and their headers too, and the answers are read as strictly as they read them. The last two columns follow from
their sources.

"""

_REST: Final = """
## Not run

| client | why |
|---|---|
"""


def keys() -> list[tuple[str, str]]:
    """Client and version of every row, in the order of the page."""
    return [(one.client, one.version) for one in EVERY]


def whole_page(rows: Mapping[tuple[str, str], Row]) -> str:
    """The page; KeyError if a client has no row."""

    def table(clients: Iterable[Named]) -> str:
        return _TABLE + "".join(f"{rows[one.client, one.version]}\n" for one in clients)

    rest = "".join(f"| {clients} | {why} |\n" for clients, why in NOT_RUN)
    parts = (_HEAD, _BROWSERS, table(PAGES), _SERVERS, table(SERVERS), _REPLAYED, table(REPLAYS), _REST, rest)
    return "".join(parts)
