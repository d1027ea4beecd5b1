"""ImageKit's `checks`: the expression that an upload must satisfy, read, held against an upload, and written.

What a profile limits is compiled into one (`compile_checks`) for ImageKit, and enforced as it stands (`require_limits`)
at the own endpoint: two enforcers of one policy, which a test holds equal.
"""

from __future__ import annotations

from .compiler import Limits, compile_checks, require_syntax
from .evaluation import evaluate
from .facts import Facts, Media
from .language import Comparison, Expression, Junction, parse, write
from .limits import Restrictions, require_checks, require_limits
from .tokens import ChecksSyntax

__all__ = [
    "ChecksSyntax",
    "Comparison",
    "Expression",
    "Facts",
    "Junction",
    "Limits",
    "Media",
    "Restrictions",
    "compile_checks",
    "evaluate",
    "parse",
    "require_checks",
    "require_limits",
    "require_syntax",
    "write",
]
