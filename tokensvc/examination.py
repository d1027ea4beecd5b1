"""What `tokensvc doctor` looks at, and what of it each start: facts from the adapters, judged by `core.doctor`.

A start does not look outside: neither at ImageKit nor at nginx. And a store that is silent does not keep it from
starting, because it may come later, and `/readyz` tells when.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tokensvc import config, wiring
from tokensvc.adapters import machine
from tokensvc.config.review import review
from tokensvc.core.doctor import (
    Finding,
    Level,
    findings_of_descriptors,
    findings_of_folder,
    findings_of_nginx,
    findings_of_upstream,
)
from tokensvc.gunicorn_settings import worker_connections

NONCES: Final = "nonces"
FORM_BYTES: Final = 1024 * 1024
"""What a form may have beside the file, for nginx's limit."""


@dataclass(frozen=True, slots=True)
class Beyond:
    """What to look at besides the service itself: ImageKit's clock, and a configuration file of nginx."""

    upstream: bool = True
    nginx: Path | None = None


def examine(settings: config.Settings, beyond: Beyond) -> list[Finding]:
    """Everything, the worst first."""
    found = [
        *review(settings, wiring.clock()),
        *_of_store(settings),
        *_of_machine(settings),
        *(_of_upstream(settings) if beyond.upstream else ()),
        *(_of_nginx(beyond.nginx, settings) if beyond.nginx is not None else ()),
    ]
    return sorted(found, key=lambda finding: list(Level).index(finding.level))


def examine_for_start(settings: config.Settings) -> list[Finding]:
    """What a start should stop for, or tell: FATAL, OUTAGE and WARNING, of the store and the folders."""
    found = [*_of_folders(settings), *(_of_store(settings) if settings.redis_url is not None else ())]
    return [finding for finding in found if finding.level not in {Level.FINE, Level.UNKNOWN}]


def _of_store(settings: config.Settings) -> Iterator[Finding]:
    from tokensvc.store_examination import of_store  # noqa: PLC0415 - slow to load; not asked if the store is our own

    return of_store(settings)


def _of_machine(settings: config.Settings) -> Iterator[Finding]:
    yield from _of_folders(settings)
    needed = worker_connections + wiring.STORE_CONNECTIONS + wiring.THROTTLE_CONNECTIONS
    yield from findings_of_descriptors(machine.most_open_files(), needed)


def _of_folders(settings: config.Settings) -> Iterator[Finding]:
    kept: dict[Path, tuple[str, str]] = {}
    if settings.redis_url is None:
        kept[wiring.store_directory(settings)] = ("TOKENSVC_DATA_DIR", NONCES)
    files = settings.upload.store or settings.data_dir / "files"
    if settings.upload.enabled and isinstance(files, Path):
        kept[files] = ("upload.store", "uploaded files")
    for path, (place, what) in kept.items():
        try:
            folder = machine.look_at(path, place)
        except OSError as exc:
            yield Finding(Level.UNKNOWN, place, f"{path} cannot be looked at: {exc.strerror}")
            continue
        yield from findings_of_folder(folder, user=machine.our_user(), what_is_kept=what, ours_alone=what == NONCES)


def _of_upstream(settings: config.Settings) -> Iterator[Finding]:
    from tokensvc.adapters import upstream_clock  # noqa: PLC0415 - an HTTP client, and a start does not look outside

    for name, account in settings.accounts.items():
        place = f"accounts.{name}.url_endpoint"
        if not account.url_endpoint:
            yield from findings_of_upstream(place, None, "it is not set")
            continue
        try:
            yield from findings_of_upstream(place, upstream_clock.skew(account.url_endpoint, wall=wiring.wall))
        except upstream_clock.NoDate as exc:
            yield from findings_of_upstream(place, None, str(exc))


def _of_nginx(path: Path, settings: config.Settings) -> Iterator[Finding]:
    try:
        text = path.read_text(errors="replace")
    except OSError as exc:
        yield Finding(Level.UNKNOWN, str(path), f"cannot be read: {exc.strerror}", "correct --nginx")
        return
    needed = settings.upload.plan.most_video_bytes + FORM_BYTES if settings.upload.enabled else 0
    yield from findings_of_nginx(str(path), text, needed)
