"""Debian's Chromium, driven by Playwright, with ImageKit's upload host pointed at a port of ours.

A missing browser is a failure and not a skip: a run without it would prove nothing about the SDKs.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from typing import Final

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.support.tls import UPLOAD_HOST

_UPLOAD_HOSTS: Final = (UPLOAD_HOST, "api.imagekit.io")  # the second one up to imagekit-javascript 1.0.2
_QUIET: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextlib.contextmanager
def chromium(upload_port: int | None = None) -> Iterator[Browser]:
    """Run a headless Chromium while the block lasts; uploads to ImageKit's hosts go to `upload_port`."""
    path = shutil.which("chromium")
    if path is None:
        pytest.fail("No `chromium` on PATH: `make test` installs it, or run `apt-get install chromium`.")
    rules = "".join(f"MAP {host} 127.0.0.1:{upload_port}, " for host in _UPLOAD_HOSTS if upload_port)
    arguments = [
        *_QUIET,
        f"--host-resolver-rules={rules}MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        try:
            yield browser
        finally:
            browser.close()
