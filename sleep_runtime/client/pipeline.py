"""The pipeline: a buffer, a spool and the two threads that empty them. One in each client.

The flusher thread talks to the runtime. The spiller thread moves the buffer to the spool when it
fills faster than the flusher empties it, also while the flusher waits for an answer. Both start
with the first event, are daemons, and are made anew in a forked child.
"""

from __future__ import annotations

import atexit
import os
import queue
import random
import sys
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sleep_runtime.client.buffer import Buffer, BufferLimits
from sleep_runtime.client.courier import FULL, Courier, Pace
from sleep_runtime.client.options import Options
from sleep_runtime.client.retry import Circuit
from sleep_runtime.client.spool import Spool, default_directory
from sleep_runtime.client.stats import Stats, Tally
from sleep_runtime.client.transport import SyncSender
from sleep_runtime.client.wire import Address

GRACE_S = 0.25
BROKEN = "sending failed in a way it should not"
LATE = "events were captured after close"


@dataclass
class _Flush:
    """Send what there is until ``give_up``; ``last``: and then end, spooling the rest."""

    give_up: float
    last: bool = False
    done: threading.Event = field(default_factory=threading.Event)


class Pipeline:
    """Takes encoded events and sees to it that they arrive. For any thread."""

    def __init__(self, address: Address, options: Options, send: SyncSender) -> None:
        self._options = options
        self._durable = options.durable
        self._send = send
        self._on_fork = [send.forked]
        self._spool: Spool | None = None
        if options.spool:
            self._spool = Spool(
                Path(options.spool_dir) if options.spool_dir else default_directory(),
                address.url,
                max_bytes=options.max_spool_bytes,
                fsync=options.fsync,
            )
        self._fresh()
        _ALL.add(self)

    def _fresh(self) -> None:
        options = self._options
        self._starting = threading.RLock()  # a signal handler may capture in the middle of it
        self._flusher: threading.Thread | None = None
        self._closed = False
        self._finished = False
        self._todo: queue.SimpleQueue[_Flush | None] = queue.SimpleQueue()
        self._spills: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._tally = Tally()
        limits = BufferLimits(
            options.max_buffer_events, options.max_buffer_bytes, options.flush_events
        )
        # SimpleQueue.put is safe in signal handlers, which an Event is not.
        self._buffer = Buffer(
            limits, wake=lambda: self._todo.put(None), spill=lambda: self._spills.put("half full")
        )
        self._courier = Courier(
            self._buffer,
            self._spool,
            self._send,
            pace=Pace(
                options.flush_events, options.max_batch_bytes,
                options.flush_interval_s, options.answer_s,
            ),
            circuit=Circuit(options.retry_base_s, options.retry_max_s, random.Random(options.seed)),
            tally=self._tally,
            clock=time.monotonic,
        )  # fmt: skip

    def take(self, line: bytes) -> None:
        """Take one event. Never raises; waits for the disk only when durable, or after close."""
        if self._flusher is None:
            self._start()
        if self._durable or self._closed:
            self._take_durably(line)
        else:
            self._put(line)

    def _take_durably(self, line: bytes) -> None:
        first = self._spool is None or self._spool.waiting_since is None
        if self._courier.to_spool((line,)):
            self._tally.add(captured=1)
        elif self._closed:
            self._tally.add(captured=1, dropped=1)
        else:
            self._put(line)
        if not self._closed:
            if first:  # the flusher would look later by itself
                self._todo.put(None)
            return
        if self._spool is not None:
            self._spool.close()
        self._tally.trouble(LATE, "they wait in the spool for the next client, if there is one")

    def _put(self, line: bytes) -> None:
        if not self._buffer.put(line):
            self._tally.trouble(FULL, "the buffer is full")
        elif self._finished:  # it was closed between our looking and our putting
            self._finish()

    def flush(self, timeout_s: float) -> bool:
        """Try at once to send everything; True when nothing waits any more."""
        self._start()
        if self._closed or self._flusher is None:
            return False
        ticket = _Flush(time.monotonic() + timeout_s)
        self._todo.put(ticket)
        ticket.done.wait(timeout_s + GRACE_S)
        waiting = self._spool is not None and self._spool.waiting_since is not None
        return ticket.done.is_set() and not len(self._buffer) and not waiting

    def close(self, timeout_s: float | None = None) -> None:
        """Send what there is within the time, spool the rest, end the threads. Again: nothing."""
        with self._starting:
            if self._closed:
                return
            self._closed = True
        limit_s = self._options.exit_s if timeout_s is None else timeout_s
        ticket = _Flush(time.monotonic() + limit_s, last=True)
        if self._flusher is not None:
            self._todo.put(ticket)
            ticket.done.wait(limit_s + GRACE_S)
        if not ticket.done.is_set():
            # No thread, or one that waits for an answer: nothing may be left to its mercy.
            self._courier.put_away_flying()
            self._finish()
        _ALL.discard(self)

    @property
    def exit_s(self) -> float:
        return self._options.exit_s

    def stats(self) -> Stats:
        tally, buffer = self._tally, self._buffer
        return Stats(
            captured=tally.captured + buffer.accepted + buffer.refused,
            sent=tally.sent,
            duplicates=tally.duplicates,
            spooled=tally.spooled,
            rejected=tally.rejected,
            dropped=tally.dropped + buffer.refused,
            buffered=len(buffer),
            spool_bytes=self._spool.used() if self._spool is not None else 0,
            last_error=tally.last_error,
        )

    def on_fork(self, forget: Callable[[], None]) -> None:
        """What else a forked child has to forget."""
        self._on_fork.append(forget)

    def forked(self) -> None:
        """In a forked child: begin anew; what was captured before is the parent's."""
        if self._spool is not None:
            self._spool.forked()
        for forget in self._on_fork:
            forget()
        self._fresh()

    # ------------------------------------------------------------------ threads

    def _start(self) -> None:
        with self._starting:
            if self._flusher is not None or self._closed:
                return
            flusher = threading.Thread(target=self._run, name="sleep-flusher", daemon=True)
            spiller = threading.Thread(target=self._spill, name="sleep-spiller", daemon=True)
            self._flusher = flusher  # before it runs: whoever comes in between starts no other
            try:
                flusher.start()
                if self._spool is not None:
                    spiller.start()
            except RuntimeError:  # the interpreter is ending: close() takes care of what there is
                self._flusher = flusher if flusher.is_alive() else None

    def _run(self) -> None:
        while True:
            try:
                ticket = self._todo.get(timeout=self._courier.wait_s())
            except queue.Empty:
                ticket = None
            self._step(ticket)
            if ticket is None:
                continue
            if ticket.last:
                self._finish()
                self._send.close()
                ticket.done.set()
                return
            ticket.done.set()

    def _step(self, ticket: _Flush | None) -> None:
        try:
            if ticket is None:
                self._courier.work()
            else:
                self._drain(ticket.give_up)
        except Exception as problem:  # noqa: BLE001 - events go on being kept whatever this is
            self._tally.trouble(BROKEN, f"{type(problem).__name__}: {problem}")
            self._courier.circuit.failed(time.monotonic(), lasting=True)
            self._courier.put_away_flying()

    def _drain(self, give_up: float) -> None:
        self._courier.circuit.try_now()
        while self._courier.work(all_due=True, give_up=give_up):
            if time.monotonic() >= give_up:
                return

    def _spill(self) -> None:
        while self._spills.get() is not None:
            self._courier.put_away()

    def _finish(self) -> None:
        """Nothing is sent any more: to the spool with it, and the spool to whoever comes next."""
        self._finished = True
        self._spills.put(None)
        self._courier.put_away()
        left = len(self._buffer.take(sys.maxsize, sys.maxsize))
        if left:
            self._tally.add(dropped=left)
            self._tally.trouble(FULL, f"{left} events had nowhere to go at the end")
        if self._spool is not None:
            self._spool.close()


# Every pipeline that is not closed, for the end of the process and for forks.
_ALL: weakref.WeakSet[Pipeline] = weakref.WeakSet()


def _close_all() -> None:
    give_up = time.monotonic() + max((one.exit_s for one in _ALL), default=0.0)
    for pipeline in list(_ALL):
        pipeline.close(max(0.0, give_up - time.monotonic()))


def _fork_all() -> None:
    for pipeline in list(_ALL):
        pipeline.forked()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fork_all)
