"""The tables of the upload endpoint: its plan, what it fetches, and where it keeps files."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from tokensvc.core.plans import PLANS

from .places import Place
from .spellings import Address, Bytes, HostName, PlanName, fault
from .table import Table


class Plan(Table):
    """What a file may weigh at the upload endpoint: as in a plan of ImageKit's, or as is said here."""

    name: PlanName | None = Field(
        default=None,
        description="plan of ImageKit whose limits hold where no other is said, "
        + ", ".join(f"`{name}`" for name in PLANS)
        + "; left out: 25 MB, for a video too",
    )
    max_bytes: Bytes | None = Field(
        default=None, description='largest file, in bytes or as a text such as `"25MB"`; left out: as in the plan'
    )
    max_video_bytes: Bytes | None = Field(default=None, description="largest video; left out: as in the plan")
    max_unverified_bytes: Bytes | None = Field(
        default=None,
        description="largest file that is received before anything is known of its sender, whose credential comes in "
        "the form and not in a header; left out: as any file",
    )

    @property
    def most_bytes(self) -> int:
        """Of any file."""
        return self.max_bytes or PLANS[self.name or "2022"].max_bytes

    @property
    def most_video_bytes(self) -> int:
        """Of a video, which never has to be smaller than any file."""
        of_plan = PLANS[self.name].max_video_bytes if self.name else 0
        return self.max_video_bytes or max(of_plan, self.most_bytes)

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if self.most_video_bytes < self.most_bytes:
            raise fault("plan", f"has a max_video_bytes below the {self.most_bytes:,} bytes that any file may have")
        return self


class Remote(Table):
    """Files that the upload endpoint fetches where `file` is a URL: by https, and from public addresses only."""

    enabled: bool = Field(
        default=False,
        description="whether servers with the private key may have files fetched; clients may where their profile's "
        "`allow` names `file`",
    )
    hosts: list[HostName] = Field(
        default=[],
        description='hosts to fetch from, whoever asks: `"cdn.example"`, or `".example"` with all below it; empty: any',
    )
    seconds: int = Field(default=30, ge=1, le=300, description="for a whole fetch; the headers have 8 of them")


class Upload(Table):
    """The own, ImageKit-compatible upload endpoint."""

    enabled: bool = Field(default=True, description="whether there is one")
    url: Address = Field(
        default="",
        description="this service's outside address, for the URLs in answers; empty: the request's",
    )
    store: Place | None = Field(
        default=None,
        description='where files are kept: `"file:///var/lib/tokensvc/files"`, or `"s3://bucket/prefix"` with the '
        "extra `s3`; left out: `files/` in the data directory",
    )
    lease: int = Field(
        default=60,
        ge=1,
        le=600,
        description='seconds for which an upload under `spend = "on-success"` holds its credential, from the last byte '
        "of the request; after a crash it is free when they have passed",
    )
    plan: Plan = Field(default=Plan(), description="limits, below")
    remote: Remote = Field(default=Remote(), description="files from URLs, below")
