"""The settings that `tokensvc serve` uses, for `gunicorn -c deploy/gunicorn.conf.py wsgi:app`.

Workers and address come from gunicorn's own WEB_CONCURRENCY and PORT. Change a setting below the import.
"""

from __future__ import annotations

import subprocess
import sys

from tokensvc.gunicorn_settings import *  # noqa: F403 - gunicorn reads this module's names


def on_starting(_server: object) -> None:
    """Say in words what is missing, before there is a worker: the configuration, or a nonce store.

    In a process of its own, so that no key is ever in the master, nor a module that gevent has still to patch.
    """
    looked = subprocess.run([sys.executable, "-m", "tokensvc", "preflight"], check=False)
    if looked.returncode != 0:
        sys.exit(looked.returncode)
