"""The courier: one step at a time it brings events from the buffer and the spool to the runtime.

Time, randomness and the sending are passed in, and no thread is here: ``flusher`` runs it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sleep_runtime.client.buffer import Buffer
from sleep_runtime.client.retry import Circuit
from sleep_runtime.client.segments import SpoolError
from sleep_runtime.client.spool import Spool
from sleep_runtime.client.stats import Tally
from sleep_runtime.client.wire import (
    Apart,
    Ask,
    Later,
    Outcome,
    Reply,
    Taken,
    Unreachable,
    judge,
    post_events,
)

AWAY, DENIED, FULL, REFUSED, NO_SPOOL = (
    "events wait for the runtime",
    "events wait until somebody mends it",
    "events were dropped",
    "events were refused",
    "the spool cannot be written",
)
IDLE_S = 30.0
SPOOL_REST_S = 1.0

Send = Callable[[Ask, float], Reply]
"""Sends one request within so many seconds. Raises ``Unreachable``."""


@dataclass(frozen=True)
class Pace:
    """How events are put together: a batch is due when it is large, or old, enough."""

    batch_events: int
    batch_bytes: int
    interval_s: float
    answer_s: float


class Courier:
    """Sends batches; what cannot be sent now goes to the spool, what is refused to its letters.

    ``work`` is for one thread. ``put_away`` may be called from any: it moves the buffer to the
    spool. ``spool`` is None when events are to be kept in memory only.
    """

    def __init__(
        self, buffer: Buffer, spool: Spool | None, send: Send, *, pace: Pace, circuit: Circuit,
        tally: Tally, clock: Callable[[], float],
    ) -> None:  # fmt: skip
        self._buffer = buffer
        self._spool = spool
        self._send = send
        self._pace = pace
        self._tally = tally
        self._clock = clock
        self.circuit = circuit
        self._rest_until = 0.0
        self._look_at = 0.0
        self._flying: Sequence[bytes] = ()
        self._flying_lock = threading.Lock()

    def wait_s(self) -> float:
        """Seconds until there is something to do, unless something new is captured."""
        now = self._clock()
        due = [self._look_at if self._spool else now + IDLE_S]
        since = self._buffer.due_since
        if since is not None:
            whole = len(self._buffer) >= self._pace.batch_events
            due.append(max(now if whole else since + self._pace.interval_s, self._rest_until))
        spooled = self._spool.waiting_since if self._spool is not None else None
        if spooled is not None:
            due.append(max(spooled + self._pace.interval_s, self.circuit.until))
        return min(max(min(due) - now, 0.0), IDLE_S)

    def work(self, *, all_due: bool = False, give_up: float = float("inf")) -> bool:
        """One batch of what is due from the buffer, one from the spool; False if there was none.

        ``all_due`` takes what is young too. ``give_up`` is when, by the clock, an answer is no
        longer waited for.
        """
        fresh = self._take(all_due=all_due)
        if fresh:
            left = fresh
            if not self.circuit.is_open(self._clock()):
                left = self._deliver(fresh, give_up)
            with self._flying_lock:
                if self._flying:  # nobody put it away while the answer was waited for
                    self._keep(left)
                    self._flying = ()
        spooled = self._from_spool(give_up, all_due=all_due)
        return bool(fresh) or spooled

    def put_away(self) -> None:
        """Move everything in the buffer to the spool, without asking the runtime."""
        while lines := self._buffer.take(self._pace.batch_events, self._pace.batch_bytes):
            if not self._keep(lines):
                return

    def put_away_flying(self) -> None:
        """Spool a batch whose answer nobody waits for. If it arrived, it is a duplicate."""
        with self._flying_lock:
            if self._flying:
                self._keep(self._flying)
                self._flying = ()

    def _take(self, *, all_due: bool) -> list[bytes]:
        now = self._clock()
        since = self._buffer.due_since
        if since is None or (now < self._rest_until and not all_due):
            return []
        whole = len(self._buffer) >= self._pace.batch_events
        if not (all_due or whole or now >= since + self._pace.interval_s):
            return []
        with self._flying_lock:  # an event is never in neither place
            lines = self._buffer.take(self._pace.batch_events, self._pace.batch_bytes)
            self._flying = lines
        return lines

    def _keep(self, lines: Sequence[bytes]) -> bool:
        """Spool them, else hold them in memory, else drop them; False when not spooled."""
        kept = not lines or self.to_spool(lines)
        if not kept:
            self._rest_until = self._clock() + SPOOL_REST_S
            lost = self._buffer.give_back(lines)
            if lost:
                self._tally.add(dropped=lost)
                self._tally.trouble(FULL, self._tally.last_error or "the buffer is full")
        return kept

    def to_spool(self, lines: Sequence[bytes]) -> bool:
        """Write them to the spool, from any thread; False when that cannot be done."""
        if self._spool is None:
            return False
        try:
            self._spool.append(lines, now=self._clock())
        except SpoolError as error:
            self._tally.trouble(NO_SPOOL, str(error))
            return False
        self._tally.add(spooled=len(lines))
        return True

    # ------------------------------------------------------------------ sending

    def _from_spool(self, give_up: float, *, all_due: bool) -> bool:
        if self._spool is None:
            return False
        now = self._clock()
        try:
            if now >= self._look_at:
                self._look_at = now + IDLE_S
                self._spool.adopt(now=now)
            since = self._spool.waiting_since
            young = since is not None and now < since + self._pace.interval_s
            if since is None or self.circuit.is_open(now) or (young and not all_due):
                return False
            batch = self._spool.peek(self._pace.batch_events, self._pace.batch_bytes)
        except SpoolError as error:
            self._tally.trouble(NO_SPOOL, str(error))
            return False
        if not batch:
            return False
        left = self._deliver(batch, give_up)
        self._spool.sent(len(batch) - len(left))
        return not left

    def _deliver(self, batch: Sequence[bytes], give_up: float) -> list[bytes]:
        """Send a batch, in halves where it is refused as a whole; what is left when it must wait.

        What is left is always the end of the batch.
        """
        todo = [list(batch)]
        while todo:
            lines = todo.pop()
            match self._ask(lines, give_up):
                case Taken() as taken:
                    self._taken(lines, taken)
                case Apart() if len(lines) > 1:
                    middle = len(lines) // 2
                    todo += [lines[middle:], lines[:middle]]
                case Apart(reason):
                    self._bury([(lines[0], reason)])
                case Later() as later:
                    self._later(later)
                    return [line for part in reversed([*todo, lines]) for line in part]
        return []

    def _ask(self, lines: Sequence[bytes], give_up: float) -> Outcome:
        timeout_s = min(self._pace.answer_s, give_up - self._clock())
        if timeout_s <= 0:
            return Later("there was no time left to send them")
        try:
            reply = self._send(post_events(lines), timeout_s)
        except Unreachable as problem:
            return Later(f"no runtime answers: {problem}")
        return judge(reply, len(lines))

    def _taken(self, lines: Sequence[bytes], taken: Taken) -> None:
        self.circuit.succeeded()
        self._tally.over(AWAY, DENIED)
        self._tally.add(sent=taken.accepted + taken.duplicates, duplicates=taken.duplicates)
        if taken.refused:
            self._bury([(lines[index], reason) for index, reason in taken.refused])

    def _later(self, later: Later) -> None:
        self.circuit.failed(
            self._clock(),
            retry_after_s=later.retry_after_s,
            lasting=later.lasting,
            denied=later.denied,
        )
        self._tally.trouble(DENIED if later.lasting else AWAY, later.reason)

    def _bury(self, refused: Sequence[tuple[bytes, str]]) -> None:
        self._tally.add(rejected=len(refused))
        self._tally.trouble(REFUSED, refused[0][1])
        if self._spool is not None:
            try:
                self._spool.bury(refused)
            except SpoolError as error:
                self._tally.trouble(NO_SPOOL, str(error))
