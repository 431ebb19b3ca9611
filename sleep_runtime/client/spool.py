"""The spool: where events wait on disk while no runtime takes them.

Several processes may share it. Segments are only ever appended to by their owner, sent when they
are closed, and removed when the runtime has all of them. A segment that was sent in part when
its process died is sent again as a whole: the ids see to it that it arrives once.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sleep_runtime.client.segments import (
    Owner,
    Segment,
    SpoolError,
    SpoolFull,
    bury,
    make_directory,
    orphans,
    read_lines,
    segment_path,
    used_bytes,
)

SEGMENT_BYTES = 4 << 20
MEASURE_S = 5.0


def default_directory() -> Path:
    """``SLEEP_SPOOL_DIR``, else where this platform keeps the state of programs."""
    given = os.environ.get("SLEEP_SPOOL_DIR")
    if given:
        return Path(given).expanduser()
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home raises where there is none
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "sleep-runtime" / "spool"
    state = os.environ.get("XDG_STATE_HOME") or home / ".local" / "state"
    return Path(state) / "sleep-runtime" / "spool"


class Spool:
    """A client's part of the spool directory, for the runtime at ``url``. Thread-safe.

    Nothing touches the disk before it is needed. ``max_bytes`` bounds the segments of all
    processes for this runtime together, measured every few seconds. Without ``fsync`` an event
    outlives its process but not the machine; with it, each append is on the disk when it returns.
    """

    def __init__(self, directory: Path, url: str, *, max_bytes: int, fsync: bool) -> None:
        # One runtime's events must never be given to another.
        self.directory = directory / hashlib.sha256(url.encode()).hexdigest()[:16]
        self._max_bytes = max_bytes
        self._fsync = fsync
        self._fresh()

    def _fresh(self) -> None:
        self._lock = threading.RLock()
        self._owner: Owner | None = None
        self._number = 0
        self._writing: Segment | None = None
        self._reading: Path | None = None
        self._batches: list[bytes] = []
        self._used = 0
        self._since = 0.0
        self._measured = float("-inf")
        self._waiting: list[Path] = []

    def open(self) -> None:
        """Own a part of the directory. Raises ``SpoolError``."""
        with self._lock:
            if self._owner is None:
                make_directory(self.directory)
                self._owner = Owner(self.directory)
                self._measured = float("-inf")

    def append(self, lines: Sequence[bytes], *, now: float) -> None:
        """Keep all of these events or none. Raises ``SpoolFull`` and ``SpoolError``."""
        with self._lock:
            self.open()
            size = sum(map(len, lines)) + len(lines)
            if self._measure() + size > self._max_bytes:
                raise SpoolFull(f"{self.directory} holds its {self._max_bytes} bytes")
            empty = self.waiting_since is None
            try:
                self._used += self._segment().write(lines)
            except OSError as error:
                self._seal()
                self._begin_again_without_directory()
                raise SpoolError(f"{self.directory}: {error.strerror or error}") from error
            if empty:
                self._since = now
            if self._writing is not None and self._writing.size >= SEGMENT_BYTES:
                self._seal()

    def adopt(self, *, now: float) -> int:
        """Take over what processes that ended have left; how many segments."""
        with self._lock:
            if not self.directory.is_dir():
                return 0
            self.open()
            assert self._owner is not None  # noqa: S101 - open() sets it
            taken = 0
            if self.waiting_since is None:
                self._since = now
            try:
                for _, left in orphans(self.directory, self._owner.name):
                    for path in left:
                        self._number += 1
                        mine = segment_path(self.directory, self._owner.name, self._number)
                        path.rename(mine)
                        self._waiting.append(mine)
                        taken += 1
            except OSError as error:
                raise SpoolError(f"{self.directory}: {error.strerror or error}") from error
            return taken

    @property
    def waiting_since(self) -> float | None:
        """When, by the ``now`` of ``append`` and ``adopt``, what waits began to; None: nothing."""
        with self._lock:
            if self._batches or self._waiting or self._writing:
                return self._since
            return None

    def peek(self, most_events: int, most_bytes: int) -> list[bytes]:
        """The oldest events that wait, without taking them away; empty when there are none.

        Raises ``SpoolError`` when a segment cannot be read; it is left for the next client.
        """
        with self._lock:
            while not self._batches and self._next_segment():
                pass
            size = 0
            batch: list[bytes] = []
            for line in self._batches[:most_events]:
                size += len(line) + 1
                if batch and size > most_bytes:
                    break
                batch.append(line)
            return batch

    def sent(self, count: int) -> None:
        """The runtime has the first so many of what ``peek`` showed, or will never take them."""
        with self._lock:
            del self._batches[:count]
            if not self._batches:
                self._remove()

    def bury(self, refused: Sequence[tuple[bytes, str]]) -> None:
        """Keep what the runtime refused, with the reason. Raises ``SpoolError``."""
        try:
            make_directory(self.directory)
            bury(self.directory, refused)
        except OSError as error:
            raise SpoolError(f"{self.directory}: {error.strerror or error}") from error

    def used(self) -> int:
        """Bytes of all segments for this runtime, as last measured and written since."""
        with self._lock:
            return self._used

    def close(self) -> None:
        """Let go of what waits, for whoever comes next. It opens again when it is used."""
        with self._lock:
            self._seal()
            owner, self._owner = self._owner, None
            self._batches, self._waiting, self._reading = [], [], None
            if owner is not None:
                owner.release()

    def forked(self) -> None:
        """In a forked child: everything here is the parent's."""
        if self._writing is not None:
            self._writing.close()
        if self._owner is not None:
            self._owner.disown()
        self._fresh()

    def _begin_again_without_directory(self) -> None:
        """Somebody may have removed the directory: the next event makes it anew."""
        if self._owner is not None and not self.directory.is_dir():
            self._owner.disown()
            self._owner = None

    def _measure(self) -> int:
        now = time.monotonic()
        if now - self._measured > MEASURE_S:
            self._used, self._measured = used_bytes(self.directory), now
        return self._used

    def _segment(self) -> Segment:
        assert self._owner is not None  # noqa: S101 - append() opened it
        if self._writing is None:
            self._number += 1
            path = segment_path(self.directory, self._owner.name, self._number)
            self._writing = Segment(path, fsync=self._fsync)
        return self._writing

    def _seal(self) -> None:
        if self._writing is not None:
            self._writing.close()
            if self._writing.size:
                self._waiting.append(self._writing.path)
            else:
                with suppress(OSError):
                    self._writing.path.unlink()
            self._writing = None

    def _next_segment(self) -> bool:
        """Read the oldest segment; False when there is none."""
        if self._reading is not None:
            self._remove()
        if not self._waiting:
            self._seal()
        if not self._waiting:
            return False
        path = self._waiting.pop(0)
        try:
            self._batches, self._reading = read_lines(path), path
        except OSError as error:
            raise SpoolError(f"{path}: {error.strerror or error}") from error
        return True

    def _remove(self) -> None:
        if self._reading is not None:
            with suppress(OSError):  # it is sent again by the next client, and arrives once
                self._used -= self._reading.stat().st_size
                self._reading.unlink()
            self._reading = None
