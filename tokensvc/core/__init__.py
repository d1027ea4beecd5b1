"""The rules: whatever can be said without a clock, an environment, a socket, a request or a logger.

Time arrives as `now` (Unix seconds), randomness as a value, and every refusal leaves as a `Refusal` with one `Code`.
"""
