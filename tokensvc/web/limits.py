"""`/auth/limits` and `/auth/NAME/limits`: what a page can show its user before anything is uploaded. Issues nothing."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from tokensvc.core.offers import Offer, ParameterOffer
from tokensvc.core.quotas import Remaining
from tokensvc.service.issue import Issue

from .identity import presented
from .json_bodies import private_json
from .rate_headers import left_headers


def limits_blueprint(issue: Issue, plan_max_bytes: int | None) -> Blueprint:
    """The routes that tell. `plan_max_bytes` is what the own upload endpoint takes at most; None if there is none."""
    blueprint = Blueprint("limits", __name__)

    @blueprint.get("/auth/limits", defaults={"profile": "default"})
    @blueprint.get("/auth/<profile:profile>/limits")
    def limits(profile: str) -> Response:
        offer, remaining, left = issue.offer(profile, presented())
        return private_json(_rendered(offer, remaining, plan_max_bytes), *left_headers(left))

    return blueprint


def _rendered(offer: Offer, remaining: Remaining, plan_max_bytes: int | None) -> dict[str, Any]:
    limits, bounds = offer.limits, [offer.limits.max_bytes, plan_max_bytes]
    return {
        "profile": offer.profile,
        "versions": offer.versions,
        "lifetime": offer.lifetime,
        "uses": offer.uses.count,
        "spend": offer.uses.spend,
        "max_bytes": min((bound for bound in bounds if bound is not None), default=None),
        "types": limits.types,
        "parameters": {name: _parameter(each) for name, each in offer.parameters.items()},
        "rate": None if limits.rate is None else {"count": limits.rate.count, "seconds": limits.rate.seconds},
        "per_day": limits.per_day,
        "outstanding": limits.outstanding,
        "remaining": {
            "rate": remaining.rate,
            "per_day": remaining.per_day,
            "outstanding": remaining.outstanding,
        },
    }


def _parameter(offer: ParameterOffer) -> dict[str, Any]:
    members = {"forced": offer.forced, "choose": offer.choose, "default": offer.default}
    return {name: value for name, value in members.items() if value is not None}
