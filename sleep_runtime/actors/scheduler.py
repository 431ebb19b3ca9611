"""Scheduler: finds the scopes whose night is due and hands them to their tier's actor.

It remembers nothing. What is pending, what is due and what is under way are rows in the ledger,
so a new scheduler goes on where the last one stopped, and two of them can only waste a little
time: the lease decides who runs a scope. ``Dispatch`` says no to a scope that is under way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sleep_runtime.core.ports import Clock, JournalReader, LedgerReader, LedgerWriter
from sleep_runtime.core.run import Run, RunState, Schedule, Trigger
from sleep_runtime.core.scope import Scope
from sleep_runtime.telemetry.events import LogEvent
from sleep_runtime.telemetry.failpoint import failpoint
from sleep_runtime.telemetry.log import get_logger
from sleep_runtime.telemetry.metrics import METRICS

HEADS_PER_PAGE = 1000
UNFINISHED_PER_TICK = 200

log = get_logger(__name__)

Dispatch = Callable[[Scope, Trigger, str], bool]
"""Starts the night of one scope somewhere. False when that place has no room now."""


@dataclass(frozen=True)
class Tick:
    """What one look found: scopes with news, and the scopes whose night was started."""

    heads: int
    started: tuple[Scope, ...]


class Scheduler:
    """The plain scheduler. ``tick`` is one look; a shell calls it every few seconds.

    A scope whose people are being distilled at this moment is given ``settle_s`` from its due time
    before its own night starts, so that it reads the day at once and not in pieces. That is all
    one tier ever waits for another.
    """

    def __init__(
        self,
        *,
        journal: JournalReader,
        ledger: LedgerReader,
        writer: LedgerWriter,
        dispatch: Dispatch,
        clock: Clock,
        max_due: int = 100,
        settle_s: float = 30.0,
    ) -> None:
        self._journal = journal
        self._ledger = ledger
        self._writer = writer
        self._dispatch = dispatch
        self._clock = clock
        self._max_due = max_due
        self._settle = timedelta(seconds=settle_s)
        self._passed_over = 0

    def tick(self) -> Tick:
        """Note what arrived, take up what was interrupted, start what is due."""
        heads = self._note_heads()
        unfinished = self._ledger.runs(unfinished=True, limit=UNFINISHED_PER_TICK)
        started = self._resume_interrupted(unfinished)
        started += self._start_due(unfinished, busy=set(started))
        return Tick(heads=heads, started=tuple(started))

    def request(self, scope: Scope | None) -> list[Scope]:
        """Make everything at and below ``scope`` that has something pending due now."""
        self._note_heads()
        return self._writer.request(scope, now=self._clock.now())

    def gauge(self) -> None:
        """Set the gauges of what is pending, by tier."""
        for tier, pending in self._ledger.pending_by_tier().items():
            METRICS.pending_events.labels(tier.label).set(pending.events)
            METRICS.pending_observations.labels(tier.label).set(pending.observations)
        METRICS.outbox_marks.set(self._ledger.counts().get("outbox", 0))

    def _note_heads(self) -> int:
        noted = 0
        watermark = self._ledger.watermark()
        while heads := self._journal.heads(after=watermark, limit=HEADS_PER_PAGE):
            watermark = heads[-1].last_seq
            self._writer.note_heads(heads, watermark=watermark, now=self._clock.now())
            failpoint("scheduler.heads.noted")
            noted += len(heads)
        return noted

    def _resume_interrupted(self, unfinished: Sequence[Run]) -> list[Scope]:
        """Runs nobody works on any more: their owner died. Yielded ones wait for their turn."""
        started = []
        for run in unfinished:
            if run.state is RunState.YIELDED:
                continue
            if self._dispatch(run.scope, run.trigger, run.requested):
                log.info(LogEvent.RUN_RESUMED, scope=run.scope, run=run.id, state=run.state.value)
                started.append(run.scope)
        return started

    def _start_due(self, unfinished: Sequence[Run], *, busy: set[Scope]) -> list[Scope]:
        # Scopes that wait at their tier are still due: look past them, or they hide all others.
        now = self._clock.now()
        due = self._ledger.due(now, limit=self._max_due + self._passed_over)
        fed = _fed(due, unfinished)
        self._passed_over = 0
        started = []
        # The narrowest first: what a person's night distils is there when their team's looks.
        for schedule in sorted(due, key=lambda item: (-item.scope.tier, item.due_at, item.scope)):
            if schedule.scope in busy or schedule.trigger is None or schedule.due_at is None:
                continue
            if schedule.scope in fed and now < schedule.due_at + self._settle:
                continue
            if not self._dispatch(schedule.scope, schedule.trigger, schedule.requested):
                self._passed_over += 1
            else:
                log.info(LogEvent.NIGHT_DUE, scope=schedule.scope, trigger=schedule.trigger.value)
                started.append(schedule.scope)
        return started


def _fed(due: Sequence[Schedule], unfinished: Sequence[Run]) -> set[Scope]:
    """The scopes that will get observations in a moment, from nights below that still distil."""
    distilling = {item.scope for item in due if item.pending_events}
    distilling |= {run.scope for run in unfinished if run.state is RunState.PLANNED}
    return {above for scope in distilling for above in scope.lineage()[1:]}
