"""Erasures: their rows, their steps, and the leases that keep nights away meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from sleep_runtime.core.erasure import Erasure, ErasureState, Target
from sleep_runtime.core.errors import NotFound
from sleep_runtime.core.scope import Scope
from sleep_runtime.stores.ledger import rows
from sleep_runtime.stores.ledger.leases import NEVER
from sleep_runtime.stores.ledger.schema import (
    erasures,
    leases,
    newest,
    observations,
    runs,
    schedules,
    under,
)

_FREE = ""
_FENCE = insert(leases).values(
    scope=sa.bindparam("of"), owner=sa.bindparam("by"), epoch=1, expires_at=NEVER
)
_TAKE_OVER = _FENCE.on_conflict_do_update(
    index_elements=["scope"],
    set_={
        "owner": _FENCE.excluded.owner,
        "epoch": leases.c.epoch + 1,
        "expires_at": _FENCE.excluded.expires_at,
    },
)


def owner(erasure_id: str) -> str:
    """The name under which an erasure holds its scopes."""
    return f"erasure:{erasure_id}"


def get(tx: sa.Connection, erasure_id: str) -> Erasure:
    """The erasure. Raises ``NotFound``."""
    row = tx.execute(sa.select(erasures).where(erasures.c.id == erasure_id)).first()
    if row is None:
        raise NotFound(f"there is no erasure {erasure_id!r}", field="erasure")
    return rows.erasure(row)


def begin(tx: sa.Connection, erasure: Erasure, target: Target, known: Iterable[Scope]) -> Erasure:
    """Remember what was asked, and shut out every night of the scopes concerned.

    These are the scopes at and below the target and those above, and ``known`` beside what the
    ledger knows. A night under way loses its lease: it can commit nothing any more.
    """
    insertion = insert(erasures).values(rows.erasure_values(erasure))
    tx.execute(insertion.on_conflict_do_nothing(index_elements=["id"]))
    for scope in sorted({*concerned(tx, target), *known}):
        tx.execute(_TAKE_OVER, {"of": str(scope), "by": owner(erasure.id)})
    return get(tx, erasure.id)


def concerned(tx: sa.Connection, target: Target) -> set[Scope]:
    """The scopes whose nights may have read, or may be reading, what is to be erased."""
    found = set(target.scope.lineage())
    for column in (
        schedules.c.scope,
        leases.c.scope,
        runs.c.scope,
        observations.c.scope,
        newest.c.scope,
    ):
        below = sa.select(column).where(under(column, target.scope)).distinct()
        found |= {Scope(path) for path in tx.execute(below).scalars()}
    return found


def advance(
    tx: sa.Connection,
    erasure_id: str,
    state: ErasureState,
    *,
    now: datetime,
    upto: int | None = None,
    counts: Mapping[str, int] | None = None,
    receipt: Mapping[str, Any] | None = None,
) -> Erasure:
    """Note that a step is done, and what it found. A step that is behind it changes nothing."""
    was = get(tx, erasure_id)
    if was.done_with(state):
        return was
    done = was.model_copy(
        update={
            "state": state,
            "upto": was.upto if upto is None else upto,
            "counts": {**was.counts, **(counts or {})},
            "receipt": {**was.receipt, **(receipt or {})},
            "updated_at": now,
        }
    )
    tx.execute(
        sa.update(erasures).where(erasures.c.id == erasure_id).values(rows.erasure_values(done))
    )
    if done.done_with(ErasureState.REMOVED):
        let_go(tx, erasure_id)
    return done


def amend(
    tx: sa.Connection, erasure_id: str, receipt: Mapping[str, Any], *, now: datetime
) -> Erasure:
    """Replace parts of the receipt of an erasure that is over."""
    was = get(tx, erasure_id)
    done = was.model_copy(update={"receipt": {**was.receipt, **receipt}, "updated_at": now})
    this = erasures.c.id == erasure_id
    tx.execute(sa.update(erasures).where(this).values(rows.erasure_values(done)))
    return done


def let_go(tx: sa.Connection, erasure_id: str) -> None:
    """Let nights take the scopes again; their epochs stay."""
    own = leases.c.owner == owner(erasure_id)
    tx.execute(sa.update(leases).where(own).values(owner=_FREE))
