"""The upload API's answers as ImageKit gives them: success JSON, error texts and statuses.

The texts that ImageKit has never published are marked; they stand in this one table so that they can be replaced.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from flask import Response, json

from tokensvc.core import forms
from tokensvc.core.errors import Code, Refusal
from tokensvc.core.params import elements
from tokensvc.core.upload import Kind, StoredFile

_EXPIRE = (
    "Your request contains invalid expire parameter. Expire parameter should be a Unix time in less than 1 hour into "
    "the future."
)
_BOTH = (
    "Your request contains both {} and basic auth parameter. Use only one method, you might be exposing your private "
    "API key."
)
_USED = (
    "The token with value '{token}' has been used before. We suggest using V4 UUIDs, or another random string with "
    "enough entropy to avoid collisions."
)
_NAME_TAKEN = (
    "A file with the same name already exists at the exact location. We could not overwrite it because both "
    "overwriteFile and useUniqueFileName are set to false."
)
_TRANSFORMATION = "The file could not be uploaded because {}."

# (version or "", code, field or "") -> status, message. The most exact row wins; rows marked U are unpublished texts.
_TEXTS: Final[dict[tuple[str, str, str], tuple[int, str]]] = {
    ("", Code.REQUEST_MALFORMED, "file"): (400, "Your request is missing file parameter."),
    ("v1", Code.REQUEST_MALFORMED, "authorization"): (400, _BOTH.format("signature")),
    ("v2", Code.REQUEST_MALFORMED, "authorization"): (400, _BOTH.format("token")),
    ("", Code.CALLER_INVALID, ""): (403, "Your account cannot be authenticated."),
    ("v1", Code.CALLER_MISSING, ""): (401, "Your request does not contain private API key."),
    ("v2", Code.CALLER_MISSING, ""): (400, "Your request is missing token parameter."),
    ("v1", Code.EXPIRE_INVALID, ""): (400, _EXPIRE),
    ("v1", Code.CREDENTIAL_INVALID, "expire"): (400, _EXPIRE),
    ("v1", Code.CREDENTIAL_EXPIRED, ""): (400, _EXPIRE),
    ("v1", Code.CREDENTIAL_INVALID, ""): (400, "Your request contains invalid signature parameter."),  # U
    ("v2", Code.CREDENTIAL_INVALID, ""): (400, "Your request has invalid token."),
    ("v2", Code.CREDENTIAL_EXPIRED, ""): (400, "Your request contains expired token."),
    ("v1", Code.CREDENTIAL_REPLAYED, ""): (400, _USED),
    ("v2", Code.CREDENTIAL_REPLAYED, ""): (400, "Your request contains a token that has been used before."),  # U
    ("", Code.CREDENTIAL_HELD, ""): (409, "Another upload with this token is under way."),  # ours
    ("", Code.ORIGIN_FORBIDDEN, ""): (403, "Pages of this origin may not use the service."),  # ours
    ("", Code.CREDENTIAL_UNISSUED, ""): (403, "Your account cannot be authenticated."),
    ("", Code.CREDENTIAL_REVOKED, ""): (403, "Your account cannot be authenticated."),
    ("", Code.CREDENTIAL_STALE, ""): (403, "Your account cannot be authenticated."),
    ("v2", Code.PARAMETER_FORBIDDEN, ""): (
        400,
        "Your request contains invalid payload. It does not match with the payload used to generate token.",
    ),
    ("", Code.PARAMETER_FORBIDDEN, "file"): (400, "Your request contains invalid value for file parameter."),  # U
    ("", Code.PARAMETER_INVALID, "overwriteFile"): (400, _NAME_TAKEN),
    ("", Code.PARAMETER_INVALID, "transformation"): (
        400,
        _TRANSFORMATION.format("the transformation field is invalid"),
    ),
    ("", Code.PARAMETER_INVALID, "transformation.file"): (
        400,
        _TRANSFORMATION.format("transformations are supported only for image and video files"),
    ),
    ("", Code.PARAMETER_INVALID, "transformation.post"): (
        400,
        _TRANSFORMATION.format("the detected file type & post-transformation are incompatible"),
    ),
    ("", Code.PARAMETER_INVALID, "checks"): (400, "Your request contains invalid syntax for the checks parameter."),
    ("", Code.PARAMETER_FORBIDDEN, "checks"): (400, "Your request failed 'checks' validation."),
    ("v1", Code.PARAMETER_FORBIDDEN, ""): (400, "Your request contains invalid value for {field} parameter."),
    ("", Code.PARAMETER_INVALID, ""): (400, "Your request contains invalid value for {field} parameter."),
    ("", Code.RATE_LIMITED, ""): (429, "Too many requests. Try again later."),  # U
    ("", Code.TOO_LARGE, ""): (400, "Your request contains invalid file parameter. The file size exceeds limits."),
    ("", Code.REQUEST_MALFORMED, ""): (400, "Your request could not be read."),  # U
}

QUEUED: Final = {"message": "The pre-transformation has been queued successfully."}
"""ImageKit's whole answer (202) to a video that it transforms before it keeps it."""

