"""Scrubbing: takes erased words out of what the ledger wrote down beside observations and notes.

Pins, proposals, reasons, judgements, reviews and verdicts may quote what was said, anywhere in its
organisation: every such row is looked through, whatever it should hold by design.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy as sa

from sleep_runtime.consolidation.compare import name_of, names_of
from sleep_runtime.core.ids import canonical_json
from sleep_runtime.core.observation import Claim
from sleep_runtime.core.scope import Scope
from sleep_runtime.stores.ledger import rows
from sleep_runtime.stores.ledger.schema import (
    deltas,
    judgements,
    observations,
    pins,
    proposals,
    reviews,
    runs,
    under,
    verdicts,
)
from sleep_runtime.stores.scan import Finder

ERASED = "erased"


class Scrubber:
    """Looks for erased words and names in the rows of one organisation, inside a transaction."""

    def __init__(
        self,
        tx: sa.Connection,
        org: Scope,
        finder: Finder,
        *,
        names: Collection[str],
        claims: Collection[Claim],
    ) -> None:
        self._tx = tx
        self._org = org
        self._finder = finder
        # Short ids are not looked for as bytes; as whole strings of JSON they are known.
        self._quoted = frozenset(canonical_json(name) for name in names)
        self._statements = frozenset(claim.statement for claim in claims)
        self._claims = frozenset(name_of(claim) for claim in claims)
        self.counts: Counter[str] = Counter()

    def tainted(self, value: Any) -> bool:
        """Whether a text, or anything inside a JSON value, was erased."""
        if isinstance(value, str):
            return self._finder.holds(value)
        text = canonical_json(value)
        return self._finder.holds(text) or any(name in text for name in self._quoted)

    def everything(self, event_kind: bool) -> None:  # noqa: FBT001
        """All tables but notes and evidence, which are rewritten by who knows what stays."""
        of_org = sa.select(runs.c.id).where(under(runs.c.scope, self._org))
        self._drop("pins", pins, ("run_id", "step", "key"), "output", of_org)
        self._drop("proposals", proposals, ("run_id", "ordinal"), None, of_org)
        self._blank("delta_reasons", deltas, ("run_id", "ordinal"), of_org)
        self._blank_runs()
        self._judgements()
        self._reviews()
        self._verdicts()
        if event_kind:
            self._corrects()

    def _drop(
        self,
        noun: str,
        table: sa.Table,
        key: tuple[str, ...],
        column: str | None,
        of_org: sa.Select[Any],
    ) -> None:
        found = self._tx.execute(sa.select(table).where(table.c.run_id.in_(of_org))).all()
        for row in found:
            values = row._asdict()
            held = values[column] if column else [values["proposal"], values["critique"]]
            if self.tainted(held):
                self._tx.execute(sa.delete(table).where(*_is(table, key, values)))
                self.counts[noun] += 1

    def _blank(
        self, noun: str, table: sa.Table, key: tuple[str, ...], of_org: sa.Select[Any]
    ) -> None:
        for row in self._tx.execute(sa.select(table).where(table.c.run_id.in_(of_org))).all():
            values = row._asdict()
            if self.tainted(values["reason"]):
                change = sa.update(table).where(*_is(table, key, values))
                self._tx.execute(change.values(reason=ERASED))
                self.counts[noun] += 1

    def _blank_runs(self) -> None:
        found = sa.select(runs.c.id, runs.c.reason).where(under(runs.c.scope, self._org))
        for row in self._tx.execute(found).all():
            if self.tainted(row.reason):
                self._tx.execute(sa.update(runs).where(runs.c.id == row.id).values(reason=ERASED))
                self.counts["run_reasons"] += 1

    def _judgements(self) -> None:
        """Answers about an erased claim go; a reason that quotes one goes from the others."""
        own = sa.select(judgements).where(under(judgements.c.scope, self._org))
        for row in self._tx.execute(own).all():
            this = _is(judgements, ("scope", "engine", "pair_key"), row._asdict())
            if self._claims.intersection(names_of(row.pair_key)):
                self._tx.execute(sa.delete(judgements).where(*this))
                self.counts["judgements"] += 1
            elif row.reason and self.tainted(row.reason):
                self._tx.execute(sa.update(judgements).where(*this).values(reason=ERASED))
                self.counts["judgement_reasons"] += 1

    def _reviews(self) -> None:
        own = sa.select(reviews).where(under(reviews.c.scope, self._org))
        for row in self._tx.execute(own).all():
            said = [claim["statement"] for claim in row.question["claims"]]
            if self.tainted(row.question) or self._statements.intersection(said):
                self._tx.execute(sa.delete(reviews).where(reviews.c.id == row.id))
                self.counts["reviews"] += 1

    def _verdicts(self) -> None:
        own = sa.select(verdicts).where(verdicts.c.org == str(self._org))
        for row in self._tx.execute(own).all():
            said = {row.left["statement"], row.right["statement"]}
            texts = [row.left, row.right, row.reason]
            if self.tainted(texts) or self._statements & said:
                self._tx.execute(sa.delete(verdicts).where(verdicts.c.seq == row.seq))
                self.counts["verdicts"] += 1

    def _corrects(self) -> None:
        """What an agent had said before, where that is erased and the person's answer stays."""
        own = sa.select(observations).where(observations.c.org == str(self._org))
        for row in self._tx.execute(own).all():
            if row.claim.get("corrects") and self._finder.holds(row.claim["corrects"]):
                claim = {**row.claim, "corrects": ""}
                this = observations.c.id == row.id
                self._tx.execute(sa.update(observations).where(this).values(claim=claim))
                self.counts["corrects"] += 1


def _is(
    table: sa.Table, key: tuple[str, ...], values: Mapping[str, Any]
) -> list[sa.ColumnElement[bool]]:
    return [table.c[name] == values[name] for name in key]


def delete_of_runs(tx: sa.Connection, run_ids: Collection[str]) -> Counter[str]:
    """What belongs to these runs and to nothing else, and the runs."""
    counts: Counter[str] = Counter()
    for batch in rows.batches(sorted(run_ids)):
        for table in (pins, proposals, deltas):
            gone = tx.execute(sa.delete(table).where(table.c.run_id.in_(batch)))
            counts[table.name] += gone.rowcount
        counts["runs"] += tx.execute(sa.delete(runs).where(runs.c.id.in_(batch))).rowcount
    return counts
