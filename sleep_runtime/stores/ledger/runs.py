"""Runs: the steps of a night, each one transition under the scope's lease.

A step that was done already returns the run unchanged: a caller that cannot know whether its
last call went through, because it or the ledger's owner died, simply calls again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from sleep_runtime.consolidation.triggers import plan_due
from sleep_runtime.core.access import EVERYTHING, Rights
from sleep_runtime.core.errors import NotFound, StoreError
from sleep_runtime.core.ids import stable_id
from sleep_runtime.core.observation import Observation, Usage
from sleep_runtime.core.policy import TriggerPolicy
from sleep_runtime.core.ports import Asked, Cursors, Pin
from sleep_runtime.core.proposal import Critique, Proposal
from sleep_runtime.core.run import CursorRange, Lease, Run, RunState, Schedule, Trigger
from sleep_runtime.core.scope import Scope
from sleep_runtime.core.spending import NO_COST, Cost
from sleep_runtime.stores.ledger import (
    leases,
    observations,
    opinions,
    rows,
    schedules,
    spending,
)
from sleep_runtime.stores.ledger.schedules import Entry
from sleep_runtime.stores.ledger.schema import covered, cursors, pins, proposals, runs

_LEAST_COOLDOWN_S = 1.0
_ORDER = (
    RunState.PLANNED,
    RunState.GENERATED,
    RunState.REFLECTED,
    RunState.COMMITTED,
    RunState.PROJECTED,
)


# Built once: a statement that is built anew costs more than SQLite takes to run it.
_FIND = sa.select(runs).where(runs.c.id == sa.bindparam("run"))
_LAST = (
    sa.select(runs)
    .where(runs.c.scope == sa.bindparam("of"))
    .order_by(runs.c.number.desc())
    .limit(1)
)
_CHANGE = sa.update(runs).where(runs.c.id == sa.bindparam("run"))
_CURSORS = sa.select(cursors).where(cursors.c.scope == sa.bindparam("of"))
_NEW_CURSORS = insert(cursors)
_MOVE_CURSORS = _NEW_CURSORS.on_conflict_do_update(
    index_elements=["scope"],
    set_={name: _NEW_CURSORS.excluded[name] for name in ("journal", "observations")},
)


def find(tx: sa.Connection, run_id: str, rights: Rights = EVERYTHING) -> Run | None:
    """The run; None when there is none, or none that may be seen."""
    named = _FIND if rights.within is None else _FIND.where(covered(runs.c.scope, rights))
    row = tx.execute(named, {"run": run_id}).first()
    return rows.run(row) if row else None


def get(tx: sa.Connection, run_id: str) -> Run:
    """The run. Raises ``NotFound``."""
    run = find(tx, run_id)
    if run is None:
        raise no_such_run(run_id)
    return run


def no_such_run(run_id: str) -> NotFound:
    """What is said of a run that is not there, and of one that may not be seen."""
    return NotFound(f"there is no run {run_id!r}", field="id", mend="list them first")


def held(tx: sa.Connection, lease: Lease, run_id: str) -> Run:
    """The run, for the holder of its scope. Raises ``LeaseLost``, ``NotFound``, ``StoreError``."""
    leases.check(tx, lease)
    run = get(tx, run_id)
    if run.scope != lease.scope:
        raise StoreError(
            f"run {run_id} belongs to {run.scope}, the lease is for {lease.scope}", field="run"
        )
    return run


def change(tx: sa.Connection, run: Run, **fields: Any) -> Run:
    """Write a run with some of its fields replaced."""
    changed = run.model_copy(update=fields)
    tx.execute(_CHANGE, {"run": run.id, **rows.run_values(changed)})
    return changed


def charge(tx: sa.Connection, run: Run, cost: Cost, *, now: datetime) -> Run:
    """The run with what it used since its last write, and its organisation charged for it.

    The caller writes the run.
    """
    spending.add(tx, run, cost, now=now)
    total = run.cost + cost
    return run.model_copy(update={"usage": total.usage, "seconds": total.seconds})


def stands_at(run: Run, state: RunState) -> bool:
    """True when the run waits for the step after ``state``, False when that step is done.

    Raises ``StoreError`` when an earlier step is missing, or the run was given up or yielded.
    """
    if run.state is state:
        return True
    reached = run.stood_at or run.state
    if reached in _ORDER and _ORDER.index(reached) > _ORDER.index(state):
        return False
    raise StoreError(
        f"run {run.id} is {run.state}, not {state}", field="run.state", mend="plan the scope again"
    )


def added(counts: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    """Two counts by reason code, summed."""
    total = Counter(counts)
    total.update(more)
    return dict(total)


def cursors_of(tx: sa.Connection, scope: Scope) -> Cursors:
    """How far the scope is done; zeros before its first run."""
    row = tx.execute(_CURSORS, {"of": str(scope)}).first()
    return Cursors(journal=row.journal, observations=row.observations) if row else Cursors()


def move_cursors(tx: sa.Connection, scope: Scope, *, journal: int, observed: int) -> None:
    """Move the scope's cursors forward; never back."""
    was = cursors_of(tx, scope)
    values = {
        "journal": max(was.journal, journal),
        "observations": max(was.observations, observed),
    }
    tx.execute(_MOVE_CURSORS, {"scope": str(scope), **values})


