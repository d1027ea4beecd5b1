"""Requests byte for byte as a given client writes them: part order, file names and labels are what is tested.

No HTTP library builds the body, because each would put it in its own order. Nothing is ever sent twice.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.support.server import Service

BOUNDARY: Final = "a-boundary-that-no-picture-holds"
MULTIPART: Final = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a form: a text field, or a file if it has a `file_name`.

    OkHttp says the length of each part; Swift's dictionaries may put the type before the disposition.
    """

    name: str
    content: str | bytes
    file_name: str | None = None
    content_type: str | None = None
    with_length: bool = False
    type_first: bool = False

    def encode(self) -> bytes:
        """The part without the boundary before it."""
        content = self.content.encode() if isinstance(self.content, str) else self.content
        disposition = f'Content-Disposition: form-data; name="{self.name}"'
        if self.file_name is not None:
            disposition += f'; filename="{self.file_name}"'
        head = [disposition]
        if self.content_type is not None:
            head.insert(0 if self.type_first else 1, f"Content-Type: {self.content_type}")
        if self.with_length:
            head.append(f"Content-Length: {len(content)}")
        return "\r\n".join(head).encode() + b"\r\n\r\n" + content


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as Python has it."""
        return json.loads(self.body)


def multipart(parts: Sequence[Part]) -> bytes:
    """Return the body of a form whose parts keep their order."""
    delimiter = f"--{BOUNDARY}".encode()
    return b"".join(delimiter + b"\r\n" + part.encode() + b"\r\n" for part in parts) + delimiter + b"--\r\n"


def text_parts(fields: Mapping[str, str]) -> list[Part]:
    """The fields as parts, in their order."""
    return [Part(name, value) for name, value in fields.items()]


def send(
    service: Service, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> Answer:
    """Send one request on a connection of its own, and read the whole answer."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    try:
        connection.request(method, path, body or None, dict(headers or {}))
        response = connection.getresponse()
        received = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, received, response.read())
    finally:
        connection.close()
