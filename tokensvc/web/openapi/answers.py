"""What is answered, as OpenAPI has it: headers, and the answer of each status with the error codes that it can have.

A status with its codes is written as `problems.STATUS` has them, so an operation only names its codes here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from tokensvc.core.errors import Code
from tokensvc.web.problems import STATUS

Node = dict[str, Any]
"""A part of the document."""

EVERYWHERE: Final = (Code.REQUEST_MALFORMED, Code.ORIGIN_FORBIDDEN, "internal")
"""What any path may answer: the Host or the Origin of the request is none of ours, or we are at fault."""

BODY: Final = (Code.REQUEST_MALFORMED, Code.TOO_LARGE)
KNOWN_CALLER: Final = (Code.CALLER_MISSING, Code.CALLER_INVALID, Code.CALLER_FORBIDDEN, Code.RATE_LIMITED)
STORE: Final = ("store.unavailable",)

_HEX_24: Final = {"type": "string", "pattern": "^[0-9a-f]{24}$"}

HEADERS: Final[dict[str, Node]] = {
    "RequestId": {
        "description": "The name of this request, by which it is found in the log.",
        "required": True,
        "schema": _HEX_24,
    },
    "Code": {
        "description": "The error's code, as in the body.",
        "required": True,
        "schema": {"$ref": "#/components/schemas/ErrorCode"},
    },
    "RetryAfter": {
        "description": "Seconds after which to try again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "RetryAfterIfKnown": {
        "description": "Seconds after which to try again, where waiting helps.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "RateLimit": {
        "description": 'How many more of the limit that ends first, as in `"rate";r=59`; `t` is when, in seconds.',
        "schema": {"type": "string", "pattern": '^"[^"]+";r=[0-9]+(;t=[0-9]+)?$'},
    },
    "RateLimitPolicy": {
        "description": 'That limit: `"rate";q=60;w=60` is 60 in 60 seconds.',
        "schema": {"type": "string", "pattern": '^"[^"]+";q=[0-9]+(;w=[0-9]+)?$'},
    },
    "NotKept": {
        "description": "No cache may keep the answer.",
        "required": True,
        "schema": {"const": "no-store, private"},
    },
    "NotStored": {
        "description": "No cache may keep the answer.",
        "required": True,
        "schema": {"const": "no-store"},
    },
    "NoCache": {
        "description": "The same, for caches of HTTP/1.0.",
        "required": True,
        "schema": {"const": "no-cache"},
    },
    "Challenge": {
        "description": "How to say who asks.",
        "required": True,
        "schema": {"const": 'Bearer realm="tokensvc"'},
    },
    "Allow": {
        "description": "The methods that the path has.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Z]+(, [A-Z]+)*$"},
    },
    "Revalidated": {
        "description": "A cache asks before it answers from its copy.",
        "required": True,
        "schema": {"const": "no-cache"},
    },
    "Policy": {
        "description": "What the page may do: nothing but look as it does.",
        "required": True,
        "schema": {"type": "string", "pattern": "^default-src 'none';"},
    },
    "NoSniff": {
        "description": "The type is as it is said.",
        "required": True,
        "schema": {"const": "nosniff"},
    },
    "Untracked": {
        "description": "The store is down, and the profile lets v2 credentials out all the same, without a record.",
        "schema": {"const": "store-down"},
    },
}


def headers(**names: str) -> Node:
    """References to headers; `X_Request_Id="RequestId"` is the header X-Request-Id as that component has it."""
    return {name.replace("_", "-"): {"$ref": f"#/components/headers/{of}"} for name, of in names.items()}


RATE: Final = headers(RateLimit="RateLimit", RateLimit_Policy="RateLimitPolicy")
_PROBLEM: Final = headers(X_Request_Id="RequestId", X_Tokensvc_Code="Code", Cache_Control="NotKept")
_UPLOAD_ERROR: Final = {**headers(x_ik_requestid="RequestId", x_request_id="RequestId"), **_PROBLEM}


def ref(name: str) -> Node:
    """A reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def json_answer(description: str, schema: Node, example: object = None, **more: str) -> Node:
    """An answer in JSON."""
    media: Node = {"schema": schema}
    if example is not None:
        media["example"] = example
    answer: Node = {"description": description, "content": {"application/json": media}}
    return answer | ({"headers": headers(**more)} if more else {})


def private(description: str, schema: Node, example: object, *, rate: bool = False) -> Node:
    """An answer that holds, or speaks of, a credential."""
    answer = json_answer(description, schema, example, Cache_Control="NotKept", Pragma="NoCache")
    if rate:
        answer["headers"] |= RATE
    return answer


def refusals(*codes: str, statuses: Mapping[str, int] | None = None, unsupported: bool = False) -> dict[str, Node]:
    """The answers for these codes and those that any path may have; `statuses` where they are not the usual ones.

    `unsupported` is for who reads a body: 415 if it comes in a form that is not understood.
    """
    by_status: dict[int, list[str]] = {}
    for code in dict.fromkeys((*codes, *EVERYWHERE)):
        status = (statuses or {}).get(code, STATUS[code][0])
        by_status.setdefault(status, []).append(str(code))
    if unsupported:
        by_status[415] = [str(Code.REQUEST_MALFORMED)]
    return {str(status): problem(status, by_status[status]) for status in sorted(by_status)}


def problem(status: int, codes: Iterable[str]) -> Node:
    """An error of ours (RFC 9457), with the codes that it can have."""
    known = list(codes)
    narrow = {"properties": {"status": {"const": status}, "code": {"enum": known}}}
    answer: Node = {
        "description": told(known),
        "headers": dict(_PROBLEM) | _when(status),
        "content": {
            "application/problem+json": {"schema": {"allOf": [ref("Problem"), narrow]}},
        },
    }
    return answer


def upload_error(status: int, codes: Iterable[str], message: str) -> Node:
    """An error in ImageKit's shape. Which code it has is in a header only."""
    known = list(codes)
    return {
        "description": told(known),
        "headers": dict(_UPLOAD_ERROR)
        | {
            "X-Tokensvc-Code": {
                "description": "The error's code.",
                "required": True,
                "schema": {"enum": known},
            }
        }
        | {name: one for name, one in _when(status).items() if name != "WWW-Authenticate"},
        "content": {
            "application/json": {
                "schema": ref("UploadError"),
                "example": {"message": message, "help": "What was wrong with this request, and what to do about it."},
            }
        },
    }


def told(codes: Iterable[str]) -> str:
    """The codes in words, one a line."""
    return "\n".join(f"`{code}`: {STATUS[code][1]}." for code in codes)


def _when(status: int) -> Node:
    """The headers that only some errors have."""
    more: dict[int, Node] = {
        401: headers(WWW_Authenticate="Challenge"),
        405: headers(Allow="Allow"),
        403: headers(Retry_After="RetryAfterIfKnown") | RATE,  # a proxy is told "too many" so
        409: headers(Retry_After="RetryAfterIfKnown"),
        429: headers(Retry_After="RetryAfter") | RATE,
        503: headers(Retry_After="RetryAfter"),
    }
    return more.get(status, {})
