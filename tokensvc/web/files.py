"""Serves what was uploaded, as something that can do nothing to those who look at it.

Files of strangers are served from the same origin as everything else here. So the type is what `inspect` found
and is not guessed again (`nosniff`), only pictures, films and sounds are shown in place, and all is sandboxed.
Scripts and style sheets go out as plain text: another page's `<script src>` minds none of the other headers.
A private file is served under a URL that one of its account's keys has signed, an unpublished one not at all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import BinaryIO, Final
from urllib.parse import quote

from flask import Blueprint, Response, abort, request, send_file
from werkzeug.exceptions import RequestedRangeNotSatisfiable

from tokensvc.core.errors import Code, Refusal
from tokensvc.core.keys import AcceptedKeys
from tokensvc.core.signed_urls import is_signed
from tokensvc.core.upload import StoredFile
from tokensvc.ports import Clock, FileStore

SHOWN_IN_PLACE: Final = frozenset(
    {
        *("image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"),
        *("video/mp4", "video/webm", "video/ogg", "video/quicktime"),
        *("audio/mpeg", "audio/mp4", "audio/ogg", "audio/wav", "audio/flac"),
    }
)
"""Never a type that can hold markup or script: no SVG, HTML, XML or PDF."""

_LOADED_BY_OTHER_PAGES: Final = frozenset({"text/javascript", "application/javascript", "text/css"})
_TRANSFORMATION = re.compile(r"\Atr:[^/]*/")
_SAFETY: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Cache-Control": "public, max-age=0, must-revalidate",
}


@dataclass(frozen=True, slots=True)
class Signers:
    """Whose signatures open private files, and the clock by which these end."""

    keys: AcceptedKeys
    clock: Clock


def files_blueprint(
    store: FileStore, account: str, url_prefix: str = "/files", signers: Signers | None = None
) -> Blueprint:
    """GET and HEAD of the files of one account, by their `filePath` under the prefix; 404 for what is not there.

    A first segment `tr:…`, which asks ImageKit for a transformation, is passed over: the original is served.
    `?ik-obj-version=<versionInfo.id>` asks for that version. Without `signers` no private file is served.
    """
    blueprint = Blueprint(f"files_{account.encode().hex()}", __name__, url_prefix=url_prefix)  # one an account

    @blueprint.get("/<path:path>", merge_slashes=False)  # no redirects: a path is a file's or nothing
    def show(path: str) -> Response:
        found = store.find(account, "/" + _TRANSFORMATION.sub("", path), request.args.get("ik-obj-version", ""))
        if found is None:
            abort(404)
        file, content = found
        if not file.is_published:
            content.close()
            abort(404)
        if file.is_private and not (signers is not None and _is_signed(signers, account, url_prefix, path)):
            content.close()
            raise Refusal(
                Code.CALLER_FORBIDDEN,
                "The file is private, and the URL is not signed, or no longer.",
                "Sign the URL with the account's private key, as ImageKit's SDKs do.",
            )
        return _answer(file, content)

    return blueprint


def _is_signed(signers: Signers, account: str, url_prefix: str, path: str) -> bool:
    """Signed is the URL as it was written, so as it came, or as it is written usually if a proxy has rewritten it."""
    query = request.query_string.decode("latin-1")
    written, _, _ = str(request.environ.get("RAW_URI", "")).partition("?")
    paths = {written.removeprefix(f"{url_prefix}/"), quote(path, safe="/:,;@!$&'()*+=~"), quote(path), path}
    now = signers.clock()
    return any(is_signed(signers.keys, account, each, query, now) for each in paths)


def _answer(file: StoredFile, content: BinaryIO) -> Response:
    mime = "text/plain" if file.kind.mime in _LOADED_BY_OTHER_PAGES else file.kind.mime
    response = send_file(
        content,
        mimetype=mime,
        as_attachment=mime not in SHOWN_IN_PLACE,
        download_name=file.name,
        conditional=False,
        etag=file.sha256,
        last_modified=file.uploaded_at,
    )
    response.content_length = file.size
    response.headers.update(_SAFETY)
    if file.is_private:
        response.headers["Cache-Control"] = "private, no-store"
    try:
        response.make_conditional(request.environ, accept_ranges=True, complete_length=file.size)
    except RequestedRangeNotSatisfiable:
        content.close()
        raise
    return response
