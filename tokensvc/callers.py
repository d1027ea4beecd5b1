"""The caller sources that a configuration names, each by its adapter."""

from __future__ import annotations

import time

from pydantic import SecretStr

from tokensvc import config
from tokensvc.adapters.api_keys import ApiKeys, Holder
from tokensvc.adapters.callers.anonymous import Anonymous
from tokensvc.adapters.callers.forwarded import Forwarded
from tokensvc.adapters.callers.session import FlaskSession
from tokensvc.adapters.callers.ticket import Tickets
from tokensvc.adapters.demo_sign_in import DemoSignIn
from tokensvc.core.addresses import Peers
from tokensvc.core.keys import Secret
from tokensvc.ports import Audit, CallerSource, Clock


def sources_of(settings: config.Settings, clock: Clock, audit: Audit) -> dict[str, CallerSource]:
    """The caller sources by name."""
    proxies = Peers.parse(settings.proxies)
    return {name: _source(name, source, proxies, clock, audit) for name, source in settings.callers.items()}


def _source(name: str, source: config.Source, proxies: Peers, clock: Clock, audit: Audit) -> CallerSource:
    match source:
        case config.DemoSource():
            return DemoSignIn(name, _secret(source.secret_key))
        case config.SessionSource():
            keys = [_secret(key) for key in (source.secret_key, *source.fallback_keys)]
            options = {"cookie": source.cookie, "subject": source.subject}
            return FlaskSession(name, keys, clock=clock, claims=source.claims, max_age=source.max_age, **options)
        case config.BearerSource():
            return _bearer(name, source, clock, audit)
        case config.TicketSource():
            keys = [_secret(key) for key in (source.secret_key, *source.fallback_keys)]
            return Tickets(name, keys, clock=clock, max_age=source.max_age)
        case config.ForwardedSource():
            return Forwarded(name, header=source.header, trusted=Peers.parse(source.trusted))
        case config.AnonymousSource():
            return Anonymous(name, proxies=proxies)
    return ApiKeys(name, {key.sha256: Holder(key.subject, frozenset(key.may)) for key in source.keys})


def _secret(text: SecretStr) -> Secret:
    return Secret(text.get_secret_value())


def _bearer(name: str, source: config.BearerSource, clock: Clock, audit: Audit) -> CallerSource:
    from tokensvc.adapters.callers.bearer import Bearer  # noqa: PLC0415 - cryptography comes with it, slow to load
    from tokensvc.adapters.callers.jwks import Jwks  # noqa: PLC0415 - the same
    from tokensvc.adapters.callers.verifying_keys import KeySource, OneKey  # noqa: PLC0415 - the same

    if source.jwks_url is not None:
        keys: KeySource = Jwks(source.jwks_url, monotonic=time.monotonic, audit=audit)
    elif source.public_key is not None:
        keys = OneKey.from_pem(source.public_key)
    else:
        keys = OneKey.from_secret(_secret(source.secret_key or SecretStr("")))
    return Bearer(
        name,
        issuer=source.issuer,
        audience=source.audience,
        keys=keys,
        clock=clock,
        algorithms=source.algorithms,
        leeway=source.leeway,
        max_age=source.max_age,
        subject_claim=source.subject,
        required_claims=source.required_claims,
    )
