"""The ledger's single numbers, each growing only: watermark, version, index generation."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from sleep_runtime.stores.ledger.schema import meta

WATERMARK = "watermark"
VERSION = "version"
GENERATION = "generation"


def read(tx: sa.Connection, key: str) -> int:
    """The number, 0 before it was ever raised."""
    return int(tx.execute(sa.select(meta.c.value).where(meta.c.key == key)).scalar() or 0)


def raise_to(tx: sa.Connection, key: str, value: int) -> None:
    """Set the number unless it is higher already."""
    statement = insert(meta).values(key=key, value=value)
    highest = sa.func.max(meta.c.value, statement.excluded.value)
    tx.execute(statement.on_conflict_do_update(index_elements=["key"], set_={"value": highest}))


def bump(tx: sa.Connection, key: str) -> None:
    """Raise the number by one."""
    raise_to(tx, key, read(tx, key) + 1)
