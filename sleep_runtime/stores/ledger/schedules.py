"""Schedules: what is pending at each scope and when its night is due.

Rules every change keeps:

- ``due_at`` follows from what is pending, by ``consolidation.triggers``;
- a scope with an unfinished run stays due, or nobody would finish that run after a crash;
- nothing is due before ``not_before`` (a postponement, or the cool-down after giving up), unless
  a person asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from sleep_runtime.consolidation.triggers import plan_due
from sleep_runtime.core.access import EVERYTHING as ALL_OF_IT
from sleep_runtime.core.access import Rights
from sleep_runtime.core.journal import ScopeHead
from sleep_runtime.core.note import NoteStatus
from sleep_runtime.core.policy import TriggerPolicy
from sleep_runtime.core.run import Run, RunState, Schedule, Trigger
from sleep_runtime.core.scope import Scope
from sleep_runtime.stores.ledger import rows
from sleep_runtime.stores.ledger.schema import covered, newest, runs, schedules, under

EVERYTHING = "*"
UNFINISHED = tuple(state.value for state in RunState if not state.terminal)
NOT_IDLE = sa.or_(
    schedules.c.events_seen != schedules.c.events_done,
    schedules.c.observations_seen != schedules.c.observations_done,
    schedules.c.folds != 0,
    schedules.c.reviews != 0,
)
# Notes that may fade: one probe of an index for each scope, however many notes it has.
_FADING = (
    sa.exists()
    .where(
        newest.c.scope == schedules.c.scope,
        newest.c.status.in_([NoteStatus.ACTIVE.value, NoteStatus.CANDIDATE.value]),
    )
    .label("fading")
)
_LOAD = sa.select(schedules, _FADING).where(
    schedules.c.scope.in_(sa.bindparam("scopes", expanding=True))
)
_BUSY = sa.select(runs.c.scope).where(runs.c.state.in_(UNFINISHED))
_INSERT = insert(schedules)
_SAVE = _INSERT.on_conflict_do_update(
    index_elements=["scope"],
    set_={c.name: _INSERT.excluded[c.name] for c in schedules.c if not c.primary_key},
)


@dataclass(frozen=True)
class Entry:
    """A schedule with the ledger's own brake on it; ``fading``: the scope has notes in view."""

    schedule: Schedule
    not_before: datetime | None = None
    fading: bool = False

    def having(self, **fields: Any) -> Entry:
        """The entry with some fields of its schedule replaced."""
        return replace(self, schedule=self.schedule.model_copy(update=fields))


Change = Callable[[Entry], Entry]


def load(tx: sa.Connection, scopes: Iterable[Scope]) -> list[Entry]:
    """The entries of these scopes, in order; a scope never seen has an empty one."""
    wanted = list(scopes)
    known: dict[str, Entry] = {}
    for batch in rows.batches([str(scope) for scope in wanted]):
        for row in tx.execute(_LOAD, {"scopes": batch}):
            known[row.scope] = Entry(rows.schedule(row), row.not_before, bool(row.fading))
    return [known.get(str(scope)) or Entry(Schedule(scope=scope)) for scope in wanted]


def save(tx: sa.Connection, entries: Sequence[Entry]) -> None:
    """Write entries whole."""
    if entries:
        tx.execute(_SAVE, [_values(entry) for entry in entries])


def _values(entry: Entry) -> rows.Values:
    return {**rows.schedule_values(entry.schedule), "not_before": entry.not_before}


def busy(tx: sa.Connection) -> set[Scope]:
    """Scopes with an unfinished run: as many as work is in flight, however many scopes exist."""
    return {Scope(path) for path in tx.execute(_BUSY).scalars()}


def settle(entry: Entry, *, busy: bool, policy: TriggerPolicy, now: datetime) -> Entry:
    """The entry with its due time brought up to date with everything else in it."""
    was = entry.schedule
    due, trigger = plan_due(was, policy, now, fading=entry.fading)
    if busy:
        due = min(now, was.due_at or now)
        trigger = Trigger.MANUAL if was.requested else was.trigger or trigger or Trigger.CADENCE
    if due is None:
        idle: dict[str, Any] = dict.fromkeys(("pending_since", "due_at", "trigger"))
        return replace(entry.having(**idle, requested=""), not_before=None)
    if trigger is was.trigger is not Trigger.CADENCE and was.due_at:
        due = min(due, was.due_at)  # what is due already keeps its place in the queue
    if entry.not_before:
        due = max(due, entry.not_before)
    since = None if was.idle else was.pending_since or now
    asked = "" if trigger is Trigger.FADE else was.requested
    return entry.having(due_at=due, trigger=trigger, pending_since=since, requested=asked)


