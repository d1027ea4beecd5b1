"""The defence of callers whom the browser identifies by itself: a page of another site can make it ask in their name.

Such a page cannot read the answer, but each request would use up what the visitor may have. So a cookie counts only in
a request that shows where it comes from: by an Origin, by Sec-Fetch-Site, or by a header that no other site's page can
add without a preflight. Browsers add `Authorization: Basic` by themselves, too, and an Android WebView adds
X-Requested-With with its app's name; so neither of these is such a header.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from tokensvc.core.callers import Caller, Evidence, Presented
from tokensvc.core.errors import Code, Refusal
from tokensvc.ports import CallerSource

_OWN_SITES: Final = frozenset({"same-origin", "none"})
"""Of Sec-Fetch-Site: our own page, and the user's own hand (an address typed in, a bookmark)."""


def guard(sources: Mapping[str, CallerSource], origins: Iterable[str]) -> dict[str, CallerSource]:
    """The same sources, none of which identifies a caller in a request that another site's page may have caused.

    `origins` are the exact origins whose pages may ask. What is put into a header on purpose needs no guard.
    """
    allowed = frozenset(origins)
    return {
        name: source if source.evidence == "header" else _Guarded(source, allowed) for name, source in sources.items()
    }


@dataclass(frozen=True, slots=True)
class _Guarded:
    """A caller source that looks at where the request comes from once it knows whom."""

    source: CallerSource
    origins: frozenset[str]

    @property
    def evidence(self) -> Evidence:
        return self.source.evidence

    def identify(self, presented: Presented) -> Caller | None:
        caller = self.source.identify(presented)
        if caller is not None:
            self._require_own_site(presented)
        return caller

    def _require_own_site(self, presented: Presented) -> None:
        origin = presented.headers.get("origin")
        site = presented.headers.get("sec-fetch-site")
        if origin is not None:
            allowed = self.evidence != "own cookie" and origin in self.origins
            if not allowed and origin != presented.own_origin:
                raise _foreign()
        elif site is not None:
            if site not in _OWN_SITES:
                raise _foreign()
        elif self.evidence != "address" and not _made_by_script(presented):
            raise Refusal(
                Code.ORIGIN_FORBIDDEN,
                "The request does not show which site's page it comes from, and a cookie alone does not count.",
                "Send the header X-Requested-With: XMLHttpRequest.",
            )


def _made_by_script(presented: Presented) -> bool:
    named = presented.headers.get("x-requested-with") == "XMLHttpRequest"
    return named or bool(presented.bearer or presented.authorization("ticket"))


def _foreign() -> Refusal:
    return Refusal(
        Code.ORIGIN_FORBIDDEN,
        "Pages of another site may not ask in the name of who is signed in here.",
        "Add the exact origin (scheme, host, port) to [cors] origins, and ask by fetch with credentials.",
    )
