"""The shapes of what is sent and answered. Each is exact: a member that is not here is refused, or never answered."""

from __future__ import annotations

from typing import Final

from tokensvc.core.params import MAX_VALUE_CHARACTERS, PARAMETERS, Kind
from tokensvc.core.window import MAX_LIFETIME_SECONDS
from tokensvc.ports import Outcome
from tokensvc.web.problems import STATUS

from .answered import ACTIVE, GRANT, LIMITS, UPLOADED
from .answers import Node, ref
from .shapes import ID, SECONDS, TEXT, closed, fixed, or_null

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
        "Limits": LIMITS,
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
        "Spent": closed({"outcome": fixed("spent"), "grant": GRANT}),
        "Introspection": {
            "oneOf": [closed({"active": fixed(value=False)}), ACTIVE],
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
        "Uploaded": UPLOADED,
        "Queued": closed({"message": TEXT}, description="ImageKit's answer to a video that it transforms first."),
        "Alive": closed({"status": fixed("alive")}),
        "Ready": closed(
            {"status": fixed("ready")},
            {"down": {"type": "array", "items": TEXT, "description": "Servers of the store that do not answer."}},
        ),
        "Stopping": closed({"status": fixed("stopping")}),
    }
