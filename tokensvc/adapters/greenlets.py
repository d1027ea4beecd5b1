"""Whether many requests share a thread here: whether gevent has patched this process, as in a gevent worker.

gevent is not loaded to be asked that: a process that it has patched has it already. The launcher and the supervisor of
the store never do, and start without it.
"""

from __future__ import annotations

import sys


def share_threads() -> bool:
    """Whether they do. It may become true while a process starts, so ask when it matters and not before."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("socket"))
