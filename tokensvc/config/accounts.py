"""The `[accounts]` tables: key pairs and custom metadata fields, as ImageKit's dashboard has them."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from tokensvc.core import metadata

from .spellings import MetadataName, PrivateKey, PublicKey, Url, fault
from .table import Table


class Key(Table):
    """A key pair of the account; all of them verify."""

    public_key: PublicKey = Field(description="the account's public key, `public_…`")
    private_key: PrivateKey = Field(description="the private key that belongs to it, `private_…`")
    accept_until: AwareDatetime | None = Field(
        default=None,
        description="until when credentials of a retired key are still accepted, such as `2026-12-01T00:00:00Z`; "
        "not for the active key",
    )


class MetadataField(Table):
    """A field of the account's custom metadata. With none declared, an upload may send any with any values."""

    type: Literal["Text", "Textarea", "Number", "Date", "Boolean", "SingleSelect", "MultiSelect"] = Field(
        description="`Text`, `Textarea`, `Number`, `Date`, `Boolean`, `SingleSelect` or `MultiSelect`"
    )
    required: bool = Field(default=False, description="whether an upload that sends custom metadata must have it")
    min_length: int | None = Field(default=None, ge=0, description="characters of a text, at least")
    max_length: int | None = Field(default=None, ge=0, description="characters of a text, at most")
    min_value: int | float | str | None = Field(
        default=None, description='least number, or earliest date in ISO 8601, such as `"2026-11-30T10:11:10Z"`'
    )
    max_value: int | float | str | None = Field(default=None, description="greatest number, or latest date")
    options: list[str | bool | int | float] = Field(default=[], description="values that may be selected")

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        try:
            self.build()
        except ValueError as exc:
            raise fault("metadata", str(exc)) from None
        return self

    def build(self) -> metadata.MetadataField:
        """The field as the rules know it; ValueError says what does not belong together."""
        values = (self.min_length, self.max_length, self.min_value, self.max_value, tuple(self.options))
        return metadata.MetadataField(self.type, self.required, *values)


class Account(Table):
    """An ImageKit account. `IMAGEKIT_PUBLIC_KEY` and its companions are a short form of `[accounts.default]`."""

    url_endpoint: Url = Field(default="", description="the account's URL endpoint at ImageKit")
    active: str = Field(description="the public key of the pair that signs; to add a pair is not to use it")
    keys: list[Key] = Field(min_length=1, description="the key pairs, below")
    metadata_fields: dict[MetadataName, MetadataField] = Field(
        default={}, description="custom metadata fields of the account, below"
    )
