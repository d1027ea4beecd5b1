"""The development server: the service with demo keys, faults on demand, a clock to set, and a way to start afresh.

Nothing that `tokensvc serve` or `wsgi.py` runs imports it; the layers of the import rules see to that.
"""