# ---------------------------------------------------------------------------- plan


def plan(
    tx: sa.Connection,
    lease: Lease,
    *,
    now: datetime,
    trigger: Trigger,
    requested: str,
    journal_upto: int,
    max_observations: int,
    policy: TriggerPolicy,
) -> Run | None:
    """The scope's unfinished run, resumed, or a new one, or None when nothing is pending."""
    leases.check(tx, lease)
    schedules.covers(requested, lease.scope)  # refuses what is no scope
    newest = last(tx, lease.scope)
    if newest is not None and not newest.state.terminal:
        return _resume(tx, newest, lease, now=now)
    (entry,) = schedules.load(tx, [lease.scope])
    done = cursors_of(tx, lease.scope)
    number = newest.number + 1 if newest else 1
    run = Run(
        id=stable_id("run", lease.scope, str(number)),
        scope=lease.scope,
        number=number,
        trigger=trigger,
        requested=requested,
        state=RunState.PLANNED,
        epoch=lease.epoch,
        owner=lease.owner,
        planned_at=now,
        updated_at=now,
        journal=CursorRange(after=done.journal, upto=max(done.journal, journal_upto)),
        observations=CursorRange(after=done.observations, upto=done.observations),
        folds=entry.schedule.folds,
        reviews=entry.schedule.reviews,
    )
    if _nothing_pending(tx, run) and not _time_to_fade(run, entry):
        _rest(tx, entry, policy=policy, now=now)
        return None
    values = rows.run_values(run) | {"max_observations": max_observations}
    tx.execute(sa.insert(runs).values(values))
    return run


def last(tx: sa.Connection, scope: Scope) -> Run | None:
    """The newest run of exactly this scope."""
    row = tx.execute(_LAST, {"of": str(scope)}).first()
    return rows.run(row) if row else None


def _resume(tx: sa.Connection, run: Run, lease: Lease, *, now: datetime) -> Run:
    """Go on with a run. Only one that its owner dropped counts as a failed attempt."""
    failed = run.state is not RunState.YIELDED
    return change(
        tx,
        run,
        state=run.stood_at or run.state,
        stood_at=None,
        epoch=lease.epoch,
        owner=lease.owner,
        attempts=run.attempts + failed,
        updated_at=now,
    )


def _nothing_pending(tx: sa.Connection, run: Run) -> bool:
    after = run.observations.after
    return (
        run.journal.empty
        and not run.folds
        and not run.reviews
        and observations.end(tx, run.scope, after=after, limit=1) == after
    )


def _time_to_fade(run: Run, entry: Entry) -> bool:
    """True for a run that has nothing to read and comes to let notes fade, as it was due to."""
    due = entry.schedule.due_at
    return (
        run.trigger is Trigger.FADE and entry.fading and due is not None and due <= run.planned_at
    )


