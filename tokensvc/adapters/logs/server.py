"""gunicorn's own lines in the same stream, of the same shape, through the same redaction.

It loads this into its master, before any worker is patched by gevent: nothing here may open a socket or start a thread.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from gunicorn.glogging import Logger

from .lines import Form, RecordLine, set_form


class JsonServerLog(Logger):  # type: ignore[misc] # gunicorn has no types
    """`logger_class` for JSON."""

    form: Form = "json"

    def setup(self, cfg: Any) -> None:  # noqa: ANN401 - gunicorn has no types
        """Let gunicorn choose where, and make the lines ours. `--access-logfile -` is this stream too."""
        super().setup(cfg)
        set_form(self.form, sys.stderr)
        for logger in (self.error_log, self.access_log):
            for handler in logger.handlers:
                handler.setFormatter(RecordLine())
                if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stdout:
                    handler.setStream(sys.stderr)
        logging.captureWarnings(True)

    def access(self, resp: Any, _req: object, environ: Mapping[str, Any], request_time: timedelta) -> None:  # noqa: ANN401 - as above
        """One line a request: no query and no header, for both may hold a credential."""
        if not self.access_log_enabled:
            return
        names = {name.lower(): text for name, text in resp.headers if name.lower() == "x-request-id"}
        status = str(resp.status).split(None, 1)[0]
        facts = {
            "event": "request",
            "method": environ.get("REQUEST_METHOD"),
            "path": environ.get("PATH_INFO"),
            "status": int(status) if status.isdigit() else None,
            "bytes": getattr(resp, "sent", None),
            "ms": round(request_time / timedelta(milliseconds=1), 1),
            "client": environ.get("REMOTE_ADDR") or "unix",
            "request": names.get("x-request-id"),
        }
        self.access_log.info("", extra={"facts": {name: fact for name, fact in facts.items() if fact is not None}})


class ConsoleServerLog(JsonServerLog):
    """`logger_class` for a terminal."""

    form = "console"
