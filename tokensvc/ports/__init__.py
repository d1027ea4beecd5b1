"""What the rules' users need from outside, as protocols. Adapters implement them; `wiring` chooses.

Every method may raise `core.errors.Outage` when what is behind it does not answer; none of them ever says yes then.
"""

from __future__ import annotations

from tokensvc.core.nonces import Chance

from .file_store import FileStore, Incoming, Inspector, NameTaken, RemoteFiles
from .nonce_store import NonceStore, Outcome, Receipt, Recording, RecordOutcome, Redemption, Standing
from .surroundings import Audit, CallerSource, Clock, Concern, Throttle

__all__ = [
    "Audit",
    "CallerSource",
    "Chance",
    "Clock",
    "Concern",
    "FileStore",
    "Incoming",
    "Inspector",
    "NameTaken",
    "NonceStore",
    "Outcome",
    "Receipt",
    "RecordOutcome",
    "Recording",
    "Redemption",
    "RemoteFiles",
    "Standing",
    "Throttle",
]
