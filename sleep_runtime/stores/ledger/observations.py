"""Observations: stored once by id, numbered in the order they became visible."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from sleep_runtime.core.observation import Observation
from sleep_runtime.core.scope import Scope, Tier
from sleep_runtime.stores.ledger import rows
from sleep_runtime.stores.ledger.schema import observations, observing

_PENDING = {
    tier: sa.select(sa.func.count()).where(
        observing(tier) == sa.bindparam("of"), observations.c.seq > sa.bindparam("after")
    )
    for tier in Tier
}
_END: dict[Tier, sa.Select[Any]] = {
    tier: sa.select(sa.func.max(sa.column("seq"))).select_from(
        sa.select(observations.c.seq)
        .where(observing(tier) == sa.bindparam("of"), observations.c.seq > sa.bindparam("after"))
        .order_by(observations.c.seq)
        .limit(sa.bindparam("most", type_=sa.Integer))
        .subquery()
    )
    for tier in Tier
}


def store(tx: sa.Connection, found: Sequence[Observation]) -> int:
    """Store those that are not known yet. Returns how many were new."""
    if not found:
        return 0
    before = _highest(tx)
    statement = insert(observations).on_conflict_do_nothing(index_elements=["id"])
    tx.execute(statement, [rows.observation_values(one) for one in found])
    after = sa.select(sa.func.count()).where(observations.c.seq > before)
    return tx.execute(after).scalar_one()


def _highest(tx: sa.Connection) -> int:
    return tx.execute(sa.select(sa.func.max(observations.c.seq))).scalar() or 0


def pending(tx: sa.Connection, scope: Scope, *, after: int) -> int:
    """How many observations of this scope and those below lie past a cursor."""
    return tx.execute(_PENDING[scope.tier], {"of": str(scope), "after": after}).scalar_one()


def end(tx: sa.Connection, scope: Scope, *, after: int, limit: int) -> int:
    """The seq of the last of at most ``limit`` observations past a cursor; the cursor if none."""
    page = {"of": str(scope), "after": after, "most": limit}
    return tx.execute(_END[scope.tier], page).scalar() or after
