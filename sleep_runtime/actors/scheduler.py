"""Scheduler: finds the scopes whose night is due and hands them to their tier's actor.

It remembers nothing. What is pending, what is due and what is under way are rows in the ledger,
so a new scheduler goes on where the last one stopped, and two of them can only waste a little
time: the lease decides who runs a scope. ``Dispatch`` says no to a scope that is under way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sleep_runtime.core.ports import Clock, JournalReader, LedgerReader, LedgerWriter
from sleep_runtime.core.run import RunState, Trigger
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
    """The plain scheduler. ``tick`` is one look; a shell calls it every few seconds."""

    def __init__(
        self,
        *,
        journal: JournalReader,
        ledger: LedgerReader,
        writer: LedgerWriter,
        dispatch: Dispatch,
        clock: Clock,
        max_due: int = 100,
    ) -> None:
        self._journal = journal
        self._ledger = ledger
        self._writer = writer
        self._dispatch = dispatch
        self._clock = clock
        self._max_due = max_due
        self._passed_over = 0

    def tick(self) -> Tick:
        """Note what arrived, take up what was interrupted, start what is due."""
        heads = self._note_heads()
        started = self._resume_interrupted()
        started += self._start_due(busy=set(started))
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

    def _resume_interrupted(self) -> list[Scope]:
        """Runs nobody works on any more: their owner died. Yielded ones wait for their turn."""
        unfinished = self._ledger.runs(unfinished=True, limit=UNFINISHED_PER_TICK)
        started = []
        for run in unfinished:
            if run.state is RunState.YIELDED:
                continue
            if self._dispatch(run.scope, run.trigger, run.requested):
                log.info(LogEvent.RUN_RESUMED, scope=run.scope, run=run.id, state=run.state.value)
                started.append(run.scope)
        return started

    def _start_due(self, *, busy: set[Scope]) -> list[Scope]:
        # Scopes that wait at their tier are still due: look past them, or they hide all others.
        due = self._ledger.due(self._clock.now(), limit=self._max_due + self._passed_over)
        self._passed_over = 0
        started = []
        # The narrowest first: what a person's night distils is there when their team's looks.
        for schedule in sorted(due, key=lambda item: (-item.scope.tier, item.due_at, item.scope)):
            if schedule.scope in busy or schedule.trigger is None:
                continue
            if not self._dispatch(schedule.scope, schedule.trigger, schedule.requested):
                self._passed_over += 1
            else:
                log.info(LogEvent.NIGHT_DUE, scope=schedule.scope, trigger=schedule.trigger.value)
                started.append(schedule.scope)
        return started
