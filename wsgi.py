"""For `gunicorn wsgi:app`. With no REDIS_URL, run `tokensvc store` beside it, or use `tokensvc serve`, which does."""

from tokensvc.application import create

app = create()
