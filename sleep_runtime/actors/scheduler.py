"""Scheduler: finds the scopes whose night is due and hands them to their tier's actor.

It remembers nothing that matters. What is pending, due, under way and spent are rows in the
ledger, so a new scheduler goes on where the last one stopped, and two of them can only waste a
little time: the lease decides who runs a scope. Only whose turn it is among organisations, and
who settles, is kept in memory; a new scheduler begins both anew. ``Dispatch`` says no to a scope
that is under way.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sleep_runtime.consolidation import budget, fairness
from sleep_runtime.core.policy import Policy
from sleep_runtime.core.pool import Backlog
from sleep_runtime.core.ports import Clock, JournalReader, LedgerReader, LedgerWriter
from sleep_runtime.core.run import Run, RunState, Schedule, Trigger
from sleep_runtime.core.scope import Scope
from sleep_runtime.telemetry.events import LogEvent
from sleep_runtime.telemetry.failpoint import failpoint
from sleep_runtime.telemetry.log import get_logger
from sleep_runtime.telemetry.metrics import METRICS

HEADS_PER_PAGE = 1000
UNFINISHED_PER_TICK = 200
LOOK_PAST = 1000
"""Due scopes one look reads past at most, because they are under way or found no room."""

log = get_logger(__name__)

Dispatch = Callable[[Scope, Trigger, str], bool]
"""Starts the night of one scope somewhere. False when that place has no room now."""

Slots = Callable[[], int]
"""How many more nights may be handed out now."""


@dataclass(frozen=True)
class Tick:
    """What one look found: scopes with news, and the scopes whose night was started."""

    heads: int
    started: tuple[Scope, ...]


class Scheduler:
    """The plain scheduler. ``tick`` is one look; a shell calls it every few seconds.

    Organisations take turns (``consolidation.fairness``): one look hands out at most ``max_due``
    nights and never more than ``slots`` says there is room for, so that what one organisation has
    waiting is not handed out before another's turn. Those whose budget is spent are passed over
    until there is room again.

    A scope whose people are being distilled at this moment is given ``settle_s`` before its own
    night starts, so that it reads the day at once and not in pieces. It is counted from when this
    scheduler first finds it due, and only while nights can start at all: a pool that is away, or a
    runtime that was down, lets nobody's people finish. That is all one tier waits for another.
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
        slots: Slots | None = None,
        policy: Policy | None = None,
    ) -> None:
        self._journal = journal
        self._ledger = ledger
        self._writer = writer
        self._dispatch = dispatch
        self._clock = clock
        self._max_due = max_due
        self._settle = timedelta(seconds=settle_s)
        self._slots = slots
        self._policy = policy or Policy()
        self._turns: dict[Scope, int] = {}
        self._settling: dict[Scope, datetime] = {}
        self._stands_since: datetime | None = None
        self._passed_over: Counter[Scope] = Counter()
        self._told: set[tuple[Scope | None, str]] = set()

    def tick(self) -> Tick:
        """Note what arrived, take up what was interrupted, start what is due."""
        heads = self._note_heads()
        room = self._max_due if self._slots is None else min(self._max_due, self._slots())
        self._skip_standstill(room)
        unfinished = self._ledger.runs(unfinished=True, limit=UNFINISHED_PER_TICK)
        started = self._resume_interrupted(unfinished, room)
        started += self._start_due(unfinished, room - len(started), busy=set(started))
        return Tick(heads=heads, started=tuple(started))

    def request(self, scope: Scope | None) -> list[Scope]:
        """Make everything at and below ``scope`` that has something pending due now."""
        self._note_heads()
        return self._writer.request(scope, now=self._clock.now())

    def backlog(self) -> Backlog:
        """What nights have to do now. What waits for a budget is not asked of the idle pool."""
        now = self._clock.now()
        held = self._held(now)
        if held.night is not None:
            return Backlog()
        return self._ledger.backlog(now, without=held.orgs)

    def gauge(self) -> None:
        """Set the gauges of what is pending, by tier."""
        for tier, pending in self._ledger.pending_by_tier().items():
            METRICS.pending_events.labels(tier.label).set(pending.events)
            METRICS.pending_observations.labels(tier.label).set(pending.observations)
        since = self._ledger.pending_since()
        waited = self._clock.now() - since if since else timedelta()
        METRICS.backlog_age_seconds.set(max(0.0, waited.total_seconds()))
        METRICS.held_tenants.set(self._waiting_for_budget())
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

    def _resume_interrupted(self, unfinished: Sequence[Run], room: int) -> list[Scope]:
        """Runs nobody works on any more: their owner died. Yielded ones wait for their turn."""
        started: list[Scope] = []
        for run in unfinished:
            if run.state is RunState.YIELDED or len(started) >= room:
                continue
            if self._dispatch(run.scope, run.trigger, run.requested):
                log.info(LogEvent.RUN_RESUMED, scope=run.scope, run=run.id, state=run.state.value)
                started.append(run.scope)
        return started

    def _skip_standstill(self, room: int) -> None:
        """Leave the time in which no night could start out of what anybody settles."""
        now = self._clock.now()
        if room <= 0:
            self._stands_since = self._stands_since or now
        elif self._stands_since is not None:
            stood = now - self._stands_since
            self._settling = {scope: since + stood for scope, since in self._settling.items()}
            self._stands_since = None

    def _start_due(self, unfinished: Sequence[Run], room: int, *, busy: set[Scope]) -> list[Scope]:
        now = self._clock.now()
        held = self._held(now)
        self._tell(held)
        if held.night is not None or room <= 0:
            return []
        # Scopes that wait at their tier are still due: look past them, or they hide all others.
        passed = self._passed_over.values()
        limit = self._max_due + min(sum(passed), LOOK_PAST)
        least = 1 + min(max(passed, default=0), LOOK_PAST)
        due = self._ledger.due(now, limit=limit, least=least, without=held.orgs)
        self._passed_over.clear()
        queues = self._queues(due, unfinished, busy, now)
        waiting = {schedule.scope.org for schedule in due}
        self._turns = {org: turn for org, turn in self._turns.items() if org in waiting}
        self._forget_settled(due, now)
        started: list[Scope] = []
        while queues and len(started) < room:
            (org,), turns = fairness.pick(
                {org: [org] for org in queues}, self._turns, self._policy.fairness.weights, 1
            )
            scope = self._start_first(queues[org])
            if not queues[org]:
                del queues[org]
            if scope is not None:  # nobody pays for a turn that found no room, or loses it
                self._turns |= turns
                started.append(scope)
        return started

    def _queues(
        self, due: Sequence[Schedule], unfinished: Sequence[Run], busy: set[Scope], now: datetime
    ) -> dict[Scope, deque[Schedule]]:
        """What may start now, by organisation.

        The narrowest first: what a person's night distils is there when their team's looks.
        """
        fed = _fed(due, unfinished)
        queues: dict[Scope, deque[Schedule]] = defaultdict(deque)
        for schedule in sorted(due, key=lambda item: (-item.scope.tier, item.due_at, item.scope)):
            if schedule.trigger is None or schedule.due_at is None:
                continue
            if schedule.scope in busy or (schedule.scope in fed and self._settles(schedule, now)):
                self._passed_over[schedule.scope.org] += 1
            else:
                queues[schedule.scope.org].append(schedule)
        return dict(queues)

    def _settles(self, schedule: Schedule, now: datetime) -> bool:
        """Whether a scope that is due still gives its people their moment."""
        return now < self._settling.setdefault(schedule.scope, now) + self._settle

    def _forget_settled(self, due: Sequence[Schedule], now: datetime) -> None:
        waiting = {schedule.scope for schedule in due}
        self._settling = {
            scope: since
            for scope, since in self._settling.items()
            if scope in waiting or now < since + self._settle
        }

    def _start_first(self, queue: deque[Schedule]) -> Scope | None:
        """Start the first of a queue that finds room.

        Those before it, and it while it is under way, will still be due at the next look.
        """
        while queue:
            schedule = queue.popleft()
            trigger = schedule.trigger or Trigger.CADENCE
            self._passed_over[schedule.scope.org] += 1
            if self._dispatch(schedule.scope, trigger, schedule.requested):
                log.info(LogEvent.NIGHT_DUE, scope=schedule.scope, trigger=trigger.value)
                self._settling.pop(schedule.scope, None)
                return schedule.scope
        return None

    def _held(self, now: datetime) -> budget.Held:
        """Whose nights wait until there is room in a budget."""
        limits = self._policy.budget
        if not budget.windowed(limits):
            return budget.Held()
        spent = self._ledger.spending(since=budget.window_start(limits, now))
        return budget.held(spent, limits, now)

    def _tell(self, held: budget.Held) -> None:
        """Log once when a budget begins to hold nights back, and once when it ends."""
        holding = {(one.who, one.field): one for one in held.all()}
        for key in holding.keys() - self._told:
            one = holding[key]
            log.warning(
                LogEvent.BUDGET_HOLDS,
                org=one.who,
                limit=one.field,
                reason=one.reason,
                until=one.until,
            )
        for org, limit in self._told - holding.keys():
            log.info(LogEvent.BUDGET_FREE, org=org, limit=limit)
        self._told = set(holding)

    def _waiting_for_budget(self) -> int:
        """How many organisations have something due and may not start it."""
        now = self._clock.now()
        held = self._held(now)
        if not held.all():
            return 0
        due = self._ledger.due(now, limit=1)
        return sum(1 for org in {schedule.scope.org for schedule in due} if held.holds(org))


def _fed(due: Sequence[Schedule], unfinished: Sequence[Run]) -> set[Scope]:
    """The scopes that will get observations in a moment, from nights below that still distil."""
    distilling = {item.scope for item in due if item.pending_events}
    distilling |= {run.scope for run in unfinished if run.state is RunState.PLANNED}
    return {above for scope in distilling for above in scope.lineage()[1:]}
