"""The settings that `tokensvc serve` uses, for `gunicorn -c deploy/gunicorn.conf.py wsgi:app`.

Workers and address come from gunicorn's own WEB_CONCURRENCY and PORT. Change a setting below the import.
"""

from tokensvc.gunicorn_settings import *  # noqa: F403 - gunicorn reads this module's names
