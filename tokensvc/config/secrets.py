"""All secrets of a configuration, for whoever has to keep them out of what is written."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel, SecretStr


def secrets_in(value: object) -> Iterator[str]:
    """The text of every secret in settings, or in a part of them."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from secrets_in(getattr(value, name))
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from secrets_in(each)
