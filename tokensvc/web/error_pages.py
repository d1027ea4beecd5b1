"""`/docs/errors/CODE`: what each error code means and what to do about it; every problem's `type` leads here.

A browser gets a page, and who does not ask for HTML the same in plain text. `make docs` writes them to docs/errors/,
and what they have in common to docs/errors.md.
"""

from __future__ import annotations

from typing import Final

from flask import Blueprint, Response, abort, request

from .openapi.answers import Node
from .openapi.page import operations
from .pages import guard, page, prose
from .problems import STATUS

PAGES: Final[dict[str, tuple[str, str]]] = {
    "caller.missing": (
        "The request carries nothing by which any caller source of the profile could know who asks.",
        "Send the api key as `Authorization: Bearer tsk_…`, or sign in. A browser must be told to send cookies.",
    ),
    "caller.invalid": (
        "Something was presented, and it is not good: an unknown api key, a forged or old cookie, a wrong private key.",
        "Check that the whole key was copied, and that its SHA-256 is configured here. Sign in again.",
    ),
    "caller.forbidden": (
        "The caller is known, but this profile does not name its source, or its `may` list lacks the right.",
        "Use another profile, or change the profile's `callers` or the key's `may`.",
    ),
    "origin.forbidden": (
        "A browser sent the request for a page of an origin that is not listed. Nothing was issued.",
        "Add the exact origin (scheme, host and port, no path) to `[cors] origins`.",
    ),
    "profile.unknown": (
        "The path names a profile that is not configured.",
        "Use `/auth` for the profile `default`, or add `[profiles.NAME]`.",
    ),
    "version.forbidden": (
        "The profile issues only the other version.",
        "GET fetches v1, POST fetches v2; or change the profile's `versions`.",
    ),
    "request.malformed": (
        "The body, the form or the query cannot be read as what it should be; `detail` says where.",
        "Compare with docs/protocol.md. Repeated fields and duplicate JSON members are refused on purpose.",
    ),
    "expire.invalid": (
        "`expire` cannot be honoured exactly: a duration where a time is meant, milliseconds, the past, or too far.",
        "For v1 send absolute Unix seconds within the profile's lifetime, for v2 a number of seconds; or leave it out.",
    ),
    "token.invalid": (
        "A client-chosen `token` is empty, longer than 128 characters, or has blanks or characters outside of ASCII.",
        "Send a UUID, or leave `token` out.",
    ),
    "token.exists": (
        "A credential with this `token`, or with exactly these v2 parameters, was issued already.",
        "Leave `token` out. For v2 ask again in a few seconds, or vary `fileName`.",
    ),
    "key.mismatch": (
        "`publicKey` is not the key that this service signs with, so the credential could never be accepted.",
        "Leave `publicKey` out, and upload with the one in the answer.",
    ),
    "parameter.forbidden": (
        "The profile does not let clients choose this parameter; or an upload's form is not what its JWT binds.",
        "Leave it out, or allow it in the profile. Upload exactly the fields of `uploadPayload`.",
    ),
    "parameter.invalid": (
        "A parameter's name or value cannot be used; `detail` names it.",
        "Send texts without control characters, in the form that docs/protocol.md gives.",
    ),
    "credential.invalid": (
        "The credential is not genuine, or not in its one spelling. Nothing was spent.",
        "Send the fields exactly as they were issued, to the endpoint of their version.",
    ),
    "credential.expired": (
        "Its time has passed.",
        "Fetch a credential just before each upload. Compare the clocks if it was new.",
    ),
    "credential.unissued": (
        "It verifies, but is not on record: minted elsewhere with the same key, or the store was emptied.",
        'Fetch another. To take credentials of an SDK too, set `unissued = "cross-off"` in a profile.',
    ),
    "credential.revoked": (
        "It was revoked, by itself or with all that its subject, profile or account was issued before a second.",
        "Fetch another.",
    ),
    "credential.stale": (
        "The nonce store was replaced or failed over since it was issued, so it may have been spent.",
        "Fetch another. If this happens often, look at the store.",
    ),
    "credential.replayed": (
        "It was used before. Unless its profile says otherwise, it is good for one upload, also if that was refused.",
        "Fetch a credential for each upload, and do not let anything cache the answer of `/auth`.",
    ),
    "credential.held": (
        "Another upload with it is under way. It is spent if that succeeds, and free again if it does not.",
        "Wait for `Retry-After` seconds, at most, or fetch a credential for each upload.",
    ),
    "idempotency.mismatch": (
        "The same caller sent this `Idempotency-Key` before, with another body. Nothing was issued.",
        "Send a new one for each batch, and the same body with the same one.",
    ),
    "rate.limited": (
        "Too many requests came lately, of this caller or from its address. Nothing was issued, and nothing was spent.",
        "Wait for `Retry-After` seconds. `RateLimit-Policy` names the limit: `rate`, `failures` or `anonymous`.",
    ),
    "quota.exceeded": (
        "The caller has as many credentials as the profile's `per_day` or `outstanding` lets it have.",
        "Upload with those it has, or wait. If its client fetches two an upload, or many at once, raise the limit.",
    ),
    "too_large": ("The body or the file is larger than is accepted.", "Send less, or raise the limit it names."),
    "store.unavailable": (
        "The nonce store or the file store did not answer in time, so nothing is promised.",
        "Try again after `Retry-After` seconds. Operators: `/readyz` and the log say why.",
    ),
    "not_found": ("There is nothing at this path.", "Check the path."),
    "method": ("The path exists, but not with this method.", "The `Allow` header lists those it has."),
    "internal": ("Something went wrong on our side.", "Look for the `request_id` in the log, and report it."),
}

