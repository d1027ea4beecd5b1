"""Which form texts a v2 credential binds: what is forced, what the client may choose, and the defaults for the rest.

A choice is held against its rule as ImageKit reads it (a folder in its normal form, each tag by itself), and signed as
it came. What nobody names has a meaning too: no folder is the root of the media library, and no `overwriteFile` beside
a name that is not made unique replaces the file of that name, whoever's it is. So the rules have a say then as well.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from . import constraints, strict_json, upload
from .callers import Caller
from .checks import compile_checks
from .errors import Code, Refusal
from .metadata import require_metadata
from .params import CLAIMED_BY_US, ENVELOPE, PARAMETERS, as_text, elements, require_text
from .profiles import Profile
from .rules import AllowAny, Rule
from .templates import Place, Values, compile_template, fill, values_for

_NEVER_PARAMETERS: Final = CLAIMED_BY_US | ENVELOPE
_QUOTED: Final = 64
"""Characters of a client's text that an answer repeats."""


@dataclass(frozen=True, slots=True)
class Occasion:
    """One ask: under which profile, by whom, when (Unix seconds).

    `notes` has a line for each rule applied so far, if somebody wants to read them: to write them takes as long as to
    apply the rules.
    """

    profile: Profile
    caller: Caller
    now: int
    notes: list[str] | None = None

    def note(self, line: Callable[[], str]) -> None:
        """Add a line, if they are wanted."""
        if self.notes is not None:
            self.notes.append(line())


def filled(occasion: Occasion, templates: Mapping[str, str]) -> dict[str, str]:
    """The texts of a profile's `force` or `defaults` this once, each good for ImageKit, or a refusal."""
    texts = {}
    for name, text in templates.items():
        values = values_for(occasion.caller, occasion.now, name)
        texts[name] = require_text(name, fill(compile_template(text), values))
        _require(occasion.profile, name, texts[name])
    return texts


@dataclass(frozen=True, slots=True)
class Fixed:
    """The texts of one ask that do not follow from its payload, and the `checks` of the profile's limits and those."""

    forced: Mapping[str, str]
    defaults: Mapping[str, str]
    checks: str | None


def fixed(occasion: Occasion, forced: Mapping[str, str]) -> Fixed:
    """What is the same for all that is asked on this occasion. `forced` is filled."""
    return Fixed(forced, filled(occasion, occasion.profile.defaults), compile_checks(occasion.profile.limits, forced))


def choose(occasion: Occasion, payload: Mapping[str, Any], fixed: Fixed) -> dict[str, str]:
    """Return the texts to sign, or refuse a choice by name with the rule that refused it."""
    profile, allow, forced, defaults = occasion.profile, occasion.profile.allow, fixed.forced, fixed.defaults
    chosen: dict[str, str] = {}
    for name, value in payload.items():
        text = choose_one(occasion, name, value, fixed)
        if text is not None:
            chosen[name] = text
    left = {name: text for name, text in defaults.items() if name not in chosen}
    if "folder" in allow and "folder" not in chosen and "folder" not in left and "folder" not in forced:
        _require_root(occasion)
    if chosen.get("useUniqueFileName") == "false" != defaults.get("useUniqueFileName"):
        _require_own_file(occasion, chosen.keys() | left.keys() | forced.keys())
    if occasion.notes is not None:
        by = f"profile {profile.name}"
        occasion.notes.extend(f"{name}: set to {text!r} by default of {by}" for name, text in left.items())
        occasion.notes.extend(f"{name}: forced to {text!r} by {by}" for name, text in forced.items())
    return _with_checks(occasion, {**chosen, **left}, fixed)


def choose_one(occasion: Occasion, name: str, value: object, fixed: Fixed) -> str | None:
    """The text of one choice, or None if it is set aside for what is forced; or refuse it, whatever else is chosen."""
    profile, forced = occasion.profile, fixed.forced
    if name not in profile.allow and name not in fixed.defaults and name not in forced:
        _require_parameter(name)
        raise _not_to_choose(profile, name)
    if name not in forced and _is_known_as_good(occasion, name, value):
        return str(value)
    text = as_text(name, value)
    if name in forced and not (name == "checks" and name in profile.allow):
        if text != forced[name]:
            _note_set_aside(occasion, name, text)
        return None
    _require(profile, name, text)
    _require_allowed(occasion, name, text, fixed.defaults.get(name))
    return text


_OF_ONE_FILE: Final = frozenset({"fileName", "description"})
"""Whose texts do not come again."""

_MOST_REMEMBERED: Final = 128
"""Characters of a text that is kept in memory: it is a stranger's."""


def _is_known_as_good(occasion: Occasion, name: str, value: object) -> bool:
    """Whether this choice is one that anybody may make, and was looked at before; False says nothing."""
    if value.__class__ is not str or name in _OF_ONE_FILE or len(value) > _MOST_REMEMBERED:
        return False
    rule = occasion.profile.allow.get(name)
    if (
        rule is None
        or occasion.notes is not None
        or (name == "customMetadata" and occasion.profile.metadata is not None)
    ):
        return False
    return _is_good_for_all(rule, name, str(value))


class _DependsOnCaller(Exception):  # noqa: N818 - no error
    """The rule has a place that is filled with what is known of the caller."""


def _nobodys(_place: Place) -> str:
    raise _DependsOnCaller


