"""`make conformance`: run every client and print the page."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from .clients import EVERY
from .laboratory import laboratory
from .page import whole_page

with tempfile.TemporaryDirectory() as directory, laboratory(Path(directory)) as here:
    rows = [here.observe(client) for client in EVERY]
sys.stdout.write(whole_page({row.key: row for row in rows}))
