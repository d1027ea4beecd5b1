"""The larger shapes of what is answered: limits, grants, active credentials, stored files.

A member that is answered only sometimes is optional here, and one that is null says so.
"""

from __future__ import annotations

from typing import Final

from tokensvc.core.window import MAX_LIFETIME_SECONDS

from .shapes import COUNT, ID, SECONDS, TEXT, closed, fixed, or_null

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

LIMITS: Final = closed(
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

GRANT: Final = closed(
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

ACTIVE: Final = closed(
    {
        "active": fixed(value=True),
        "uses_left": {"type": "integer", "minimum": 1},
        "version": {"enum": ["v1", "v2"]},
        "account": TEXT,
        "exp": SECONDS,
    },
    {"iat": SECONDS, "sub": TEXT, "source": TEXT, "profile": TEXT},
)

UPLOADED: Final = closed(
    {
        "fileId": ID,
        "name": {"type": "string", "description": "As it is kept: other characters replaced, and a suffix."},
        "size": COUNT,
        "versionInfo": closed({"id": ID, "name": {"type": "string", "pattern": "^Version [0-9]+$"}}),
        "filePath": {"type": "string", "pattern": "^/"},
        "url": {"type": "string", "format": "uri"},
        "fileType": {"enum": ["image", "non-image"]},
        "AITags": {"type": "null"},
    },
    {
        "thumbnailUrl": {"type": "string", "format": "uri", "description": "Of an image."},
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
