"""Opinions on pairs of claims: what people said, per organisation, and what engines answered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from sleep_runtime.core.ports import Asked
from sleep_runtime.core.proposal import Judgement, Verdict
from sleep_runtime.core.review import RememberedVerdict
from sleep_runtime.core.scope import Scope
from sleep_runtime.stores.ledger import rows
from sleep_runtime.stores.ledger.schema import judgements, verdicts

_REMEMBER = insert(judgements).on_conflict_do_nothing(
    index_elements=["scope", "engine", "pair_key"]
)


def remember(tx: sa.Connection, scope: Scope, asked: Asked, *, now: datetime) -> None:
    """Keep an engine's usable answers; the first one about a pair stays."""
    values = [
        rows.judgement_values(scope, asked.engine, key, judgement, now)
        for key, judgement in sorted(asked.judgements.items())
        if not judgement.problem
    ]
    if values:
        tx.execute(_REMEMBER, values)


def answered(
    tx: sa.Connection, scope: Scope, engine: str, keys: Sequence[str]
) -> dict[str, Judgement]:
    """What this engine answered in this scope about these pairs; unknown ones are left out."""
    table = judgements.c
    own = sa.select(judgements).where(table.scope == str(scope), table.engine == engine)
    return {
        row.pair_key: rows.judgement(row)
        for batch in rows.batches(sorted(set(keys)))
        for row in tx.execute(own.where(table.pair_key.in_(batch)))
    }


def said(tx: sa.Connection, scope: Scope) -> list[RememberedVerdict]:
    """What people of the scope's organisation said, in the order they said it."""
    own = sa.select(verdicts).where(verdicts.c.org == str(scope.org)).order_by(verdicts.c.seq)
    return [rows.verdict(row) for row in tx.execute(own)]


def say(tx: sa.Connection, spoken: Sequence[RememberedVerdict]) -> None:
    """Keep what a person said; a later word on the same pair holds over it."""
    if spoken:
        tx.execute(sa.insert(verdicts), [rows.verdict_values(one) for one in spoken])


def known(tx: sa.Connection, scope: Scope, verdict: Verdict) -> dict[str, Judgement]:
    """The pairs of which ``verdict`` is known in this scope: people's word over engines'."""
    table = judgements.c
    own = sa.select(judgements).where(table.scope == str(scope), table.verdict == verdict.value)
    found = {row.pair_key: rows.judgement(row) for row in tx.execute(own)}
    for one in said(tx, scope):
        if one.verdict is verdict:
            found[one.pair_key] = one.judgement
        else:
            found.pop(one.pair_key, None)
    return found
