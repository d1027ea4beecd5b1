"""The shapes of what is sent and answered. Each is exact: a member that is not here is refused, or never answered."""

from __future__ import annotations

from typing import Any, Final

from tokensvc.core.params import MAX_VALUE_CHARACTERS, PARAMETERS, Kind
from tokensvc.core.window import MAX_LIFETIME_SECONDS
from tokensvc.ports import Outcome
from tokensvc.web.problems import STATUS

from .answers import Node, ref

TEXT: Final[Node] = {"type": "string"}
COUNT: Final[Node] = {"type": "integer", "minimum": 0}
SECONDS: Final[Node] = {"type": "integer", "description": "Unix seconds."}
UUID: Final = "8d6e2a0c-3c0e-4f4e-9a3f-6d1b2c3d4e5f"
SIGNATURE: Final = "71c4d6f1c1b9b4a2f1f7e3f0a5d2b8c9e0a1b2c3"
JWT: Final = "eyJhbGciOiJIUzI1NiJ9.eyJmaWxlTmFtZSI6ImEuanBnIn0.c2lnbmF0dXJl"
ID: Final[Node] = {"type": "string", "pattern": "^[0-9a-f]{24}$"}


def closed(required: dict[str, Node], optional: dict[str, Node] | None = None, **more: Any) -> Node:  # noqa: ANN401
    """An object with these members and no others."""
    return {
        "type": "object",
        "required": list(required),
        "properties": required | (optional or {}),
        "additionalProperties": False,
        **more,
    }


def or_null(node: Node) -> Node:
    """The same, or null."""
    return {"anyOf": [node, {"type": "null"}]}


def fixed(value: str | bool, says: str = "") -> Node:
    """This value and no other."""
    return {"const": value, **({"description": says} if says else {})}


_KINDS: Final[dict[Kind, Node]] = {
    Kind.FLAG: {"anyOf": [{"enum": ["true", "false", ""]}, {"type": "boolean"}]},
    Kind.LIST: {"anyOf": [TEXT, {"type": "array", "items": {"type": "string", "pattern": "^[^,]*$"}}]},
    Kind.JSON: {"anyOf": [TEXT, {"type": "object"}, {"type": "array"}]},
    Kind.TEXT: {"anyOf": [TEXT, {"type": "boolean"}, {"type": "integer"}]},
}


def parameters_in_json() -> dict[str, Node]:
    """The upload parameters as a member of `uploadPayload` may have them."""
    return {
        name: {**_KINDS[parameter.kind], "description": _sentence(parameter.meaning)}
        for name, parameter in PARAMETERS.items()
    }


def parameters_in_form() -> dict[str, Node]:
    """The upload parameters as fields of a form, which are texts."""
    return {
        name: {
            **({"enum": ["true", "false"]} if parameter.kind is Kind.FLAG else {"type": "string"}),
            "description": _sentence(parameter.meaning),
        }
        for name, parameter in PARAMETERS.items()
    }


def _sentence(meaning: str) -> str:
    return f"{meaning[0].upper()}{meaning[1:]}."


_V1: Final = {
    "token": {"type": "string", "pattern": "^[!-~]{1,128}$", "description": "Good for one upload."},
    "expire": SECONDS,
    "signature": {"type": "string", "pattern": "^[0-9a-f]{40}$"},
    "publicKey": TEXT,
}
_SENT_V1: Final = {
    "version": fixed("v1"),
    "token": {"type": "string", "minLength": 1},
    "expire": {"anyOf": [{"type": "string", "minLength": 1}, {"type": "integer"}], "description": "Unix seconds."},
    "signature": {"type": "string", "minLength": 1},
}
_SENT_V2: Final = {
    "version": fixed("v2"),
    "token": {"type": "string", "minLength": 1, "description": "The JWT."},
}
_FORM_FIELDS: Final[Node] = {
    "anyOf": [{"type": "object", "additionalProperties": TEXT}, {"type": "null"}],
    "description": "The text fields of the upload's form, without the file: they are held to what was signed.",
}
_V1_KEY: Final = {"publicKey": {"type": "string", "description": "Which key signed; by default it is looked for."}}
_SINCE: Final = {
    "issued_before": {
        "type": "integer",
        "minimum": 10**9,
        "maximum": 10**10 - 1,
        "description": "Unix seconds; what was issued earlier is revoked. At most a minute ahead.",
    }
}
_NAME: Final = {"type": "string", "minLength": 1}

