"""What `tokensvc doctor` makes of what it was told: pure judgements, each a sentence with a remedy.

What could not be read is a finding too. A doctor that passes over what it does not know says that all is well.
"""

from __future__ import annotations

from .findings import Finding, Level
from .machine import Folder, findings_of_descriptors, findings_of_folder
from .store import Demands, ServerFacts, findings_of_server
from .surroundings import findings_of_nginx, findings_of_upstream

__all__ = [
    "Demands",
    "Finding",
    "Folder",
    "Level",
    "ServerFacts",
    "findings_of_descriptors",
    "findings_of_folder",
    "findings_of_nginx",
    "findings_of_server",
    "findings_of_upstream",
]
