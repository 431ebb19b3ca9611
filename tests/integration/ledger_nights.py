"""Whole nights in a real ledger, for tests of what comes after them."""

from __future__ import annotations

from collections import defaultdict

from sleep_runtime.core.note import Note
from sleep_runtime.core.ports import Commit, Embedder
from sleep_runtime.core.proposal import DeltaKind
from sleep_runtime.core.scope import Scope
from sleep_runtime.testing.contracts.ledger_bench import LedgerBench, delta


def commit_notes(bench: LedgerBench, embedder: Embedder, *notes: Note) -> None:
    """One night for each scope of these revisions, with the vectors of their statements."""
    by_scope: dict[Scope, list[Note]] = defaultdict(list)
    for note in notes:
        by_scope[note.scope].append(note)
    for scope, several in by_scope.items():
        seen = bench.reader.cursors(scope).journal + 1
        bench.heads(scope, seen)
        vectors = embedder.embed([note.claim.statement for note in several])
        commit = Commit(
            deltas=tuple(
                delta(n, DeltaKind.ADD if n.revision == 1 else DeltaKind.REINFORCE) for n in several
            ),
            vectors={n.id: vector for n, vector in zip(several, vectors, strict=True)},
            vector_model=embedder.model,
        )
        bench.night(scope, upto=seen, commit=commit)
