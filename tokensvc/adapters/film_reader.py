"""The program of `films`: reads the film at its standard input, and writes what it found as JSON.

It is run by its path, with no package around it, so that it imports nothing of the service.
"""

from __future__ import annotations

import json
import resource

_CPU_SECONDS = 5
_MEMORY_BYTES = 1 << 30
_WANTED = ("width", "height", "duration", "overall_bit_rate", "format")


def main() -> None:
    """Give up what is not needed, then read."""
    for limit, value in (
        (resource.RLIMIT_CPU, _CPU_SECONDS),
        (resource.RLIMIT_AS, _MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    from pymediainfo import MediaInfo  # noqa: PLC0415 - only within the limits

    found: dict[str, dict[str, object]] = {"General": {}, "Video": {}, "Audio": {}}
    with open(0, "rb", buffering=0, closefd=False) as film:
        for track in MediaInfo.parse(film).tracks:
            if not found.get(track.track_type, True):
                values = track.to_data()
                found[track.track_type] = {name: values[name] for name in _WANTED if name in values}
    print(json.dumps(found))  # noqa: T201 - read by `films`


if __name__ == "__main__":
    main()
