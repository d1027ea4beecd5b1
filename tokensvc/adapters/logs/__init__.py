"""What is written about what happened: lines of JSON, one an event, on one stream.

Everything passes through one place that takes secrets out (`redaction`), gunicorn's own lines too.
"""