def _rest(tx: sa.Connection, entry: Entry, *, policy: TriggerPolicy, now: datetime) -> None:
    """Nothing is left to do, whatever the totals say: not due until something new is noted.

    Or until its notes may have faded.
    """
    was = entry.schedule
    if was == Schedule(scope=was.scope):
        return
    nothing = Schedule(scope=was.scope, last_run_at=was.last_run_at)
    due, trigger = plan_due(nothing, policy, now, fading=entry.fading)
    caught_up = entry.having(observations_done=was.observations_seen, requested="")
    settled = schedules.settle(caught_up, busy=False, policy=policy, now=now)
    schedules.save(tx, [settled.having(due_at=due, trigger=trigger)])


# ---------------------------------------------------------------------------- steps


def pin(
    tx: sa.Connection,
    lease: Lease,
    run_id: str,
    step: str,
    found: Sequence[Pin],
    *,
    now: datetime,
    seconds: float = 0.0,
) -> Run:
    """Remember model outputs once; what a key cost is added to the run with its first output."""
    run = held(tx, lease, run_id)
    known = set(tx.execute(sa.select(pins.c.key).where(*of_step(run_id, step))).scalars())
    fresh: dict[str, Pin] = {}
    for one in found:
        if one.key not in known:
            fresh.setdefault(one.key, one)
    if not fresh:
        return run
    tx.execute(sa.insert(pins), [rows.pin_values(run_id, step, one) for one in fresh.values()])
    used = sum((one.usage for one in fresh.values()), Usage())
    charged = charge(tx, run, Cost(usage=used, seconds=seconds), now=now)
    return change(tx, charged, attempts=1)


def of_step(run_id: str, step: str) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    """The condition for the pins of one step of one run."""
    return pins.c.run_id == run_id, pins.c.step == step


def generated(
    tx: sa.Connection,
    lease: Lease,
    run_id: str,
    found: Sequence[Observation],
    *,
    events: int,
    tokens: int,
    counts: Mapping[str, int],
    now: datetime,
    policy: TriggerPolicy,
    cost: Cost = NO_COST,
) -> Run:
    """planned -> generated: the observations, the journal cursor, and what waits where now."""
    run = held(tx, lease, run_id)
    if not stands_at(run, RunState.PLANNED):
        return run
    _only_of(run, found)
    new = observations.store(tx, found)
    move_cursors(tx, run.scope, journal=run.journal.upto, observed=0)
    after = cursors_of(tx, run.scope).observations
    upto = observations.end(tx, run.scope, after=after, limit=_max_observations(tx, run))
    done = change(
        tx,
        charge(tx, run, cost, now=now),
        state=RunState.GENERATED,
        attempts=1,
        observations=CursorRange(after=after, upto=upto),
        counts=added(run.counts, counts),
        updated_at=now,
    )

    asked = schedules.asked_of(tx, run)

    def note(entry: Entry) -> Entry:
        noted = entry.having(observations_seen=entry.schedule.observations_seen + new)
        if entry.schedule.scope == run.scope:
            return _distilled(noted, events=events, tokens=tokens)
        return schedules.passed_on(asked, noted)

    scopes = run.scope.lineage() if new else run.scope.lineage()[:1]
    schedules.revise(tx, scopes, note, policy=policy, now=now)
    return done


def _only_of(run: Run, found: Sequence[Observation]) -> None:
    for one in found:
        if one.scope != run.scope:
            raise StoreError(
                f"run {run.id} of {run.scope} cannot observe for {one.scope}",
                field="observation.scope",
            )


def _max_observations(tx: sa.Connection, run: Run) -> int:
    limit = sa.select(runs.c.max_observations).where(runs.c.id == run.id)
    return int(tx.execute(limit).scalar_one())


def _distilled(entry: Entry, *, events: int, tokens: int) -> Entry:
    """Count events as done. A run may read events whose head was not noted yet: seen >= done."""
    was = entry.schedule
    events_done, tokens_done = was.events_done + events, was.tokens_done + tokens
    return entry.having(
        events_done=events_done,
        events_seen=max(was.events_seen, events_done),
        tokens_done=tokens_done,
        tokens_seen=max(was.tokens_seen, tokens_done),
    )


