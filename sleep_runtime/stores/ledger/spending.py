"""Spending: what the nights of each organisation cost, by the hour.

Written in the transaction of the step that used it, so that nothing is counted twice or lost
when the step is done again. Hours that no budget can reach back to are removed.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from sleep_runtime.core.policy import MAX_WINDOW_S
from sleep_runtime.core.run import Run
from sleep_runtime.core.scope import Scope
from sleep_runtime.core.spending import BUCKET, NO_COST, Bucket, Cost, hour_of
from sleep_runtime.stores.ledger import rows
from sleep_runtime.stores.ledger.schema import spending

KEPT = timedelta(seconds=MAX_WINDOW_S) + 2 * BUCKET

_NEW = insert(spending)
_ADD = _NEW.on_conflict_do_update(
    index_elements=["org", "hour"],
    set_={
        column.name: column + _NEW.excluded[column.name]
        for column in spending.c
        if not column.primary_key
    },
)
_FORGET = sa.delete(spending).where(
    spending.c.org == sa.bindparam("of"),
    spending.c.hour < sa.bindparam("before", type_=spending.c.hour.type),
)
ALL_SINCE = (
    sa.select(spending)
    .where(spending.c.hour > sa.bindparam("since", type_=spending.c.hour.type))
    .order_by(spending.c.hour, spending.c.org)
)
ORG_SINCE = ALL_SINCE.where(spending.c.org == sa.bindparam("of"))


def add(tx: sa.Connection, run: Run, cost: Cost, *, now: datetime) -> None:
    """Charge a run's organisation in the hour of ``now``."""
    if cost == NO_COST:
        return
    org = str(run.scope.org)
    tx.execute(_ADD, rows.spending_values(org, hour_of(now), cost))
    tx.execute(_FORGET, {"of": org, "before": now - KEPT})


def since(tx: sa.Connection, instant: datetime, org: Scope | None) -> list[Bucket]:
    """The buckets that began after an instant, of one organisation or of all, oldest first."""
    if org is None:
        found = tx.execute(ALL_SINCE, {"since": instant})
    else:
        found = tx.execute(ORG_SINCE, {"since": instant, "of": str(org)})
    return [rows.bucket(row) for row in found]
