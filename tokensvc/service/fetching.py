"""Fetch: whether a file may be had from a URL, and the file.

A v2 credential binds every field but `file`, and a v1 credential none. So the URL is held to the profile here, where
the file is fetched: to what the profile says then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tokensvc.core.callers import Caller
from tokensvc.core.errors import Code, Refusal
from tokensvc.core.grants import GrantNote
from tokensvc.core.profiles import Profile
from tokensvc.core.templates import values_for
from tokensvc.ports import Clock, Incoming, RemoteFiles


@dataclass(frozen=True, slots=True)
class Remote:
    """A file that came as a URL. `receive` takes in its bytes within the endpoint's limits, and is called once."""

    url: str
    receive: Callable[[Iterator[bytes]], Incoming]


@dataclass(frozen=True, slots=True)
class Fetching:
    """What fetches, and for whom: under profiles that say so, and with the private key if `by_private_key`."""

    files: RemoteFiles
    profiles: Mapping[str, Profile]
    by_private_key: bool
    clock: Clock

    def with_private_key(self, remote: Remote) -> Incoming:
        """The file, for who has the account's private key."""
        if not self.by_private_key:
            raise _forbidden("is a URL, and this service does not fetch files", "Send the file itself.")
        return self._fetch(remote, lambda _: None)

    def with_credential(self, remote: Remote, grant: GrantNote | None) -> Incoming:
        """The file, for whom the grant names; None is a credential that was minted elsewhere."""
        profile = None if grant is None else self.profiles.get(grant.profile)
        rule = None if profile is None else profile.remote
        if grant is None or profile is None or rule is None:
            raise _forbidden("is a URL, which the profile does not let clients send", "Send the file itself.")
        values = values_for(Caller(grant.source, grant.subject), self.clock(), "file")

        def permit(url: str) -> None:
            objection = rule.objection(url, values)
            if objection:
                remedy = f"Send a URL, and one that is not redirected, as profile {profile.name} allows it."
                raise _forbidden(f"is, or is redirected to, a URL that {objection}", remedy)

        return self._fetch(remote, permit)

    def _fetch(self, remote: Remote, permit: Callable[[str], None]) -> Incoming:
        with self.files.open(remote.url, permit=permit) as pieces:
            return remote.receive(pieces)


def _forbidden(reason: str, remedy: str) -> Refusal:
    return Refusal(Code.PARAMETER_FORBIDDEN, f"file {reason}.", remedy, field="file")
