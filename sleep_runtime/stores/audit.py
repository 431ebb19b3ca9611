"""The audit log: one JSON object a line, each holding the hash of the line before.

Only ever appended to, by any process of the machine: a lock lets one in at a time, and a line is
on the disk when ``record`` returns. Changing, removing or reordering lines breaks the chain from
there on. Cutting lines off the end does not: whoever wants to notice that keeps a head
(``Verified.head``) elsewhere and asks for it later.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from pydantic import ValidationError

from sleep_runtime.core.audit import AuditEntry, Deed
from sleep_runtime.core.errors import StoreError
from sleep_runtime.core.ids import canonical_json, digest
from sleep_runtime.core.ports import Clock
from sleep_runtime.stores.datadir import file_lock, sync_directory
from sleep_runtime.stores.sqlite import store_errors
from sleep_runtime.telemetry.clock import SystemClock

START = "0" * 64
LOCK_WAIT_S = 5.0
MAX_DETAIL_CHARS = 4_000
_TAIL_BYTES = 64 * 1024


class Verified(NamedTuple):
    """How many entries a whole chain has, and the hash of its last one."""

    entries: int
    head: str


class AuditFile:
    """An ``AuditLog`` in a file of the data directory, for its owner only (mode 0600)."""

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        self.path = Path(path)
        self._clock = clock or SystemClock()

    def record(
        self,
        who: str,
        deed: Deed,
        *,
        scope: str = "",
        subject: str = "",
        detail: dict[str, Any] | None = None,
    ) -> AuditEntry:
        """See ``AuditLog.record``. A line that a crash left unfinished is taken away first.

        Raises ``StoreError``, ``StoreFull`` and ``StoreBusy``; then nothing was recorded.
        """
        lock = self.path.with_name(self.path.name + ".lock")
        with file_lock(lock, wait_s=LOCK_WAIT_S), store_errors(self.path), self._open() as file:
            last = _last(file, self.path)
            entry = _next(last, who, deed, scope, subject, detail or {}, self._clock)
            _append(file, _line(entry))
        return entry

    def entries(self, *, after: int = 0, limit: int = 1000) -> list[AuditEntry]:
        """Entries with ``seq`` > ``after``, oldest first, as they stand: ``verify`` checks them."""
        found: list[AuditEntry] = []
        for entry in self._lines():
            if entry.seq > after:
                found.append(entry)
            if len(found) == limit:
                break
        return found

    def verify(self, head: str | None = None) -> Verified:
        """Check the whole chain, and that ``head`` is in it.

        Raises ``StoreError``, which names what does not fit.
        """
        seq, previous, seen = 0, START, head is None or head == START
        for entry in self._lines():
            seq += 1
            if entry.seq != seq or entry.previous != previous or entry.hash != _hash(entry):
                raise StoreError(
                    f"{self.path.name}: entry {entry.seq}, line {seq}, is not what was recorded",
                    field="audit",
                    mend="compare it with a copy, such as that of a backup",
                )
            previous = entry.hash
            seen = seen or entry.hash == head
        if not seen:
            raise StoreError(
                f"{self.path.name}: no entry has the hash {head}: later ones were cut off, or all"
                " were written anew",
                field="audit",
                mend="compare it with a copy, such as that of a backup",
            )
        return Verified(seq, previous)

    def _lines(self) -> Iterator[AuditEntry]:
        if not self.path.exists():
            return
        with store_errors(self.path), self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.endswith(b"\n"):  # the rest of one that a crash cut short is no entry
                    yield _read(line, f"{self.path.name}, line {number}")

    def _open(self) -> BinaryIO:
        new = not self.path.exists()
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if new:
            sync_directory(self.path.parent)
        return os.fdopen(handle, "r+b", buffering=0)


def _next(
    last: AuditEntry | None,
    who: str,
    deed: Deed,
    scope: str,
    subject: str,
    detail: dict[str, Any],
    clock: Clock,
) -> AuditEntry:
    if len(canonical_json(detail)) > MAX_DETAIL_CHARS:
        detail = {"left_out": "too long to be recorded"}
    entry = AuditEntry(
        seq=last.seq + 1 if last else 1,
        at=clock.now(),
        who=who,
        deed=deed,
        scope=scope,
        subject=subject,
        detail=detail,
        previous=last.hash if last else START,
        hash="",
    )
    return entry.model_copy(update={"hash": _hash(entry)})


def _hash(entry: AuditEntry) -> str:
    """SHA-256 over the canonical JSON of everything in the entry but its hash."""
    return digest(canonical_json(entry.model_dump(mode="json", exclude={"hash"})))


def _line(entry: AuditEntry) -> bytes:
    return canonical_json(entry.model_dump(mode="json")).encode() + b"\n"


def _read(line: bytes, where: str) -> AuditEntry:
    try:
        return AuditEntry.model_validate(json.loads(line))
    except (ValueError, ValidationError):
        raise StoreError(
            f"{where} is no entry", field="audit", mend="compare it with a copy of the file"
        ) from None


def _last(file: BinaryIO, path: Path) -> AuditEntry | None:
    """The last whole entry; what a crash left behind it is cut off."""
    size = file.seek(0, os.SEEK_END)
    start = max(0, size - _TAIL_BYTES)
    file.seek(start)
    tail = file.read(size - start)
    whole = tail.rfind(b"\n") + 1
    if whole < len(tail):
        file.truncate(start + whole)
    if not whole:
        if start:
            raise StoreError(f"{path.name} ends in no entry", field="audit", mend="look at it")
        return None
    begin = tail.rfind(b"\n", 0, whole - 1) + 1
    return _read(tail[begin:whole], path.name)


def _append(file: BinaryIO, line: bytes) -> None:
    """Written whole and fsynced; a write that stopped half-way is undone."""
    size = file.seek(0, os.SEEK_END)
    try:
        while line:
            line = line[file.write(line) :]
        os.fsync(file.fileno())
    except OSError:
        file.truncate(size)
        raise
