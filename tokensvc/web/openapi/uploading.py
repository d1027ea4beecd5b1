"""ImageKit's upload API, in its own shapes, and the files that were uploaded."""

from __future__ import annotations

from typing import Final

from tokensvc.core.errors import Code
from tokensvc.core.nonces import Version
from tokensvc.web import imagekit

from . import links
from .answers import STORE, Node, json_answer, problem, ref, refusals, upload_error
from .issuing import IDEMPOTENCY_KEY, V1
from .schemas import parameters_in_form
from .shapes import JWT

_ANSWERED: Final = {
    "x_ik_requestid": "RequestId",
    "x_request_id": "RequestId",
    "Cache_Control": "NotKept",
}
_FILE: Final[Node] = {
    "type": "string",
    "format": "binary",
    "description": "The file, as a part with a filename; or its bytes as text in base64 or as a data URI; or its "
    "URL, where that is allowed.",
}
_UPLOADED: Final = {
    "fileId": "64e2a1f09b7c3d5a1e8f4c20",
    "name": "a_doAbVVtZJ.jpg",
    "size": 24_601,
    "versionInfo": {"id": "64e2a1f09b7c3d5a1e8f4c21", "name": "Version 1"},
    "filePath": "/a_doAbVVtZJ.jpg",
    "url": "https://uploads.app.example/files/a_doAbVVtZJ.jpg",
    "fileType": "image",
    "height": 300,
    "width": 200,
    "thumbnailUrl": "https://uploads.app.example/files/tr:n-ik_ml_thumbnail/a_doAbVVtZJ.jpg",
    "AITags": None,
}
_OUTAGES: Final = {503: STORE, 500: ("internal",), 415: (Code.REQUEST_MALFORMED,)}
"""What is answered before or after the table of ImageKit's texts is looked into."""

_SAFETY: Final[Node] = {
    name: {"required": True, "schema": {"const": value}}
    for name, value in {
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Cross-Origin-Resource-Policy": "cross-origin",
    }.items()
}


def paths() -> dict[str, Node]:
    """The path items."""
    return {
        "/api/v1/files/upload": {"post": _upload("v1", "uploadV1")},
        "/api/v2/files/upload": {"post": _upload("v2", "uploadV2")},
        "/v1/files/upload": {"post": _upload("v1", "uploadV1AtTheFirstPath") | {"deprecated": True}},
        "/files/{path}": {
            "parameters": [
                {
                    "name": "path",
                    "in": "path",
                    "required": True,
                    "description": "The file's `filePath`, slashes and all. A first segment `tr:…` is passed over. "
                    "Files of other accounts than `default` are under `/files/~ACCOUNT/`.",
                    "schema": {"type": "string", "minLength": 1},
                    "example": "a_doAbVVtZJ.jpg",
                },
                {
                    "name": "ik-obj-version",
                    "in": "query",
                    "description": "The `versionInfo.id` of an older version.",
                    "schema": {"type": "string"},
                },
                {
                    "name": "ik-t",
                    "in": "query",
                    "description": "Of a signed URL: when it ends, in Unix seconds.",
                    "schema": {"type": "string"},
                },
                {
                    "name": "ik-s",
                    "in": "query",
                    "description": "Of a signed URL: the signature, which opens a private file.",
                    "schema": {"type": "string"},
                },
            ],
            "get": _file("getFile"),
            "head": _file("headFile"),
        },
    }


def _upload(version: Version, operation: str) -> Node:
    kept = json_answer("It is kept.", ref("Uploaded"), _UPLOADED, **_ANSWERED)
    responses = {
        "200": kept | {"links": links.of_upload()},
        "202": json_answer(
            "A video that is transformed before it is kept.", ref("Queued"), imagekit.QUEUED, **_ANSWERED
        ),
    }
    found = {status: tuple(codes) for status, codes in imagekit.codes_by_status(version).items()}
    for status, codes in sorted((found | _OUTAGES).items()):
        responses[str(status)] = upload_error(status, codes, imagekit.message_for(version, codes[0]))
    early = "The credential may come in headers besides, or instead: it is then verified before the body is read."
    return {
        "operationId": operation,
        "tags": ["Upload API"],
        "summary": f"Upload a file with a {version} credential, or with the private key",
        "description": f"{early} Errors are in ImageKit's shape; our code is in `X-Tokensvc-Code`."
        + (" SDKs of 2020 and before send here." if operation.endswith("Path") else ""),
        "security": [{"uploadToken": []}, {"privateKey": []}, {}],
        "parameters": [IDEMPOTENCY_KEY, *_early(version)],
        "requestBody": {"required": True, "content": {"multipart/form-data": _form(version)}},
        "responses": responses,
    }


def _early(version: Version) -> list[Node]:
    names = ("X-Upload-Expire", "X-Upload-Signature", "X-Upload-Public-Key") if version == "v1" else ()
    return [
        {"name": name, "in": "header", "description": "As the form's field.", "schema": {"type": "string"}}
        for name in names
    ]


def _form(version: Version) -> Node:
    credential: Node = {"token": {"type": "string", "description": "Of the credential; not with the private key."}}
    if version == "v1":
        credential |= {name: {"type": "string"} for name in ("expire", "signature", "publicKey")}
    shown = {"token": JWT} if version == "v2" else {name: str(text) for name, text in V1.items()}
    return {
        "schema": {
            "type": "object",
            "required": ["file", "fileName"] if version == "v1" else ["file"],
            "properties": {"file": _FILE, **parameters_in_form(), **credential},
            "description": "Fields whose text is empty are as none."
            if version == "v1"
            else "With a JWT, exactly the fields that it binds, as the same texts.",
        },
        "example": {"file": "R0lGODlhAQABAAAAACw=", "fileName": "a.gif", **shown},
    }


def _file(operation: str) -> Node:
    kept = {"Cache-Control": {"required": True, "schema": {"type": "string"}}}
    named = {"ETag": {"required": True, "schema": {"type": "string"}}}
    whole: Node = {"headers": _SAFETY | kept | named}
    content: Node = {} if operation == "headFile" else {"content": {"*/*": {"schema": {}}}}
    nothing: Node = {"description": "The request's conditions say so.", "headers": _SAFETY | kept | named}
    responses = {
        "200": {"description": "The file; only pictures, films and sounds are shown in place.", **whole, **content},
        "206": {"description": "The part of it that `Range` asks for.", **whole, **content},
        "304": nothing,
        "412": nothing,
        **refusals(Code.CALLER_FORBIDDEN, "not_found", *STORE),
        "416": problem(416, [Code.REQUEST_MALFORMED]),
    }
    if operation == "headFile":
        responses = {
            status: {name: part for name, part in each.items() if name != "content"}
            for status, each in responses.items()
        }
    return {
        "operationId": operation,
        "tags": ["Upload API"],
        "summary": "An uploaded file" if operation == "getFile" else "The same without its bytes",
        "responses": responses,
    }