_HEAD: Final = """\
# Errors

Every refusal carries one of these codes: in the answer, in `X-Tokensvc-Code`, in the [log](logs.md) and as a label of
the [metrics](metrics.md). All but the upload API answer in this shape, `application/problem+json`; `type` leads to the
code's page, which the service has too:

```json
{
  "type": "/docs/errors/caller.missing",
  "title": "Who is asking is not known",
  "status": 401,
  "code": "caller.missing",
  "detail": "The request does not say who is asking.",
  "message": "The request does not say who is asking.",
  "help": "Sign in, or send an api key as Authorization: Bearer tsk_…",
  "request_id": "5f0c9be2a7d14e06b1c3d2f4"
}
```

`detail` says what was wrong with this request, `help` what to do, and `request_id` finds it in the log. `message` is
`detail` once more, where ImageKit's clients look for it. The upload API answers in
[ImageKit's shape](upload-api.md#errors), with the same code in its header.

| code | status | |
|---|---|---|
"""


def error_pages_blueprint(document: Node) -> Blueprint:
    """The route. `document` says which operations answer with a code."""
    blueprint = Blueprint("error_pages", __name__)

    @blueprint.get("/docs/errors/<code>")
    def error(code: str) -> Response:
        if code not in PAGES:
            abort(404)
        kinds = request.accept_mimetypes
        if kinds["text/html"] > kinds["text/plain"]:
            answer = page("error.html", **_told(document, code))
        else:
            answer = Response(section(code), mimetype="text/plain")
            guard(answer)
        answer.vary.add("Accept")
        return answer

    return blueprint


def _told(document: Node, code: str) -> Node:
    """What the template shows."""
    status, title = STATUS[code]
    cause, remedy = map(prose, PAGES[code])
    found = [
        (operation["operationId"], method.upper(), path, ", ".join(statuses))
        for path, method, operation in operations(document)
        if (statuses := [its for its, answer in operation["responses"].items() if f"`{code}`" in answer["description"]])
    ]
    return {
        "code": code,
        "status": status,
        "title": title,
        "cause": cause,
        "remedy": remedy,
        "answered": found,
        "everywhere": len(found) == sum(1 for _ in operations(document)),
        "codes": {each: status for each, (status, _) in STATUS.items()},
    }


def section(code: str) -> str:
    """One code's page as Markdown."""
    status, title = STATUS[code]
    cause, remedy = PAGES[code]
    return f"## {code}\n\n{status}: {title}.\n\n{cause}\n\n**What to do:** {remedy}\n"


def page_of(code: str) -> str:
    """One code's page of docs/errors/."""
    status, title = STATUS[code]
    cause, remedy = PAGES[code]
    return (
        f"# {code}\n\n**{status}: {title}.**\n\n## Cause\n\n{cause}\n\n## What to do\n\n{remedy}\n\n"
        "[What every answer of this kind has in it, and all other codes](../errors.md)\n"
    )


def whole_page() -> str:
    """What all codes have in common, and a line for each."""
    rows = (f"| [`{code}`](errors/{code}.md) | {status} | {title} |\n" for code, (status, title) in STATUS.items())
    return _HEAD + "".join(rows)
