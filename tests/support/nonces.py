"""Nonces, requests and times for tests of the store; each is new."""

from __future__ import annotations

import base64
import os
import time

from tokensvc.core.nonces import NonceId


def new_nonce() -> NonceId:
    """A nonce that no other test has."""
    return NonceId(new_request())


def new_request() -> str:
    """A request id that no other test has."""
    return base64.urlsafe_b64encode(os.urandom(16)).rstrip(b"=").decode()


def soon() -> int:
    """A time that no test reaches."""
    return int(time.time()) + 600