_PROBLEM: Final = closed(
    {
        "type": {"type": "string", "description": "The page of this code."},
        "title": {"enum": sorted({title for _, title in STATUS.values()})},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "What was wrong, in words; it names the field."},
        "code": ref("ErrorCode"),
        "request_id": ID,
        "message": {"type": "string", "description": "As detail, where ImageKit's clients look for it."},
        "help": {"type": "string", "description": "What to do about it."},
    },
    description="An error (RFC 9457).",
    examples=[
        {
            "type": "/docs/errors/credential.replayed",
            "title": STATUS["credential.replayed"][1],
            "status": 409,
            "detail": "The credential was used before.",
            "code": "credential.replayed",
            "request_id": "5f2c9a7be01d43868a9c0b1e",
            "message": "The credential was used before.",
            "help": "Fetch a new credential for each upload, just before it starts.",
        }
    ],
)

_PARAMETER_OFFER: Final = closed(
    {},
    {
        "forced": {"type": "string", "description": "Set whatever the client says."},
        "choose": {
            "anyOf": [TEXT, {"type": "array", "items": TEXT}],
            "description": "What the client may say: `free`, a list of values, or a rule in words.",
        },
        "default": {"type": "string", "description": "Set where the client says nothing."},
    },
)

_LIMITS: Final = closed(
    {
        "profile": TEXT,
        "versions": {"type": "array", "items": {"enum": ["v1", "v2"]}},
        "lifetime": {"type": "integer", "minimum": 1, "maximum": MAX_LIFETIME_SECONDS, "description": "Seconds."},
        "uses": {"type": "integer", "minimum": 1, "description": "Uploads a credential is good for."},
        "spend": {"enum": ["on-attempt", "on-success"]},
        "max_bytes": or_null(COUNT),
        "types": {"type": "array", "items": TEXT, "description": "MIME types and ranges; none is all."},
        "parameters": {"type": "object", "additionalProperties": _PARAMETER_OFFER},
        "rate": or_null(closed({"count": COUNT, "seconds": COUNT})),
        "per_day": or_null(COUNT),
        "outstanding": or_null(COUNT),
        "remaining": closed(
            {"rate": or_null(COUNT), "per_day": or_null(COUNT), "outstanding": or_null(COUNT)},
            description="How many more credentials there are by each limit; null where nothing is limited.",
        ),
    },
    description="What a page can show before anything is uploaded.",
)

_GRANT: Final = closed(
    {"version": {"enum": ["v1", "v2"]}, "account": TEXT},
    {
        "profile": TEXT,
        "source": TEXT,
        "subject": TEXT,
        "issued_at": SECONDS,
        "restrictions": closed(
            {
                "forced": {"type": "object", "additionalProperties": TEXT},
                "max_bytes": or_null(COUNT),
                "types": {"type": "array", "items": TEXT},
            },
            description="What a v1 credential does not bind: hold the upload to it.",
        ),
        "fields": {"type": "object", "additionalProperties": TEXT, "description": "What a v2 credential binds."},
    },
    description="What the credential was good for; of one that was minted elsewhere only what it says itself.",
)

_ACTIVE: Final = closed(
    {
        "active": fixed(value=True),
        "uses_left": {"type": "integer", "minimum": 1},
        "version": {"enum": ["v1", "v2"]},
        "account": TEXT,
        "exp": SECONDS,
    },
    {"iat": SECONDS, "sub": TEXT, "source": TEXT, "profile": TEXT},
)

_UPLOADED: Final = closed(
    {
        "fileId": ID,
        "name": {"type": "string", "description": "As it is kept: other characters replaced, and a suffix."},
        "size": COUNT,
        "versionInfo": closed({"id": ID, "name": {"type": "string", "pattern": "^Version [0-9]+$"}}),
        "filePath": {"type": "string", "pattern": "^/"},
        "url": {"type": "string", "format": "uri"},
        "fileType": {"enum": ["image", "non-image"]},
        "thumbnailUrl": or_null({"type": "string", "format": "uri"}),
        "AITags": {"type": "null"},
    },
    {
        "height": COUNT,
        "width": COUNT,
        "bitRate": {**COUNT, "description": "Of a video, kilobits a second."},
        "duration": {**COUNT, "description": "Of a video, seconds."},
        "videoCodec": TEXT,
        "audioCodec": TEXT,
        "description": TEXT,
        "extensionStatus": {
            "type": "object",
            "additionalProperties": fixed("pending"),
            "description": "They are noted, and never carried out here.",
        },
        "tags": or_null({"type": "array", "items": TEXT}),
        "customCoordinates": or_null(TEXT),
        "isPrivateFile": {"type": "boolean"},
        "isPublished": {"type": "boolean"},
        "customMetadata": {"type": "object"},
        "embeddedMetadata": {"type": "object"},
        "metadata": {"type": "object"},
    },
    description="A stored file, as ImageKit answers. The last seven members only if `responseFields` asks for them.",
)