def reflected(
    tx: sa.Connection,
    lease: Lease,
    run_id: str,
    judged: Sequence[tuple[Proposal, Critique]],
    *,
    counts: Mapping[str, int],
    now: datetime,
    asked: Asked | None = None,
    cost: Cost = NO_COST,
) -> Run:
    """generated -> reflected: what was proposed and what was thought of it."""
    run = held(tx, lease, run_id)
    if not stands_at(run, RunState.GENERATED):
        return run
    values = [rows.judged_values(run_id, ordinal, one) for ordinal, one in enumerate(judged)]
    if values:
        tx.execute(sa.insert(proposals), values)
    if asked is not None:
        opinions.remember(tx, run.scope, asked, now=now)
    return change(
        tx,
        charge(tx, run, cost, now=now),
        state=RunState.REFLECTED,
        attempts=1,
        counts=added(run.counts, counts),
        updated_at=now,
    )


def projected(
    tx: sa.Connection, run_id: str, *, now: datetime, policy: TriggerPolicy, cost: Cost = NO_COST
) -> Run:
    """committed -> projected; the scope is due again by what is pending, no longer by this run."""
    run = get(tx, run_id)
    yielded_committed = run.state is RunState.YIELDED and run.stood_at is RunState.COMMITTED
    if not yielded_committed and not stands_at(run, RunState.COMMITTED):
        return run
    charged = charge(tx, run, cost, now=now)
    done = change(tx, charged, state=RunState.PROJECTED, stood_at=None, updated_at=now)
    schedules.revise(tx, [run.scope], anew, policy=policy, now=now)
    return done


def anew(entry: Entry) -> Entry:
    """Forget when the scope was due: the night it was due for has happened."""
    forgotten: dict[str, Any] = dict.fromkeys(("due_at", "trigger"))
    return entry.having(**forgotten)


# ---------------------------------------------------------------------------- giving up


def yield_run(
    tx: sa.Connection,
    lease: Lease,
    run_id: str,
    reason: str,
    *,
    now: datetime,
    policy: TriggerPolicy,
    failed: bool = False,
    cost: Cost = NO_COST,
    spent_until: datetime | None = None,
    at_once: bool = False,
) -> Run:
    """Stop where the run stands; it is due again after the cool-down.

    Or when there is room in a budget again: then its next turn begins to count anew. Or at once.
    """
    run = held(tx, lease, run_id)
    if run.state is RunState.YIELDED or run.state.terminal:
        return run
    charged = charge(tx, run, cost, now=now)
    done = change(
        tx,
        charged,
        state=RunState.YIELDED,
        stood_at=run.state,
        attempts=run.attempts + failed,
        reason=reason,
        updated_at=now,
        spent_before=run.spent_before if spent_until is None else charged.cost,
    )
    if not at_once:
        _cool_down(tx, run.scope, now=now, policy=policy, until=spent_until)
    return done


def abandon(
    tx: sa.Connection,
    lease: Lease,
    run_id: str,
    reason: str,
    *,
    now: datetime,
    policy: TriggerPolicy,
    cost: Cost = NO_COST,
) -> Run:
    """Give the run up; what it did not commit stays pending.

    After a commit only the projection is given up, and the outbox still holds that.
    """
    run = held(tx, lease, run_id)
    if run.state.terminal:
        return run
    if RunState.COMMITTED in (run.state, run.stood_at):
        reason = f"{run.reason}; committed, not projected by this run: {reason}".lstrip("; ")
    charged = charge(tx, run, cost, now=now)
    done = change(
        tx, charged, state=RunState.ABANDONED, stood_at=None, reason=reason, updated_at=now
    )
    _cool_down(tx, run.scope, now=now, policy=policy)
    return done


def _cool_down(
    tx: sa.Connection,
    scope: Scope,
    *,
    now: datetime,
    policy: TriggerPolicy,
    until: datetime | None = None,
) -> None:
    """Due again exactly when the cool-down is over, and ``until``, if anything is pending.

    A policy without a cool-down still gets a second: what cannot be done now is no tight loop.
    """
    cooled = now + timedelta(seconds=max(policy.cooldown_s, _LEAST_COOLDOWN_S))
    until = max(cooled, until or cooled)

    def brake(entry: Entry) -> Entry:
        return replace(entry, not_before=max(until, entry.not_before or until))

    schedules.revise(tx, [scope], brake, policy=policy, now=now)
    (entry,) = schedules.load(tx, [scope])
    if entry.schedule.due_at is not None:
        schedules.save(tx, [entry.having(due_at=entry.not_before)])