_PREFIXES: Final = {"/api/v1/": "v1", "/api/v2/": "v2", "/v1/files/upload": "v1"}


def is_upload_api(path: str) -> bool:
    """Whether errors at this path are answered in ImageKit's shape."""
    return path.startswith(("/api/", "/v1/files/upload"))


def error_answer(refusal: Refusal, request_id: str, *, path: str, token: str) -> Response:
    """The answer to a refused upload: ImageKit's text in `message`, ours in `help`.

    ImageKit quotes a token that was used before; by then it is worth nothing.
    """
    version = next((version for prefix, version in _PREFIXES.items() if path.startswith(prefix)), "")
    status, message = _text(version, refusal, token)
    return plain_error(status, message, f"{refusal.detail} {refusal.remedy}".strip(), refusal.code, request_id)


def codes_by_status(version: str) -> dict[int, list[str]]:
    """Every status that a refusal of that version's upload may have, with its codes."""
    found: dict[int, list[str]] = {}
    for of_version, code, _ in _TEXTS:
        status, _message = _text(version, Refusal(Code(code), ""), "")
        if of_version in ("", version) and code not in found.setdefault(status, []):
            found[status].append(str(code))
    return found


def message_for(version: str, code: str) -> str:
    """ImageKit's text for a code, or a general one where it has none."""
    known = next((text for text in _TEXTS if text[1] == code and text[0] in ("", version)), None)
    return "Something went wrong." if known is None else _TEXTS[known][1]


def _text(version: str, refusal: Refusal, token: str) -> tuple[int, str]:
    for key in ((version, refusal.field or ""), ("", refusal.field or ""), (version, ""), ("", "")):
        row = _TEXTS.get((key[0], refusal.code, key[1]))
        if row is not None:
            status, message = row
            return status, message.format(token=token, field=refusal.field or "a")
    return 400, refusal.detail


def plain_error(status: int, message: str, help_text: str, code: str, request_id: str) -> Response:
    """Any error in ImageKit's shape."""
    answer = Response(json.dumps({"message": message, "help": help_text}), status, mimetype="application/json")
    answer.headers["X-Tokensvc-Code"] = code
    answer.headers.extend(named(request_id))
    return answer


def named(request_id: str) -> list[tuple[str, str]]:
    """Headers with both names under which ImageKit's clients look for the request id."""
    return [("x-ik-requestid", request_id), ("x-request-id", request_id), ("Cache-Control", "no-store, private")]


def success(file: StoredFile, base_url: str) -> dict[str, Any]:
    """The members that ImageKit answers for a stored file; `base_url` is where its path is served from."""
    body: dict[str, Any] = {
        "fileId": file.file_id,
        "name": file.name,
        "size": file.size,
        "versionInfo": {"id": file.version_id, "name": file.version_name},
        "filePath": file.file_path,
        "url": base_url + quote(file.file_path),
        "fileType": file.kind.file_type,
    }
    if file.kind.width is not None and file.kind.height is not None:
        body |= {"height": file.kind.height, "width": file.kind.width}
    body |= _of_video(file.kind)
    if file.kind.file_type == "image":  # else absent, as the SDKs' types have it: a text or nothing, never null
        body["thumbnailUrl"] = f"{base_url}/tr:n-ik_ml_thumbnail{quote(file.file_path)}"
    body["AITags"] = None
    if file.fields.get("description"):
        body["description"] = file.fields["description"]
    extensions = forms.extension_names(file.fields)
    if extensions:  # recorded, and never carried out: so none ever succeeds
        body["extensionStatus"] = dict.fromkeys(extensions, "pending")
    return body | _asked_for(file)


def _of_video(kind: Kind) -> dict[str, Any]:
    """What is known of a video: kilobits a second, whole seconds, codecs."""
    members = {
        "bitRate": None if kind.bit_rate is None else round(kind.bit_rate / 1000),
        "duration": None if kind.duration is None else round(kind.duration),
        "videoCodec": kind.video_codec,
        "audioCodec": kind.audio_codec,
    }
    return {name: value for name, value in members.items() if value is not None}


def _asked_for(file: StoredFile) -> dict[str, Any]:
    fields = file.fields
    known: dict[str, Any] = {
        "tags": list(elements("tags", fields.get("tags", ""))) or None,
        "customCoordinates": fields.get("customCoordinates") or None,
        "isPrivateFile": file.is_private,
        "isPublished": file.is_published,
        "customMetadata": forms.custom_metadata(fields),
        "embeddedMetadata": {},
        "metadata": _metadata(file),
    }
    asked = elements("responseFields", fields.get("responseFields", ""))
    return {name: value for name, value in known.items() if name in asked}


def _metadata(file: StoredFile) -> dict[str, Any]:
    """What is known without decoding the file."""
    _, _, subtype = file.kind.mime.partition("/")
    metadata: dict[str, Any] = {"size": file.size, "format": "jpg" if subtype == "jpeg" else subtype}
    if file.kind.width is not None and file.kind.height is not None:
        metadata |= {"height": file.kind.height, "width": file.kind.width}
    return metadata
