"""`<profile:…>` in a path: any segment but those that mean something else there.

Else `POST /auth/limits` would be a request under a profile of that name, and be told that there is no such profile.
"""

from __future__ import annotations

import re

from werkzeug.routing import BaseConverter

from tokensvc.core.profiles import RESERVED_NAMES


class ProfileName(BaseConverter):
    """Whether there is such a profile is not for the path to say."""

    regex = rf"(?!(?:{'|'.join(map(re.escape, sorted(RESERVED_NAMES)))})\Z)[^/]+"
