"""The audit: a file to which lines are only added, each sealed together with the one before it.

What is changed, removed or put in later is found by `verify`. With a key, also when it was done by somebody who may
write the file.
"""

from .chain import Seal
from .file import AuditFile
from .trail import AUDITED, PERMISSIONS, Audited
from .verify import Report, verify

__all__ = ["AUDITED", "PERMISSIONS", "AuditFile", "Audited", "Report", "Seal", "verify"]
