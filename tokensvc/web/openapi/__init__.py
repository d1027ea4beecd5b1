"""The service's interface as OpenAPI 3.1: `GET /openapi.json`, and `GET /docs` to read it.

It is written by hand, in tables: one module for each group of paths. What the code says elsewhere is taken from there,
such as the status of an error code. It tells the interface and not the configuration: no profile, account or key is
named, because anybody may read it. Tests hold it against the routes and against every answer that they see.
"""

from __future__ import annotations

from typing import Final

from tokensvc import __version__

from . import issuing, operating, spending, uploading
from .answers import HEADERS, Node
from .schemas import schemas

_ABOUT: Final = """Issues single-use ImageKit upload credentials, and serves ImageKit's upload API.

Every error is `application/problem+json` (RFC 9457), but for the upload API's, which have ImageKit's shape. Each has \
a code, in `X-Tokensvc-Code`, and each code has a page, to which a problem's `type` leads. A method that a path does \
not have is answered 405 with `Allow`, a path that does not exist 404.

Browsers: OPTIONS answers preflights of the origins that are configured, and their pages may read every answer. A page \
of another origin is refused. A `traceparent` is continued."""

_TAGS: Final = {
    "Credentials": "For clients: what to upload with.",
    "Upload API": "ImageKit's own, for front ends under development and for stores of one's own.",
    "Servers": "For uploaders and proxies that accept credentials.",
    "Operators": "For people on call, and their machines.",
    "Documentation": "These papers.",
}

_SECURITY: Final[dict[str, Node]] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An api key of the service (`tsk_…`), or an access token of a configured identity provider.",
    },
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": "session",
        "description": "The session cookie of a configured web app; its name is the app's. It counts only in a request "
        "that shows which site's page it comes from: by Origin, Sec-Fetch-Site or X-Requested-With.",
    },
    "ticket": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Upload-Ticket",
        "description": "What a web app has signed for one fetch; also as `Authorization: Ticket …`.",
    },
    "uploadToken": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Upload-Token",
        "description": "A credential's token, also as the form's field `token`. v1 has `expire` and `signature` too.",
    },
    "privateKey": {
        "type": "http",
        "scheme": "basic",
        "description": "An account's private key as the user name, for servers; any password.",
    },
}

_OF_UPLOADS: Final = frozenset({"uploadToken", "privateKey", "Uploaded", "Queued", "UploadError"})
"""What only the upload API needs."""


def document(*, uploads: bool = True) -> Node:
    """The whole document as JSON; without `uploads` the upload API is not in it."""
    paths = issuing.paths(uploads=uploads) | spending.paths() | operating.paths()
    paths |= uploading.paths() if uploads else {}
    used = {
        operation["tags"][0] for item in paths.values() for operation in item.values() if isinstance(operation, dict)
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "tokensvc", "version": __version__, "description": _ABOUT, "license": {"name": "MIT"}},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": says} for name, says in _TAGS.items() if name in used],
        "security": [],
        "paths": paths,
        "components": {
            "securitySchemes": {name: one for name, one in _SECURITY.items() if uploads or name not in _OF_UPLOADS},
            "headers": HEADERS,
            "schemas": {name: one for name, one in schemas().items() if uploads or name not in _OF_UPLOADS},
        },
    }
