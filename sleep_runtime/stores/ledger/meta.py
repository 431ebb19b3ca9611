"""Numbers that only grow: watermark, index generation, and a version for each scope's notes."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from sleep_runtime.stores.ledger.schema import meta, scope_versions

WATERMARK = "watermark"
GENERATION = "generation"
GPU_MS = "gpu_ms."
FORGOTTEN = "forgotten"
"""How many erasures the ledger did: whoever holds notes in memory drops them when it grows."""


def read(tx: sa.Connection, key: str) -> int:
    """The number, 0 before it was ever raised."""
    return int(tx.execute(sa.select(meta.c.value).where(meta.c.key == key)).scalar() or 0)


def raise_to(tx: sa.Connection, key: str, value: int) -> None:
    """Set the number unless it is higher already."""
    statement = insert(meta).values(key=key, value=value)
    highest = sa.func.max(meta.c.value, statement.excluded.value)
    tx.execute(statement.on_conflict_do_update(index_elements=["key"], set_={"value": highest}))


def bump(tx: sa.Connection, scopes: Iterable[str], *, by: int = 1) -> None:
    """Raise the version of each scope whose notes or vectors changed.

    By one; an erasure by ``VERSION_STEP``.

    A version outlives the last note of its scope, or a cache could take an old one for new.
    """
    changed = [{"scope": scope, "version": by} for scope in sorted(set(scopes))]
    if changed:
        tx.execute(_BUMP, changed)


_NEW = insert(scope_versions)
_BUMP = _NEW.on_conflict_do_update(
    index_elements=["scope"], set_={"version": scope_versions.c.version + _NEW.excluded.version}
)
