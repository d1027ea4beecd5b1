"""The file of `tokensvc policy test`, read as the configuration is: every fault at once, with its place.

A name that there is not is a fault and not a refusal that may even be expected: a misspelt source would be refused by
every profile, and a misspelt parameter is never bound.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BeforeValidator, Field, ValidationError, model_validator

from tokensvc.core import strict_json
from tokensvc.core.cases import Case, ExpectedGrant, ExpectedRefusal
from tokensvc.core.errors import Code
from tokensvc.core.params import PARAMETERS
from tokensvc.core.policy import AskV1, AskV2
from tokensvc.core.uses import SpendMode

from .faults import ConfigurationError, Fault, faults_of
from .spellings import fault
from .table import Table


def _payload(value: object) -> object:
    try:
        return strict_json.loads(strict_json.dumps(value))
    except TypeError:
        raise fault("payload", "holds what is not JSON, such as a time; put it in quotes") from None
    except ValueError as exc:
        raise fault("payload", f"cannot be used: {exc}") from None


def _code(value: object) -> object:
    if value not in list(Code):
        raise fault("code", "must be the code of a refusal, as docs/errors.md lists them")
    return value


def _parameter(value: object) -> object:
    if isinstance(value, str) and value not in PARAMETERS:
        raise fault("parameter", f"must be one of: {', '.join(PARAMETERS)}")
    return value


_ParameterName = Annotated[str, BeforeValidator(_parameter)]


class _Grant(Table):
    lifetime: int | None = Field(default=None, ge=1)
    uses: int | None = Field(default=None, ge=1)
    spend: SpendMode | None = None
    parameters: dict[_ParameterName, str] = Field(default={})
    without: list[_ParameterName] = Field(default=[])


class _Case(Table):
    name: str = Field(min_length=1)
    profile: str = "default"
    source: str | None = None
    subject: str
    claims: dict[str, str] = Field(default={})
    version: Literal["v1", "v2"] | None = None
    payload: Annotated[dict[str, Any], BeforeValidator(_payload)] | None = None
    token: str | None = None
    expire: int | None = None
    at: AwareDatetime | None = None
    grant: _Grant | None = None
    refusal: Annotated[str, BeforeValidator(_code)] | None = None
    field: str | None = None

    @property
    def is_v1(self) -> bool:
        return self.version == "v1" or (self.version is None and self.payload is None)

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if (self.grant is None) is (self.refusal is None):
            raise fault("case", 'says what is expected in one of two ways: grant = { … } or refusal = "…"')
        if self.field is not None and self.refusal is None:
            raise fault("case", "has a field, which is that of a refusal")
        if self.is_v1 and self.payload is not None:
            raise fault("case", "has a payload, which a v1 ask has not")
        if not self.is_v1 and self.token is not None:
            raise fault("case", "has a token, which a v2 ask has not")
        if self.is_v1 and self.grant is not None and (self.grant.parameters or self.grant.without):
            raise fault("case", "expects parameters, and a v1 credential binds none")
        return self

    def build(self) -> Case:
        """The case as the rules know it."""
        ask: AskV1 | AskV2 = AskV2(self.payload or {}, self.expire)
        if self.is_v1:
            ask = AskV1(self.token, None if self.expire is None else str(self.expire))
        expected: ExpectedGrant | ExpectedRefusal
        if self.grant is not None:
            expected = ExpectedGrant(
                self.grant.lifetime,
                self.grant.parameters,
                tuple(self.grant.without),
                self.grant.uses,
                self.grant.spend,
            )
        else:
            expected = ExpectedRefusal(Code(self.refusal or ""), self.field)
        at = None if self.at is None else int(self.at.timestamp())
        return Case(self.name, self.profile, self.source, self.subject, self.claims, ask, at, expected)


class _File(Table):
    case: list[_Case] = Field(min_length=1)


def load_cases(path: Path, *, sources: Collection[str]) -> list[Case]:
    """Read the file; raise `ConfigurationError` with every fault found. `sources` are the names that there are."""
    tables = _read(path)
    faults = list(_faults_in_names(tables.get("case"), sources))
    before = {fault.place for fault in faults}
    try:
        file = _File.model_validate(tables)
    except ValidationError as exc:
        faults += [_of_a_case(fault) for fault in faults_of(exc, {}) if fault.place not in before]
    if faults:
        raise ConfigurationError(faults)
    return [case.build() for case in file.case]


def _of_a_case(found: Fault) -> Fault:
    if found.what != "is not a setting":
        return found
    return Fault(found.place, "is not a member that a case has", "remove it, or look up its spelling in docs/policy.md")


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigurationError([Fault(str(path), f"cannot be read: {exc.strerror}")]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        why = exc.reason if isinstance(exc, UnicodeDecodeError) else exc
        remedy = "correct it; text values need quotes"
        raise ConfigurationError([Fault(str(path), f"is not TOML: {why}", remedy)]) from None


def _faults_in_names(cases: object, sources: Collection[str]) -> Iterator[Fault]:
    """In the raw tables, so that these are told along with the others."""
    seen: set[str] = set()
    for number, case in enumerate(cases if isinstance(cases, list) else ()):
        name, source = (case.get(member) if isinstance(case, dict) else None for member in ("name", "source"))
        if isinstance(name, str):
            if name in seen:
                yield Fault(f"case[{number}].name", f"{name!r} is the name of an earlier case", "give it its own")
            seen.add(name)
        if isinstance(source, str) and source not in sources:
            what, remedy = f"there is no source {source!r}", f"use one of: {', '.join(sources)}"
            yield Fault(f"case[{number}].source", what, remedy)
