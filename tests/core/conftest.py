from __future__ import annotations

import pytest

from tokensvc.core.keys import AcceptedKeys, KeyPair, KeyRing, Secret

NOW = 1_700_000_000


@pytest.fixture(scope="session")
def pair() -> KeyPair:
    return KeyPair("default", "public_key_test", Secret("private_key_test_0123456789"))


@pytest.fixture(scope="session")
def other() -> KeyPair:
    return KeyPair("default", "public_other", Secret("private_other_0123456789"))


@pytest.fixture(scope="session")
def keys(pair: KeyPair, other: KeyPair) -> AcceptedKeys:
    return AcceptedKeys((pair, other))


@pytest.fixture(scope="session")
def ring(pair: KeyPair, other: KeyPair) -> KeyRing:
    return KeyRing((other, pair), pair.public_key)