@lru_cache(maxsize=1024)
def _is_good_for_all(rule: Rule, name: str, text: str) -> bool:
    """Whether the rule lets everybody choose this text, and ImageKit takes it. All of that is pure."""
    try:
        constraints.require(name, require_text(name, text))
        return _objection(rule, name, text, _nobodys) is None
    except (Refusal, _DependsOnCaller):
        return False


def _note_set_aside(occasion: Occasion, name: str, text: str) -> None:
    occasion.note(lambda: f"{name}: {_quoted(text)} of the client is set aside")


def _require(profile: Profile, name: str, text: str) -> None:
    """Refuse what ImageKit would refuse, with the fields of the account if they are known."""
    constraints.require(name, text)
    if name == "customMetadata" and profile.metadata is not None:
        require_metadata(profile.metadata, strict_json.loads_object(text.encode()))


def _require_parameter(name: str) -> None:
    if name in _NEVER_PARAMETERS:
        raise Refusal(
            Code.PARAMETER_INVALID,
            f"uploadPayload holds {name}, which is not a parameter of the upload.",
            f"Leave {name} out of uploadPayload.",
            field=name,
        )
    if name not in PARAMETERS:
        raise Refusal(
            Code.PARAMETER_INVALID,
            f"{name[:64]!r} is not an upload parameter.",
            "Leave it out; names are case-sensitive.",
            field="uploadPayload",
        )


def _not_to_choose(profile: Profile, name: str) -> Refusal:
    return Refusal(
        Code.PARAMETER_FORBIDDEN,
        f"Profile {profile.name} does not let clients choose {name}.",
        f"Leave {name} out, or allow it in the profile.",
        field=name,
    )


def _require_allowed(occasion: Occasion, name: str, text: str, default: str | None) -> None:
    """Pass what the profile's rule admits, and what the profile would have set itself."""
    rule = occasion.profile.allow.get(name)
    if text == default:
        if occasion.notes is not None:
            _note_admitted(occasion, name, text, "the default of")
        return
    if rule is None:
        objection = f"is not {default!r}, which profile {occasion.profile.name} sets"
        raise _forbidden(name, text, objection, f"Leave {name} out, or allow it in the profile.")
    if rule.__class__ is not AllowAny:
        objected = _objection(rule, name, text, values_for(occasion.caller, occasion.now, name))
        if objected is not None:
            raise _forbidden(name, *objected, f"Choose {name} as profile {occasion.profile.name} allows it.")
    if occasion.notes is not None:
        _note_admitted(occasion, name, text, f"allowed, as {rule} is by")


def _note_admitted(occasion: Occasion, name: str, text: str, why: str) -> None:
    """Apart, since a function that has a lambda in it pays for its variables even where it is not called."""
    occasion.note(lambda: f"{name}: {_quoted(text)} is {why} profile {occasion.profile.name}")


def _objection(rule: Rule, name: str, text: str, values: Values) -> tuple[str, str] | None:
    """The element of the text that the rule does not let be chosen, and why; None if there is none."""
    for element in (upload.safe_folder(text),) if name == "folder" else elements(name, text):
        objected = rule.objection(element, values)
        if objected:
            return element, objected
    return None


def _require_root(occasion: Occasion) -> None:
    """A client that may choose only some folders may upload to the root only if that is one of them."""
    rule = occasion.profile.allow["folder"]
    objected = rule.objection("/", values_for(occasion.caller, occasion.now, "folder"))
    if objected:
        objection = f"is where an upload without folder goes, and it {objected}"
        raise _forbidden("folder", "/", objection, f"Send a folder that profile {occasion.profile.name} allows.")


def _require_own_file(occasion: Occasion, named: Collection[str]) -> None:
    """A client that keeps its file's name may replace a file: one in a folder of its own, or by the profile's word."""
    profile = occasion.profile
    if "overwriteFile" in named:  # by the profile, or by the client as the profile allows it
        return
    fixed = {**({} if "folder" in profile.allow else profile.defaults), **profile.force}.get("folder", "")
    if Place("subject") in compile_template(fixed).parts:
        occasion.note(lambda: "useUniqueFileName: 'false' can replace files in the caller's own folder only")
        return
    rule = profile.allow.get("overwriteFile")
    if rule is None:
        objection = f"lets a file replace another of that name, and profile {profile.name} does not name overwriteFile"
        remedy = 'Leave useUniqueFileName out; or set overwriteFile = "false" under the profile\'s defaults.'
        raise _forbidden("useUniqueFileName", "false", objection, remedy)
    objected = rule.objection("true", values_for(occasion.caller, occasion.now, "overwriteFile"))
    if objected:
        objection = f"without overwriteFile is as with overwriteFile 'true', which {objected}"
        raise _forbidden("useUniqueFileName", "false", objection, "Send overwriteFile as the profile allows it.")


def _forbidden(name: str, text: str, objection: str, remedy: str) -> Refusal:
    return Refusal(Code.PARAMETER_FORBIDDEN, f"{name}: {_quoted(text)} {objection}.", remedy, field=name)


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _QUOTED else f"{text[:_QUOTED]}…")


def _with_checks(occasion: Occasion, texts: dict[str, str], fixed: Fixed) -> dict[str, str]:
    """Add what is forced, and join the profile's limits to `checks`; a client's own is verbatim if there are none."""
    ours, forced, clients = fixed.checks, fixed.forced, texts.get("checks")
    if ours is None:
        return {**texts, **forced}
    joined = compile_checks(occasion.profile.limits, forced, clients) or ours if clients else ours
    occasion.note(lambda: f"checks: {ours}, by the limits and what is forced")
    return {**texts, **forced, "checks": joined}