def revise(
    tx: sa.Connection,
    scopes: Iterable[Scope],
    change: Change,
    *,
    policy: TriggerPolicy,
    now: datetime,
) -> None:
    """Change the schedules of these scopes and settle when they are due."""
    in_flight = busy(tx)
    save(
        tx,
        [
            settle(change(entry), busy=entry.schedule.scope in in_flight, policy=policy, now=now)
            for entry in load(tx, scopes)
        ],
    )


def note_heads(
    tx: sa.Connection, heads: Sequence[ScopeHead], *, policy: TriggerPolicy, now: datetime
) -> None:
    """Write the journal's totals; they only grow, so an older head changes nothing."""
    by_scope = {head.scope: head for head in sorted(heads, key=lambda head: head.events)}

    def grow(entry: Entry) -> Entry:
        was, head = entry.schedule, by_scope[entry.schedule.scope]
        return entry.having(
            events_seen=max(was.events_seen, head.events),
            tokens_seen=max(was.tokens_seen, head.tokens),
            # Not when we look: what came in just before a long stop has been pending all the time.
            pending_since=was.pending_since or head.received_at,
        )

    grown = [entry.schedule.scope for entry in load(tx, by_scope) if grow(entry) != entry]
    revise(tx, grown, grow, policy=policy, now=now)


# Up to the first slash, or all of it.
_ORG = sa.func.substr(schedules.c.scope, 1, sa.func.instr(schedules.c.scope.concat("/"), "/") - 1)


def due(
    now: datetime,
    *,
    limit: int,
    least: int = 1,
    without: Collection[Scope] = (),
    rights: Rights = ALL_OF_IT,
) -> sa.Select[Any]:
    """What is due, fairly over organisations: one range of ``ix_schedules_due_at``, ranked."""
    table = schedules
    by_age = (table.c.due_at, table.c.scope)
    wanted = sa.select(
        table.c.scope,
        table.c.due_at,
        sa.func.row_number().over(partition_by=_ORG, order_by=by_age).label("place"),
    ).where(table.c.due_at <= now, covered(table.c.scope, rights))
    if without:
        wanted = wanted.where(_ORG.not_in(sorted(str(org) for org in without)))
    placed = wanted.subquery("placed")
    fairly = (placed.c.place, placed.c.due_at, placed.c.scope)
    ranked = sa.select(
        placed.c.scope,
        placed.c.place,
        sa.func.row_number().over(order_by=fairly).label("rank"),
    ).subquery("ranked")
    return (
        sa.select(table)
        .join(ranked, ranked.c.scope == table.c.scope)
        .where(sa.or_(ranked.c.rank <= limit, ranked.c.place <= least))
        .order_by(*by_age)
    )


def request(
    tx: sa.Connection, scope: Scope | None, *, policy: TriggerPolicy, now: datetime
) -> list[Scope]:
    """Make everything pending at or below ``scope`` due now; a request ends any brake."""
    pending = sa.select(schedules.c.scope).where(
        sa.or_(NOT_IDLE, schedules.c.scope.in_([str(s) for s in busy(tx)]))
    )
    if scope is not None:
        pending = pending.where(under(schedules.c.scope, scope))
    found = [Scope(path) for path in tx.execute(pending.order_by(schedules.c.scope)).scalars()]
    asked = str(scope) if scope else EVERYTHING

    def ask(entry: Entry) -> Entry:
        requested = wider(entry.schedule.requested, asked)
        return replace(entry.having(requested=requested), not_before=None)

    revise(tx, found, ask, policy=policy, now=now)
    return found


def postpone(tx: sa.Connection, scope: Scope, *, until: datetime) -> None:
    """Hold a known scope back until an instant; an earlier one than before changes nothing."""
    for entry in load(tx, [scope]):
        due = entry.schedule.due_at
        if due is not None:
            brake = max(until, entry.not_before or until)
            save(tx, [replace(entry.having(due_at=max(due, brake)), not_before=brake)])


def asked_of(tx: sa.Connection, run: Run) -> str:
    """What was requested of the run's scope, before the run or while it ran; empty if nothing."""
    (entry,) = load(tx, [run.scope])
    own = (run.requested or EVERYTHING) if run.trigger is Trigger.MANUAL else ""
    return wider(own, entry.schedule.requested)


def passed_on(asked: str, entry: Entry) -> Entry:
    """The entry of a scope that a run brought work to: a request goes with the work."""
    if asked and covers(asked, entry.schedule.scope):
        return entry.having(requested=wider(entry.schedule.requested, asked))
    return entry


def covers(requested: str, scope: Scope) -> bool:
    """Whether a request for ``requested`` (empty or ``*``: everything) means ``scope`` too."""
    return requested in ("", EVERYTHING) or Scope(requested).covers(scope)


def wider(left: str, right: str) -> str:
    """The wider of two requests that reached one scope; empty means none."""
    if not left or not right:
        return left or right
    if left == EVERYTHING or right == EVERYTHING:
        return EVERYTHING
    return min(left, right, key=len)
