"""Every client is run, and `docs/conformance.md` has to say what happened: no more, no less, and not what once did."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conformance.clients import EVERY, Named
from tests.e2e.conformance.laboratory import Laboratory, laboratory
from tests.e2e.conformance.on_server import PYTHON_4
from tests.e2e.conformance.page import PATH, keys, whole_page
from tests.e2e.conformance.rows import OWN_WORDS, read_rows, shown


@pytest.fixture(scope="module")
def here(node_modules: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    assert node_modules.is_dir()
    if not PYTHON_4.is_dir():
        pytest.fail("imagekitio 4 is not installed beside the newest one. `make test` does it.")
    with laboratory(tmp_path_factory.mktemp("conformance")) as here:
        yield here


@pytest.mark.parametrize("client", EVERY, ids=lambda one: f"{one.client}-{one.version}")
def test_a_client_does_what_the_page_says(here: Laboratory, client: Named) -> None:
    """`make conformance` writes the page anew, if the difference is wanted."""
    written = read_rows(PATH.read_text())

    assert str(here.observe(client)) == str(written.get((client.client, client.version)))


def test_the_page_is_made_of_its_rows() -> None:
    """Every client has one row, none is left over, and no word between them was changed by hand."""
    page = PATH.read_text()
    rows = read_rows(page)

    assert list(rows) == keys()
    assert whole_page(rows) == page


@pytest.mark.parametrize(
    ("reached", "cell"),
    [
        (
            {"message": "used before", "help": "fetch another", "status": 400, "requestId": "r1"},
            "message, help, status, request id",
        ),
        ({"message": 'Request failed with status 400: {"message":"used before"}'}, "message, status"),
        ({"message": "used before", "help": "", "status": 403, "requestId": "r2"}, "message"),
        ({"message": "Something went wrong"}, OWN_WORDS),
        ({}, "nothing"),
    ],
)
def test_a_cell_names_what_reached_the_application(reached: dict[str, object], cell: str) -> None:
    body = {"message": "used before", "help": "fetch another"}

    assert shown(reached, 400, body, "r1") == cell
