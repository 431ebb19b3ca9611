"""Leases: one owner a scope, fenced by an epoch that grows with every new owner.

Expiry only says when somebody else may take the scope. What makes a write invalid is a higher
epoch, so a slow owner whom nobody replaced loses nothing.

An expiry further ahead than two lifetimes was written before the clock was set back: it holds
nobody off, or a dead owner would keep its scope for as long as the clock jumped. An erasure's
lease does not expire.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from sleep_runtime.core.errors import LeaseLost
from sleep_runtime.core.run import Lease
from sleep_runtime.core.scope import Scope
from sleep_runtime.stores.ledger import rows
from sleep_runtime.stores.ledger.schema import leases

NEVER = datetime(9999, 1, 1, tzinfo=UTC)
"""When the lease of an erasure expires: it is let go of, however long that takes."""
_FREE = ""
_FURTHEST = 2
"""Lifetimes that an expiry may lie ahead; one would take the lease from an owner that lives each
time a clock is corrected by a little."""
_FIND = sa.select(leases).where(leases.c.scope == sa.bindparam("of"))
_TAKE = sa.update(leases).where(leases.c.scope == sa.bindparam("of"))


def acquire(
    tx: sa.Connection, scope: Scope, owner: str, *, now: datetime, ttl_s: float
) -> Lease | None:
    """Take the scope if it is free, expired or this owner's already; None if it is not."""
    if not owner:
        raise ValueError("an owner needs a name")
    row = tx.execute(_FIND, {"of": str(scope)}).first()
    if row and row.owner not in (_FREE, owner) and _holds(row.expires_at, now, ttl_s):
        return None
    lease = Lease(
        scope=scope,
        owner=owner,
        epoch=row.epoch + 1 if row else 1,
        expires_at=now + timedelta(seconds=ttl_s),
    )
    values = {"owner": owner, "epoch": lease.epoch, "expires_at": lease.expires_at}
    if row:
        tx.execute(_TAKE, {"of": str(scope), **values})
    else:
        tx.execute(sa.insert(leases).values(scope=str(scope), **values))
    return lease


def _holds(expires_at: datetime, now: datetime, ttl_s: float) -> bool:
    return expires_at == NEVER or now < expires_at <= now + _FURTHEST * timedelta(seconds=ttl_s)


def check(tx: sa.Connection, lease: Lease) -> rows.Row:
    """The stored lease. Raises ``LeaseLost`` unless owner and epoch are still the given ones."""
    row = tx.execute(_FIND, {"of": str(lease.scope)}).first()
    if row is None or (row.owner, row.epoch) != (lease.owner, lease.epoch):
        raise LeaseLost(
            f"{lease.owner} held {lease.scope} at epoch {lease.epoch}, now {_holder(row)}",
            field="lease",
            mend="acquire the scope again and plan: the run resumes from what it pinned",
        )
    return row


def _holder(row: rows.Row | None) -> str:
    if row is None:
        return "nobody holds it"
    return f"{row.owner or 'nobody'} holds it at epoch {row.epoch}"


def renew(tx: sa.Connection, lease: Lease, *, now: datetime, ttl_s: float) -> Lease:
    """Extend the lease under its epoch; an expiry is moved back only after the clock was."""
    row = check(tx, lease)
    stands, expires_at = rows.lease(row).expires_at, now + timedelta(seconds=ttl_s)
    if _holds(stands, now, ttl_s):
        expires_at = max(stands, expires_at)
    tx.execute(
        sa.update(leases).where(leases.c.scope == str(lease.scope)).values(expires_at=expires_at)
    )
    return lease.model_copy(update={"expires_at": expires_at})


def release(tx: sa.Connection, lease: Lease) -> None:
    """Give the scope back. The row stays: the next owner's epoch must be higher still."""
    check(tx, lease)
    tx.execute(_TAKE, {"of": str(lease.scope), "owner": _FREE})
