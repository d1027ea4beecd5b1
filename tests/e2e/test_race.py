"""1,000 uploads with one credential, all of them in flight at once over 4 workers: exactly one gets in.

Every connection is open, and has sent all of its request but the last bytes, before the first may send the rest. So
all of them reach the redeeming step together. Raw sockets are used because nothing may retry unseen: who is told that
the store was too busy asks again until there is a verdict, and nobody else does.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Final

import pytest

from tests.e2e.wire import MULTIPART, Part, multipart, send, text_parts
from tests.support.server import Service, serving

pytestmark = pytest.mark.alone

UPLOADS: Final = 1000
WORKERS: Final = 4
HELD_BACK_BYTES: Final = 16
PATIENCE_SECONDS: Final = 120
UNAVAILABLE: Final = 503


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("race"), workers=WORKERS) as service:
        yield service


def v1_fields(service: Service) -> dict[str, str]:
    credential = send(service, "GET", "/auth", {"Authorization": service.secrets.bearer}).json()
    return {"fileName": "race.bin"} | {name: str(value) for name, value in credential.items()}


def v2_fields(service: Service) -> dict[str, str]:
    payload = {"fileName": "race.bin"}
    asked = {"uploadPayload": payload, "expire": 600, "publicKey": service.secrets.public_key}
    headers = {"Authorization": service.secrets.bearer, "Content-Type": "application/json"}
    answer = send(service, "POST", "/auth", headers, json.dumps(asked).encode())
    return payload | {"token": answer.json()["token"]}


def request(version: str, fields: Mapping[str, str], content: bytes) -> bytes:
    """A whole upload request that asks for the connection to be closed after the answer."""
    body = multipart([Part("file", content, "race.bin", "application/octet-stream"), *text_parts(fields)])
    head = (
        f"POST /api/{version}/files/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        f"Content-Type: {MULTIPART['Content-Type']}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def race(port: int, requests: list[bytes]) -> list[tuple[int, dict[str, Any]]]:
    """Send all requests at once; return status and JSON body of each answer, in the order of the requests."""
    ready = asyncio.Barrier(len(requests))

    async def one(sent: bytes) -> tuple[int, dict[str, Any]]:
        status, said = await ask(sent, ready.wait)
        while status == UNAVAILABLE:
            status, said = await ask(sent, at_once)
        return status, said

    async def ask(sent: bytes, turn: Callable[[], Awaitable[object]]) -> tuple[int, dict[str, Any]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await turn()
        writer.write(sent[:-HELD_BACK_BYTES])
        await writer.drain()
        await turn()
        writer.write(sent[-HELD_BACK_BYTES:])
        received = await reader.read()
        writer.close()
        await writer.wait_closed()
        head, _, body = received.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body)

    async def at_once() -> None:
        """The race is over."""

    async with asyncio.timeout(PATIENCE_SECONDS):
        return await asyncio.gather(*(one(sent) for sent in requests))


@pytest.mark.parametrize(("version", "fields_of"), [("v1", v1_fields), ("v2", v2_fields)])
def test_of_1000_simultaneous_uploads_with_one_credential_one_gets_in(
    service: Service, version: str, fields_of: Any
) -> None:
    """One success, 999 times "used before", nothing else; one file is kept, with the bytes of the one that got in."""
    dice = random.Random(version)
    contents = [number.to_bytes(4) + dice.randbytes(2000) for number in range(UPLOADS)]
    fields = fields_of(service)
    before = service.stored_objects()

    answers = asyncio.run(race(service.port, [request(version, fields, content) for content in contents]))

    winners = [number for number, (status, _) in enumerate(answers) if status == 200]
    said = Counter((status, said.get("message")) for status, said in answers if status != 200)
    assert len(winners) == 1
    assert [(status, "has been used before" in str(text), count) for (status, text), count in said.items()] == [
        (400, True, UPLOADS - 1)
    ], said
    (stored,) = service.stored_objects() - before
    assert stored.read_bytes() == contents[winners[0]]
    path = answers[winners[0]][1]["filePath"]
    assert send(service, "GET", f"/files{path}").body == contents[winners[0]]
