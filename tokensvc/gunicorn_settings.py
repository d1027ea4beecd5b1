"""gunicorn's settings, for `tokensvc serve` and `deploy/gunicorn.conf.py`. Each differs from the default for a reason.

gunicorn trusts `X-Forwarded-*` from loopback by default; whoever can connect locally could then choose the scheme. And
its threaded worker is stopped by as many half-sent requests as it has threads; greenlets wait at no cost.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from tokensvc.adapters import beginning
from tokensvc.adapters.metrics_files import VARIABLE

worker_class = "tokensvc.worker.Worker"
worker_connections = 1000

timeout = 30  # a worker whose loop stands still is replaced
graceful_timeout = 60  # longer than any allowed upload, so that a restart cuts none
keepalive = 5
max_requests = 100_000  # a new worker takes half a second of CPU; its memory does not grow
max_requests_jitter = 10_000

limit_request_line = 4094
limit_request_fields = 50
limit_request_field_size = 8190

forwarded_allow_ips = ""
secure_scheme_headers: dict[str, str] = {}  # peers on a unix socket are trusted whatever the line above says
forwarder_headers = ""
header_map = "drop"
proxy_protocol = False

control_socket_disable = True
umask = 0o117
reuse_port = False
preload_app = False
worker_tmp_dir = "/dev/shm"  # noqa: S108 - the heartbeat file belongs in memory, not on a disk that may stall
logger_class = "tokensvc.adapters.logs.server.JsonServerLog"
accesslog = None  # the service writes its own events; `--access-logfile -` adds a line for every request


def on_starting(server: Any) -> None:  # noqa: ANN401 - gunicorn has no types
    """Wait with listening until the launcher, if there is one, has a nonce store."""
    if directory := server.cfg.env_orig.get(VARIABLE):
        beginning.wait(Path(directory))


def post_fork(_server: Any, _worker: Any) -> None:  # noqa: ANN401 - as above
    """Let a worker that is told to end before it has handlers of its own end at once.

    Until then it has the main process's, which put the signal where nobody looks: the whole service would wait for it
    for as long as `graceful_timeout`.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