def schemas() -> dict[str, Node]:
    """Every schema by its name in the document."""
    return {
        "ErrorCode": {"enum": [str(code) for code in STATUS], "description": "Each has a page: `/docs/errors/CODE`."},
        "Problem": _PROBLEM,
        "UploadError": closed({"message": TEXT, "help": TEXT}, description="An error in ImageKit's shape."),
        "CredentialV1": closed(_V1, description="Send all four with the upload's form."),
        "CredentialV2": closed(
            {"token": {"type": "string", "description": "A JWT that binds every field of the form."}}
        ),
        "UploadPayload": {
            "type": "object",
            "properties": parameters_in_json(),
            "additionalProperties": False,
            "description": "The fields that the upload's form will have, as the same texts, each of at most "
            f"{MAX_VALUE_CHARACTERS} characters. Which of them a client may choose is the profile's word.",
        },
        "Ask": {
            "type": "object",
            "required": ["uploadPayload"],
            "properties": {
                "uploadPayload": ref("UploadPayload"),
                "expire": or_null(
                    {
                        "type": "integer",
                        "minimum": 1,
                        "maximum": MAX_LIFETIME_SECONDS,
                        "description": "Seconds; at most the profile's lifetime.",
                    }
                ),
                "publicKey": {
                    "type": ["string", "null"],
                    "description": "The key that is meant; any but the active one is refused.",
                },
            },
            "description": "Members that are not known are passed over: SDKs send their own.",
        },
        "AskBatch": {
            "oneOf": [
                closed({"version": fixed("v1"), "count": {"type": "integer", "minimum": 1, "maximum": 100}}),
                closed(
                    {
                        "version": fixed("v2"),
                        "uploads": {"type": "array", "items": {}, "minItems": 1, "maxItems": 100},
                    },
                    {"expire": or_null({"type": "integer", "minimum": 1, "maximum": MAX_LIFETIME_SECONDS})},
                    description="An entry of `uploads` that is no `UploadPayload` is told in its place of the answer.",
                ),
            ]
        },
        "Batch": closed(
            {
                "publicKey": TEXT,
                "credentials": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": 100,
                    "items": {"oneOf": [ref("CredentialV1"), ref("CredentialV2"), ref("NotIssued")]},
                },
            }
        ),
        "NotIssued": closed(
            {
                "error": closed(
                    {"code": ref("ErrorCode"), "field": or_null(TEXT), "detail": TEXT},
                    description="Why there is no credential for this upload. The others are issued all the same.",
                )
            }
        ),
        "Limits": _LIMITS,
        "Redemption": {
            "oneOf": [closed(_SENT_V1, _V1_KEY), closed(_SENT_V2, {"fields": _FORM_FIELDS})],
        },
        "Sent": {"oneOf": [closed(_SENT_V1, _V1_KEY), closed(_SENT_V2)]},
        "Explicable": {
            "oneOf": [
                closed(_SENT_V1, {**_V1_KEY, "fields": _FORM_FIELDS}),
                closed(_SENT_V2, {"fields": _FORM_FIELDS}),
            ]
        },
        "Spent": closed({"outcome": fixed("spent"), "grant": _GRANT}),
        "Introspection": {
            "oneOf": [closed({"active": fixed(value=False)}), _ACTIVE],
            "description": "As RFC 7662 has it, and what else is known.",
        },
        "Revocation": {
            "oneOf": [
                closed({"token": {"type": "string", "minLength": 1}}, description="One credential, of either version."),
                closed(
                    {"subject": _NAME, **_SINCE},
                    {"source": {**_NAME, "description": "Only those that this caller source named so."}},
                ),
                closed({"profile": _NAME, **_SINCE}),
                closed({"account": _NAME, **_SINCE}),
            ]
        },
        "Revoked": {
            "oneOf": [
                closed(
                    {
                        "revoked": {"enum": [0, 1]},
                        "outcome": {
                            "enum": sorted(
                                {*map(str, (Outcome.REVOKED, Outcome.REPLAYED, Outcome.STALE, Outcome.UNISSUED))}
                            )
                        },
                    }
                ),
                closed({"revoked": fixed("watermark")}),
            ]
        },
        "Explanation": closed(
            {
                "good": {"type": "boolean", "description": "It would be spent now."},
                "reasons": {
                    "type": "array",
                    "items": closed({"code": ref("ErrorCode"), "field": or_null(TEXT), "detail": TEXT}),
                },
            }
        ),
        "Uploaded": _UPLOADED,
        "Queued": closed({"message": TEXT}, description="ImageKit's answer to a video that it transforms first."),
        "Alive": closed({"status": fixed("alive")}),
        "Ready": closed(
            {"status": fixed("ready")},
            {"down": {"type": "array", "items": TEXT, "description": "Servers of the store that do not answer."}},
        ),
        "Stopping": closed({"status": fixed("stopping")}),
    }
