"""The journal on SQLite: raw events, append only, durable before they are acknowledged.

One process owns the file. Inside it one thread owns the one writing connection; everybody else
hands batches to that thread and waits for a future. Commits group by themselves: while one
fsync runs the queue fills, and the next transaction takes what is there, so there is no timer
to tune. Readers open the file read-only, in any process.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from sleep_runtime.core.erasure import Target
from sleep_runtime.core.errors import Overloaded, StoreError, StoreFull
from sleep_runtime.core.journal import AppendResult, JournalRow
from sleep_runtime.core.ports import Clock
from sleep_runtime.stores.compaction import compact
from sleep_runtime.stores.datadir import file_lock
from sleep_runtime.stores.journal_erasing import erase
from sleep_runtime.stores.journal_schema import LAST_SEQ, SCHEMA, SCHEMA_VERSION, to_us
from sleep_runtime.stores.room import JOURNAL, MAX_PENDING, MAX_PENDING_BYTES, Room, Size
from sleep_runtime.stores.sqlite import (
    as_store_error,
    connect_writer,
    schema_version,
    store_errors,
)
from sleep_runtime.telemetry.clock import SystemClock

ANSWER_TIMEOUT_S = 30.0
DRAIN_TIMEOUT_S = 60.0
JOB_TIMEOUT_S = 3600.0

_INSERT = (
    "INSERT INTO events (seq, org, id, scope, session, ts_us, kind, role, trust, received_us,"
    " digest, body) VALUES (?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (org, id) DO NOTHING"
)
_UPSERT_HEAD = (
    "INSERT INTO heads (scope, last_seq, events, tokens, received_us) VALUES (?,?,?,?,?)"
    " ON CONFLICT (scope) DO UPDATE SET last_seq = excluded.last_seq,"
    " received_us = excluded.received_us,"
    " events = events + excluded.events, tokens = tokens + excluded.tokens"
)

Answer = AppendResult | StoreError | Overloaded


class _Job(NamedTuple):
    """Something other than appending that needs the writing connection for itself."""

    do: Callable[[sqlite3.Connection], Any]
    future: Future[Any]


class _Group(NamedTuple):
    """Batches that arrived together and are answered together.

    ``wanted`` is asked once, before they are written: whether somebody still waits for them.
    """

    batches: list[Sequence[JournalRow]]
    size: int
    room: list[Size]
    wanted: Callable[[], bool]
    deliver: Callable[[list[Answer]], None]


class SqliteJournal:
    """The owner of one journal file: a ``JournalWriter``, safe to call from many threads.

    ``max_batch`` is how many events one commit gathers from several callers; a single batch
    that is larger still goes in as one transaction. At most ``max_pending`` events of
    ``max_pending_bytes`` together wait in memory. ``lock_wait_s`` is how long a dying owner may
    take to let go of the file.

    Raises ``StoreBusy`` when another process owns the file and ``StoreTooNew`` when a newer
    version wrote it.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_batch: int = 512,
        max_pending: int = MAX_PENDING,
        max_pending_bytes: int = MAX_PENDING_BYTES,
        clock: Clock | None = None,
        lock_wait_s: float = 0.0,
    ) -> None:
        self.path = Path(path)
        self._max_batch = max_batch
        self._room = Room(JOURNAL, max_pending, max_pending_bytes)
        self._clock = clock or SystemClock()
        self._changed = threading.Condition()
        self._queue: deque[_Group] = deque()
        self._jobs: deque[_Job] = deque()
        self._closing = False
        with ExitStack() as held:
            held.enter_context(file_lock(_lock_path(self.path), wait_s=lock_wait_s))
            self._connection = connect_writer(self.path)
            held.callback(self._connection.close)
            self._seq = _open_schema(self._connection, self.path)
            self._held = held.pop_all()
        self._thread = threading.Thread(target=self._run, name="journal-writer", daemon=True)
        self._thread.start()

    def append(self, rows: Sequence[JournalRow]) -> AppendResult:
        """Make a batch durable; returns when it is on the disk. See ``JournalWriter.append``.

        Without an answer in ``ANSWER_TIMEOUT_S`` it raises ``StoreError``; the batch may still
        become durable, and sending it again is safe because the ids are the same.
        """
        future = self.submit(rows)
        try:
            return future.result(ANSWER_TIMEOUT_S)
        except FutureTimeout:
            raise StoreError(
                f"{self.path} gave no answer within {ANSWER_TIMEOUT_S:.0f} s",
                mend="send the same events again: their ids make that safe",
            ) from None

    def submit(self, rows: Sequence[JournalRow]) -> Future[AppendResult]:
        """Queue a batch; the future is resolved in the writer's thread once it is durable.

        A future that is cancelled while it waits takes its batch with it. Raises ``Overloaded``
        when ``max_pending`` events are waiting, ``StoreError`` when the journal is closed.
        """
        future: Future[AppendResult] = Future()
        deliver, kept = partial(_resolve, future), list(rows)
        with self._changed:
            room = [self._admit(kept)]
            wanted = future.set_running_or_notify_cancel
            self._queue.append(_Group([kept], len(kept), room, wanted, deliver))
            self._changed.notify()
        return future

    def submit_each(
        self, batches: Sequence[Sequence[JournalRow]], deliver: Callable[[list[Answer]], None]
    ) -> None:
        """Queue batches that arrived together. Each is accepted, or refused, by itself.

        ``deliver`` gets one answer a batch, in their order: in the writer's thread, once those
        that fit are durable; in the caller's, at once, when none does. It must not raise or wait.
        """
        refused: dict[int, Answer] = {}
        taken: list[Sequence[JournalRow]] = []
        room: list[Size] = []
        with self._changed:
            for place, rows in enumerate(batches):
                try:
                    room.append(self._admit(rows))
                except (Overloaded, StoreError) as error:
                    refused[place] = error
                else:
                    taken.append(rows)
            if taken:
                whole = partial(_deliver_all, deliver, refused) if refused else deliver
                size = sum(each.events for each in room)
                self._queue.append(_Group(taken, size, room, _always, whole))
                self._changed.notify()
        if not taken:
            deliver(list(refused.values()))

    def erase(self, target: Target, upto: int) -> int:
        """Delete the events up to position ``upto`` that an erasure means; returns how many.

        Durable when it returns. The heads stay: totals only grow, positions are given out once.
        """
        return int(self._exclusively(lambda connection: erase(connection, target, upto)))

    def compact(self) -> None:
        """Write the file anew without what was deleted. Appends wait meanwhile, in their queue."""
        self._exclusively(lambda connection: compact(connection, self.path))

    def _exclusively(self, do: Callable[[sqlite3.Connection], Any]) -> Any:
        """Let the writer's thread do something between two commits, and wait for it."""
        job = _Job(do, Future())
        with self._changed:
            self._refuse_closed()
            self._jobs.append(job)
            self._changed.notify()
        try:
            return job.future.result(JOB_TIMEOUT_S)
        except FutureTimeout:
            raise StoreError(f"{self.path} was not done in {JOB_TIMEOUT_S:.0f} s") from None

    def _refuse_closed(self) -> None:
        if self._closing:
            raise StoreError(f"{self.path} is closed", mend="send it to the running runtime")

    def _admit(self, rows: Sequence[JournalRow]) -> Size:
        self._refuse_closed()
        return self._room.take(rows)

    def close(self) -> None:
        """Write what was submitted, then let go of the file. May be called again."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(DRAIN_TIMEOUT_S)
        if self._thread.is_alive():
            raise StoreError(f"{self.path} did not drain within {DRAIN_TIMEOUT_S:.0f} s")
        with store_errors(self.path):
            self._held.close()

    # ------------------------------------------------------------------ the writer's thread

    def _run(self) -> None:
        while work := self._take():
            if isinstance(work, _Job):
                self._do(work)
                continue
            groups = work
            live = [group for group in groups if group.wanted()]
            answers = iter(self._write([rows for group in live for rows in group.batches]))
            with self._changed:
                for size in (size for group in groups for size in group.room):
                    self._room.give_back(size)
            for group in live:
                group.deliver([next(answers) for _ in group.batches])

    def _do(self, job: _Job) -> None:
        try:
            job.future.set_result(job.do(self._connection))
        except Exception as error:  # noqa: BLE001 - becomes the answer; this thread must live
            job.future.set_exception(as_store_error(error, self.path))

    def _take(self) -> list[_Group] | _Job:
        """A job, else everything queued, up to ``max_batch`` events but at least one group.

        [] at the end.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._jobs or self._closing)
            if self._jobs:
                return self._jobs.popleft()
            taken: list[_Group] = []
            size = 0
            while self._queue and (not taken or size + self._queue[0].size <= self._max_batch):
                taken.append(self._queue.popleft())
                size += taken[-1].size
            return taken

    def _write(self, batches: Sequence[Sequence[JournalRow]]) -> list[Answer]:
        """Commit these batches together; if that fails, one by one, so that a bad one fails alone.

        A full disk fails them all at once: none of them is on it.
        """
        if not batches:
            return []
        try:
            return [*self._transact(batches)]
        except Exception as error:  # noqa: BLE001 - becomes the answer; this thread must live
            failure = as_store_error(error, self.path)
        if len(batches) == 1 or isinstance(failure, StoreFull):
            return [failure] * len(batches)
        return [answer for batch in batches for answer in self._write([batch])]

    def _transact(self, batches: Sequence[Sequence[JournalRow]]) -> list[AppendResult]:
        """All or nothing. Positions of a failed transaction and of duplicates stay unused."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            results = self._insert(batches)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        return results

    def _insert(self, batches: Sequence[Sequence[JournalRow]]) -> list[AppendResult]:
        first = self._seq + 1
        received_us = to_us(self._clock.now())
        rows = [row for batch in batches for row in batch]
        values = [_values(first + n, row, received_us) for n, row in enumerate(rows)]
        self._seq += len(rows)
        cursor = self._connection.executemany(_INSERT, values)
        outcomes = (
            [_ACCEPTED] * len(rows)
            if cursor.rowcount == len(rows)
            else [self._outcome(first + n, row) for n, row in enumerate(rows)]
        )
        self._connection.executemany(
            _UPSERT_HEAD, _head_changes(first, rows, outcomes, received_us)
        )
        return _answers(batches, outcomes)

    def _outcome(self, seq: int, row: JournalRow) -> int:
        """What became of a row: its own seq is there, or an older row with the same id is."""
        stored, digest = self._connection.execute(
            "SELECT seq, digest FROM events WHERE org = ? AND id = ?", (_org(row), row.id)
        ).fetchone()
        if stored == seq:
            return _ACCEPTED
        return _DUPLICATE if digest == row.digest else _CONFLICT


_ACCEPTED, _DUPLICATE, _CONFLICT = range(3)


def _resolve(future: Future[AppendResult], answers: list[Answer]) -> None:
    (answer,) = answers
    if isinstance(answer, AppendResult):
        future.set_result(answer)
    else:
        future.set_exception(answer)


def _always() -> bool:
    return True


def _deliver_all(
    deliver: Callable[[list[Answer]], None], refused: dict[int, Answer], answers: list[Answer]
) -> None:
    """Put the answers between those that were refused before."""
    rest = iter(answers)
    size = len(answers) + len(refused)
    deliver([refused[place] if place in refused else next(rest) for place in range(size)])


def _lock_path(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def _open_schema(connection: sqlite3.Connection, path: Path) -> int:
    """Create the tables if they are missing; returns the highest seq ever given out."""
    version = schema_version(connection, path, ours=SCHEMA_VERSION)
    with store_errors(path):
        if version < SCHEMA_VERSION:
            connection.execute("BEGIN IMMEDIATE")
            for statement in SCHEMA:
                connection.execute(statement)
            connection.execute("COMMIT")
        return int(connection.execute(LAST_SEQ).fetchone()[0])


def _org(row: JournalRow) -> str:
    return row.scope.partition("/")[0]


def _values(seq: int, row: JournalRow, received_us: int) -> tuple[Any, ...]:
    id_, scope, session, ts_us, kind, role, trust, digest, body, _ = row
    org = scope.partition("/")[0]
    return (seq, org, id_, scope, session, ts_us, kind, role, trust, received_us, digest, body)


def _head_changes(
    first: int, rows: list[JournalRow], outcomes: list[int], received_us: int
) -> list[tuple[str, int, int, int, int]]:
    heads: dict[str, tuple[int, int, int]] = {}
    for seq, (row, outcome) in enumerate(zip(rows, outcomes, strict=True), start=first):
        if outcome == _ACCEPTED:
            _, events, tokens = heads.get(row.scope, (0, 0, 0))
            heads[row.scope] = (seq, events + 1, tokens + row.tokens)
    return [(scope, *head, received_us) for scope, head in heads.items()]


def _answers(batches: Sequence[Sequence[JournalRow]], outcomes: list[int]) -> list[AppendResult]:
    answers = []
    start = 0
    for batch in batches:
        mine = outcomes[start : start + len(batch)]
        start += len(batch)
        answers.append(
            AppendResult(
                accepted=mine.count(_ACCEPTED),
                duplicates=mine.count(_DUPLICATE),
                conflicts=tuple(n for n, outcome in enumerate(mine) if outcome == _CONFLICT),
            )
        )
    return answers
