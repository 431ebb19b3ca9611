"""Totals: how much of everything there is and what is pending, summed by the database.

None of these takes the rows themselves into memory: a status is whole however many scopes wait.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from sleep_runtime.core.access import EVERYTHING, Rights
from sleep_runtime.core.note import NoteStatus
from sleep_runtime.core.pool import Backlog
from sleep_runtime.core.ports import Pending
from sleep_runtime.core.review import ReviewState
from sleep_runtime.core.scope import Scope, Tier
from sleep_runtime.stores.ledger import meta, schema
from sleep_runtime.stores.ledger.schedules import NOT_IDLE, UNFINISHED
from sleep_runtime.stores.ledger.schema import covered, under

_COUNTED = {
    "observations": schema.observations,
    "pins": schema.pins,
    "notes": schema.newest,
    "revisions": schema.notes,
    "evidence": schema.note_evidence,
    "vectors": schema.note_vectors,
    "runs": schema.runs,
    "deltas": schema.deltas,
    "proposals": schema.proposals,
    "schedules": schema.schedules,
    "reviews": schema.reviews,
    "judgements": schema.judgements,
    "outbox": schema.outbox,
}
# These belong to the scope of their note or run. Evidence has a scope too: where it was said.
_OF_A_NOTE = (schema.note_evidence, schema.note_vectors, schema.outbox)
_OF_A_RUN = (schema.pins, schema.proposals)


def counts(tx: sa.Connection, within: Scope | None, rights: Rights = EVERYTHING) -> dict[str, int]:
    """Rows by noun, and notes by status as ``notes.<status>``, zeros included."""

    def narrowed(query: sa.Select[Any], table: sa.Table) -> sa.Select[Any]:
        return _narrowed(query.select_from(table), table, within, rights)

    counted = {
        noun: tx.execute(narrowed(sa.select(sa.func.count()), table)).scalar_one()
        for noun, table in _COUNTED.items()
    }
    status = schema.newest.c.status
    by_status = narrowed(sa.select(status, sa.func.count().label("number")), schema.newest)
    found = {row.status: row.number for row in tx.execute(by_status.group_by(status))}
    open_reviews = sa.select(sa.func.count()).where(
        schema.reviews.c.state == ReviewState.OPEN.value
    )
    counted["reviews.open"] = tx.execute(narrowed(open_reviews, schema.reviews)).scalar_one()
    return counted | {f"notes.{s.value}": found.get(s.value, 0) for s in NoteStatus}


def due(tx: sa.Connection, now: datetime, without: Collection[Scope]) -> Backlog:
    """The scopes that are due at ``now`` and their pending tokens: one range of the index."""
    table = schema.schedules
    tokens = sa.func.coalesce(sa.func.sum(table.c.tokens_seen - table.c.tokens_done), 0)
    found = tx.execute(
        sa.select(sa.func.count().label("scopes"), tokens.label("tokens")).where(
            table.c.due_at <= now, *(~under(table.c.scope, org) for org in without)
        )
    ).one()
    return Backlog(scopes=int(found.scopes), tokens=int(found.tokens))


def _narrowed(
    query: sa.Select[Any], table: sa.Table, within: Scope | None, rights: Rights
) -> sa.Select[Any]:
    """The query over the rows that belong to ``within`` and below, as far as they may be seen."""
    if within is None and rights.within is None:
        return query

    def belongs(scope: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
        here = sa.true() if within is None else under(scope, within)
        return sa.and_(here, covered(scope, rights))

    if table in _OF_A_NOTE:
        owned = sa.select(schema.newest.c.note_id).where(belongs(schema.newest.c.scope))
        return query.where(table.c.note_id.in_(owned))
    if table in _OF_A_RUN:
        owned = sa.select(schema.runs.c.id).where(belongs(schema.runs.c.scope))
        return query.where(table.c.run_id.in_(owned))
    return query.where(belongs(table.c.scope))


_SCHEDULE = schema.schedules.c
_SLASHES = sa.func.length(_SCHEDULE.scope) - sa.func.length(
    sa.func.replace(_SCHEDULE.scope, "/", "")
)
_SUMS = (
    sa.func.count().label("scopes"),
    *(
        sa.func.coalesce(sa.func.sum(column), 0).label(name)
        for name, column in (
            ("events", _SCHEDULE.events_seen - _SCHEDULE.events_done),
            ("tokens", _SCHEDULE.tokens_seen - _SCHEDULE.tokens_done),
            ("observations", _SCHEDULE.observations_seen - _SCHEDULE.observations_done),
            ("folds", _SCHEDULE.folds),
        )
    ),
)


def pending(tx: sa.Connection, scope: Scope | None, rights: Rights = EVERYTHING) -> Pending:
    """What is pending at this scope and those below, or everywhere."""
    summed = sa.select(*_SUMS).where(NOT_IDLE, covered(_SCHEDULE.scope, rights))
    if scope is not None:
        summed = summed.where(under(_SCHEDULE.scope, scope))
    return Pending(**tx.execute(summed).one()._asdict())


def pending_by_tier(tx: sa.Connection) -> dict[Tier, Pending]:
    """What is pending at every tier, zeros included."""
    summed = sa.select((_SLASHES + 1).label("tier"), *_SUMS).where(NOT_IDLE).group_by(_SLASHES)
    found = {row.tier: row._asdict() for row in tx.execute(summed)}
    return {tier: Pending(**found.get(tier, {})) for tier in Tier}


def furthest(tx: sa.Connection) -> int:
    """The furthest journal position that anything here was derived from, or is about to be."""
    ends = (
        sa.select(sa.func.max(schema.cursors.c.journal)),
        sa.select(sa.func.max(schema.runs.c.journal_upto)).where(
            schema.runs.c.state.in_(UNFINISHED)
        ),
    )
    return max(meta.read(tx, meta.WATERMARK), *(tx.execute(end).scalar() or 0 for end in ends))
