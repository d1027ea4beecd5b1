"""The directory of an embedded store: what is in it, who may use it, and who has it now.

Everything is for the owner alone, whatever umask the launcher has. Two locks tell who lives: `lock` is the
supervisor's and dies with it; `server.lock` is inherited by the server, so that while any server of this directory
runs, whoever its supervisor was, nobody can start a second one on the same files.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

from tokensvc.core.nonces import Chance

User = Literal["app", "sup"]
"""`app` is for the service and may run the nonce scripts; `sup` is for the supervisor and may do everything."""

MAX_SOCKET_PATH_BYTES: Final = 107
"""What fits in `sun_path` with its closing zero byte (unix(7))."""

_PASSWORD_BYTES: Final = 32


class StoreFault(Exception):  # noqa: N818 - a fault is what is told to the operator, in words
    """The embedded store cannot be had. The text says why and what to do, and quotes no secret."""


@dataclass(frozen=True, slots=True)
class Home:
    """The directory of a store, and the name of each thing in it."""

    path: Path

    @property
    def socket(self) -> Path:
        """Where the server listens; nowhere else."""
        return self.path / "s.sock"

    @property
    def configuration(self) -> Path:
        """Written anew for every start."""
        return self.path / "valkey.conf"

    @property
    def users(self) -> Path:
        """Valkey's ACL file; holds hashes of the passwords."""
        return self.path / "users.acl"

    @property
    def pid_file(self) -> Path:
        """Written and removed by the server itself."""
        return self.path / "server.pid"

    @property
    def log(self) -> Path:
        """The server's output, of this start and earlier ones."""
        return self.path / "valkey.log"

    @property
    def lock(self) -> Path:
        """Held by the supervisor for as long as it lives."""
        return self.path / "lock"

    @property
    def server_lock(self) -> Path:
        """Held by the server, and by its supervisor."""
        return self.path / "server.lock"

    @property
    def ready(self) -> Path:
        """There while nonces can be recorded: the supervisor's process."""
        return self.path / "ready"

    @property
    def served_by(self) -> Path:
        """The run id of the server that was last bound to the epoch."""
        return self.path / "run_id"

    @property
    def unjudged(self) -> Path:
        """There from before a server is started until its load was judged: where in the log to read from."""
        return self.path / "unjudged"

    @property
    def origin(self) -> Path:
        """Describes the very files of this directory, so that a copy of it is known for one."""
        return self.path / "origin"

    @property
    def append_only(self) -> Path:
        """The server's memory: every change, in order."""
        return self.path / "appendonlydir"

    def password_file(self, user: User) -> Path:
        """Where the password of a user is."""
        return self.path / f"{user}.password"


def locate(directory: Path) -> Home:
    """Name the directory by its real absolute path, or refuse. Touches nothing."""
    if directory.is_symlink():
        raise StoreFault(
            f"The store's directory {directory} is a symbolic link. Name the directory that it points to instead."
        )
    home = Home(directory.resolve())
    length = len(os.fsencode(home.socket))
    if length > MAX_SOCKET_PATH_BYTES:
        raise StoreFault(
            f"The path of the store's socket has {length} bytes, and the system takes {MAX_SOCKET_PATH_BYTES}: "
            f"{home.socket}. Choose a data directory with a shorter path."
        )
    return home


def prepare(home: Home) -> None:
    """Make the directory, or see that the one that is there is ours, and close it to others."""
    try:
        home.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = home.path.lstat()
    except OSError as error:
        raise StoreFault(
            f"The store's directory {home.path} cannot be made: {error.strerror}. Choose another data directory."
        ) from None
    if not stat.S_ISDIR(found.st_mode):
        raise StoreFault(f"The store's directory {home.path} is not a directory. Choose another data directory.")
    if found.st_uid != os.geteuid():
        raise StoreFault(
            f"The store's directory {home.path} belongs to user {found.st_uid}, and this is user {os.geteuid()}. "
            "Run as its owner, or choose another data directory."
        )
    names = {entry.name for entry in home.path.iterdir()}
    if names and home.lock.name not in names:
        # Somebody's home or /tmp would otherwise be closed to everybody else.
        raise StoreFault(
            f"The directory {home.path} holds files and is no store. Name one that is empty or does not exist yet."
        )
    home.path.chmod(0o700)


def take(lock: Path) -> int | None:
    """Take a lock file and return its descriptor, or nothing if somebody has it. It is free when the holder dies."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@contextlib.contextmanager
def sole_supervisor(home: Home) -> Iterator[bool]:
    """Whether we are the one supervisor of this directory; it stays so inside of the `with`."""
    descriptor = take(home.lock)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def write(path: Path, text: str) -> None:
    """Put a file in place whole, readable by its owner alone."""
    draft = path.with_name(f"{path.name}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, 0o600)
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    draft.replace(path)


def keep_passwords(home: Home, chance: Chance) -> None:
    """Make the password of each user that has none yet. They stay: workers that run keep their connection's."""
    users: tuple[User, ...] = ("app", "sup")
    for user in users:
        if not home.password_file(user).exists():
            write(
                home.password_file(user),
                base64.urlsafe_b64encode(chance(_PASSWORD_BYTES)).decode().rstrip("="),
            )


def url(directory: Path, *, user: User = "app") -> str:
    """Return where clients reach the store of a directory; it holds the password. Says nothing of whether it runs.

    FileNotFoundError if no store was ever started there, StoreFault for a directory that cannot hold one.
    """
    home = locate(directory)
    try:
        password = home.password_file(user).read_text()
    except FileNotFoundError:
        raise FileNotFoundError(f"No store was ever started in {home.path}. Start one there first.") from None
    return f"unix://{user}:{password}@{quote(os.fsencode(home.socket))}"
