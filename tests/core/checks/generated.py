"""Strategies: expressions of the language, limits, forced parameters and uploads, as alike as clashes need them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Any

from hypothesis import strategies as st

from tokensvc.core.checks import Comparison, Expression, Junction, Restrictions
from tokensvc.core.checks.fields import FIELDS, FLAG_DEFAULTS, METADATA_PREFIX, OPERATORS, FieldKind, Operator
from tokensvc.core.checks.language import Scalar

NUMBERS = st.integers(-(10**6), 10**9) | st.decimals(
    min_value=Decimal(-1000), max_value=Decimal(1000), places=2, allow_nan=False
).filter(lambda number: str(number) not in ("-0.00", "0.00"))
TEXTS = st.text(alphabet="ab/ .é写()[]',:1<=", max_size=8)
_VALUES: dict[FieldKind, st.SearchStrategy[Any]] = {
    FieldKind.TEXT: TEXTS,
    FieldKind.TAGS: TEXTS,
    FieldKind.FLAG: st.booleans(),
    FieldKind.SIZE: st.integers(0, 10**9) | st.sampled_from(["10kb", "1.5 MB", "0b"]),
    FieldKind.NUMBER: NUMBERS,
    FieldKind.METADATA: TEXTS | NUMBERS | st.booleans(),
}


@st.composite
def comparisons(draw: st.DrawFn) -> Comparison:
    field = draw(st.sampled_from([*FIELDS, f"{METADATA_PREFIX}colour"]))
    kind = FIELDS.get(field, FieldKind.METADATA)
    operator = draw(st.sampled_from([each for each in Operator if each in OPERATORS[kind]]))
    scalars: st.SearchStrategy[Scalar] = TEXTS if operator is Operator.STARTS_WITH else _VALUES[kind]
    if operator.takes_list:
        return Comparison(field, operator, tuple(draw(st.lists(scalars, min_size=1, max_size=3))))
    return Comparison(field, operator, draw(scalars))


def expressions() -> st.SearchStrategy[Expression]:
    def junctions(parts: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
        return st.builds(Junction, st.sampled_from(["AND", "OR"]), st.lists(parts, min_size=2, max_size=3).map(tuple))

    return st.recursive(comparisons(), junctions, max_leaves=8)


MIMES = [
    "image/png",
    "image/svg+xml",
    "image/jpeg",
    "application/pdf",
    "text/plain",
    "video/mp4",
    "imagex/png",
    "image",
]
RANGES = ["image/*", "image/png", "IMAGE/JPEG", "application/pdf", "text/*", "text/plain", "*/*", "image/svg+xml"]
FOLDERS = [
    "",
    "/",
    "/users/u1",
    "users/u1",
    "/users/u1/",
    "/users//u1",
    "/users/u10",
    "/users",
    "/users/u1/x",
    "/e\u0301",
]
FLAG_TEXTS = ["", "true", "false", "null", "undefined"]

FORCED = st.fixed_dictionaries(
    {},
    optional={
        "folder": st.sampled_from(FOLDERS),
        **dict.fromkeys(FLAG_DEFAULTS, st.sampled_from(["true", "false"])),
    },
)
RESTRICTIONS = st.builds(
    Restrictions,
    st.none() | st.integers(0, 40),
    st.lists(st.sampled_from(RANGES), max_size=3).map(tuple),
    FORCED,
)
FORMS = st.fixed_dictionaries(
    {},
    optional={
        "folder": st.sampled_from(FOLDERS),
        "tags": st.sampled_from(["", "a", "a,b"]),
        **dict.fromkeys(FLAG_DEFAULTS, st.sampled_from(FLAG_TEXTS)),
    },
)
SENT_MIMES = st.sampled_from([*MIMES, "Image/PNG", "text/plain; charset=utf-8", "image/png;q=1"])


@dataclass(frozen=True, slots=True)
class Upload:
    form: dict[str, str]
    size: int
    mime: str


def upload_near(restrictions: Restrictions, random: Random) -> Upload:
    """An upload that fits the restrictions, or fails them by a little: one byte, one field, one letter of the type."""
    form = {"tags": "a,b", **restrictions.forced}
    for name in random.sample(["folder", *FLAG_DEFAULTS], random.choice([0, 0, 1, 2])):
        form[name] = random.choice(FOLDERS if name == "folder" else FLAG_TEXTS)
        if random.random() < 0.3:
            del form[name]
    size = (
        random.randrange(45)
        if restrictions.max_bytes is None
        else restrictions.max_bytes + random.choice([-1, 0, 0, 1])
    )
    types = restrictions.types or ("image/*",)
    mime = random.choice(types).replace("*", random.choice(["png", "svg+xml"])) + random.choice(["", "", ";q=1", "x"])
    return Upload(form, max(size, 0), mime if random.random() < 0.7 else random.choice(MIMES))
