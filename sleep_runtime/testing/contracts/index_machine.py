"""An index against a dictionary: upserts, deletes, generations, queries, reopening.

Subclass ``IndexMachine`` with an ``open`` and hand it to ``run_machine``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sleep_runtime.core.ports import Index
from sleep_runtime.core.scope import Scope
from sleep_runtime.testing.contracts.index import ANA, BANKING, OTHER, axis, note

SCOPES = (ANA, BANKING, OTHER, Scope("initech"))
GENERATIONS = (1, 2, 11)
NOTES = {f"n{place}": SCOPES[place % 3] for place in range(7)}
"""Each note with its scope, which it keeps."""
VECTORS = tuple(axis(*along, dim=dim) for dim in (4, 8) for along in ((1,), (1, 1), (0, 1), (-1,)))

_generations = st.sampled_from(GENERATIONS)
_names = st.sampled_from(sorted(NOTES))
_entries = st.lists(
    st.tuples(_names, st.integers(1, 9), st.sampled_from(VECTORS)), min_size=1, max_size=4
)


class Held(NamedTuple):
    """What the index should hold of one note."""

    revision: int
    vector: bytes


class IndexMachine(RuleBasedStateMachine):
    """The newest upsert of each note is what is found, in its scope and generation only."""

    keeps = False
    """Whether it can be opened again, by ``reopened``."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[int, dict[str, Held]] = {each: {} for each in GENERATIONS}
        self.index = self.open()

    def open(self) -> Index:
        """An index that holds nothing in these generations."""
        raise NotImplementedError

    def reopened(self) -> Index:
        """The same index, closed and opened again."""
        raise NotImplementedError

    @rule(generation=_generations, entries=_entries)
    def upsert(self, generation: int, entries: list[tuple[str, int, bytes]]) -> None:
        self.index.upsert(
            generation,
            [(note(name, NOTES[name], revision), vector) for name, revision, vector in entries],
        )
        for name, revision, vector in entries:
            self.held[generation][name] = Held(revision, vector)

    @rule(generation=_generations, names=st.lists(_names, max_size=4))
    def delete(self, generation: int, names: list[str]) -> None:
        self.index.delete(generation, names)
        for name in names:
            self.held[generation].pop(name, None)

    @rule(generation=_generations)
    def drop(self, generation: int) -> None:
        self.index.drop(generation)
        self.held[generation].clear()

    @precondition(lambda self: self.keeps)
    @rule()
    def reopen(self) -> None:
        self.index = self.reopened()

    @rule(
        generation=_generations,
        vector=st.sampled_from(VECTORS),
        scopes=st.lists(st.sampled_from(SCOPES), max_size=4),
        k=st.integers(0, 8),
    )
    def query(self, generation: int, vector: bytes, scopes: list[Scope], k: int) -> None:
        hits = self.index.query(generation, vector, scopes, k=k)
        due = self._scores(generation, vector, scopes)
        names = [hit.note_id for hit in hits]
        assert len(set(names)) == len(names)
        assert len(hits) == min(k, len(due))
        nearest = sorted(due.values(), reverse=True)[: len(hits)]
        for hit, score in zip(hits, nearest, strict=True):
            assert hit.revision == self.held[generation][hit.note_id].revision
            assert abs(hit.score - score) < 1e-4
            assert abs(due[hit.note_id] - score) < 1e-4

    def _scores(self, generation: int, vector: bytes, scopes: Sequence[Scope]) -> dict[str, float]:
        """The cosine of every note that may be found."""
        wanted = np.frombuffer(vector, dtype="<f4")
        return {
            name: float(wanted @ np.frombuffer(held.vector, dtype="<f4"))
            for name, held in self.held[generation].items()
            if NOTES[name] in scopes and len(held.vector) == len(vector)
        }

    @rule(generation=_generations, names=st.lists(_names, max_size=4))
    def look_up(self, generation: int, names: list[str]) -> None:
        held = self.held[generation]
        due = {name: held[name].revision for name in names if name in held}
        assert self.index.revisions(generation, names) == due

    @invariant()
    def revisions_are_the_newest(self) -> None:
        for generation, held in self.held.items():
            due = {name: one.revision for name, one in held.items()}
            assert self.index.revisions(generation) == due

    def teardown(self) -> None:
        self.index.close()
