"""The files of the spool: who owns them, what they are called, how they are read and written.

    <owner>.lock            held (flock) as long as the owner lives
    <owner>-00000001.ndjson events, one a line
    rejected.ndjson         what the runtime refused, with the reason; rejected.1.ndjson before it

An owner is one client of one process. Directories are 0700 and files 0600.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

try:
    import fcntl
except ImportError:  # no POSIX, no locks: the spool says so and the client goes on without
    fcntl = None  # type: ignore[assignment]

SUFFIX = ".ndjson"
REJECTED = "rejected.ndjson"
REJECTED_BEFORE = "rejected.1.ndjson"
MAX_REJECTED_BYTES = 1 << 20
OWNER_TRIES = 5


class SpoolError(Exception):
    """The spool could not be written; the message says why."""


class SpoolFull(SpoolError):
    """The spool has no room within its bound."""


class Owner:
    """A name in the directory that nobody else uses, held by a lock until ``release``."""

    def __init__(self, directory: Path) -> None:
        self._fd: int | None = None
        # Who looks for what dead clients left may hold a lock we have made and not yet taken.
        for _ in range(OWNER_TRIES):
            self.name = f"{time.time_ns() // 1_000_000:012x}-{os.getpid()}-{os.urandom(4).hex()}"
            self._path = directory / f"{self.name}.lock"
            self._fd = _lock(self._path)
            if self._fd is not None:
                return
        raise SpoolError(f"{self._path} is locked by somebody else")

    def release(self) -> None:
        """Let go. What is left in the directory goes to whoever looks next."""
        if self._fd is not None:
            with suppress(OSError):
                self._path.unlink()
            self.disown()

    def disown(self) -> None:
        """Close without letting go: in a forked child, whose parent goes on holding it."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def make_directory(directory: Path) -> None:
    """The directory, for this user alone. Raises ``SpoolError``."""
    if fcntl is None:
        raise SpoolError("this system has no file locks")
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SpoolError(f"{directory}: {error.strerror or error}") from error


def segment_path(directory: Path, owner: str, number: int) -> Path:
    """Where the owner's segment of this number is."""
    return directory / f"{owner}-{number:08d}{SUFFIX}"


def segments_of(directory: Path, owner: str) -> list[Path]:
    """The owner's segments, oldest first."""
    return sorted(directory.glob(f"{owner}-*{SUFFIX}"))


def used_bytes(directory: Path) -> int:
    """What the segments in the directory take, whoever owns them."""
    total = 0
    for path in directory.glob(f"*-*{SUFFIX}"):
        with suppress(OSError):
            total += path.stat().st_size
    return total


def orphans(directory: Path, own: str) -> Iterator[tuple[str, list[Path]]]:
    """Owners that are gone, with their segments; nobody else gets them while they are yielded."""
    owners = {path.name.rsplit("-", 1)[0] for path in directory.glob(f"*-*{SUFFIX}")}
    owners |= {path.stem for path in directory.glob("*.lock")}
    for name in sorted(owners - {own}):
        lock = directory / f"{name}.lock"
        held = _lock(lock)
        if held is None:
            continue
        try:
            yield name, segments_of(directory, name)
        finally:
            with suppress(OSError):
                lock.unlink()
            os.close(held)


def _lock(path: Path) -> int | None:
    """A descriptor that holds the lock; None when another process, or client, has it."""
    try:
        found = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise SpoolError(f"{path}: {error.strerror or error}") from error
    try:
        fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Somebody may have let go and removed it between our opening and our locking.
        if os.path.samestat(os.fstat(found), path.stat()):
            return found
    except OSError:
        pass
    os.close(found)
    return None


def read_lines(path: Path) -> list[bytes]:
    """The events of a segment. A last line that a dying process left half written is left out."""
    raw = path.read_bytes()
    whole, _, last = raw.rpartition(b"\n")
    lines = [line for line in whole.split(b"\n") if line.strip()]
    return [*lines, last] if _is_json(last) else lines


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


class Segment:
    """A segment that is being written, by one thread at a time."""

    def __init__(self, path: Path, *, fsync: bool) -> None:
        self.path = path
        self.size = 0
        self._fsync = fsync
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        self._fd: int | None = os.open(path, flags, 0o600)
        if fsync:
            _sync_directory(path.parent)

    def write(self, lines: Sequence[bytes]) -> int:
        """Append whole lines; the bytes they took. After an ``OSError`` it holds none of them."""
        if self._fd is None:
            raise OSError("the segment is closed")
        rest = memoryview(b"\n".join(lines) + b"\n")
        total = len(rest)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
            if self._fsync:
                os.fsync(self._fd)
        except OSError:
            with suppress(OSError):  # what is left of it reads as a torn last line
                os.ftruncate(self._fd, self.size)
            raise
        self.size += total
        return total

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _sync_directory(directory: Path) -> None:
    held = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(held)
    finally:
        os.close(held)


def bury(directory: Path, refused: Sequence[tuple[bytes, str]]) -> None:
    """Add refused events with their reasons to the dead-letter file. Raises ``OSError``.

    It and the one before it hold a mebibyte each; what is older is gone.
    """
    path = directory / REJECTED
    with suppress(FileNotFoundError):
        if path.stat().st_size > MAX_REJECTED_BYTES:
            path.replace(directory / REJECTED_BEFORE)
    held = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(held, b"".join(_letter(line, reason) for line, reason in refused))
    finally:
        os.close(held)


def _letter(line: bytes, reason: str) -> bytes:
    head = {"at": datetime.now(UTC).isoformat(), "reason": reason}
    try:
        letter = json.dumps({**head, "event": json.loads(line)})
    except (ValueError, RecursionError):
        letter = json.dumps({**head, "line": line.decode("utf-8", "replace")})
    return letter.encode() + b"\n"
