"""What every ``Index`` must keep. Subclass in a test module and give an ``index`` fixture."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from sleep_runtime.core.errors import StoreError
from sleep_runtime.core.note import Note, NoteStatus
from sleep_runtime.core.observation import Claim, NoteKind
from sleep_runtime.core.ports import Index
from sleep_runtime.core.scope import Scope

ANA = Scope("acme/banking/ana")
BANKING = Scope("acme/banking")
OTHER = Scope("globex/banking")
_THEN = datetime(2026, 11, 22, tzinfo=UTC)


def note(note_id: str, scope: Scope = BANKING, revision: int = 1) -> Note:
    """A small active note."""
    return Note(
        id=note_id,
        scope=scope,
        claim=Claim(statement=f"Lesson {note_id}.", kind=NoteKind.CONVENTION),
        status=NoteStatus.ACTIVE,
        confidence=0.9,
        valid_from=_THEN,
        recorded_at=_THEN,
        revision=revision,
    )


def axis(*weights: float, dim: int = 8) -> bytes:
    """A unit vector along the given leading weights."""
    vector = np.zeros(dim, dtype="<f4")
    vector[: len(weights)] = weights
    return bytes((vector / np.linalg.norm(vector)).tobytes())


class IndexContract:
    """Every test takes the adapter as ``index``, empty and open."""

    def test_returns_the_nearest_first_with_cosine_as_score(self, index: Index) -> None:
        index.upsert(1, [(note("a"), axis(1, 0)), (note("b"), axis(1, 1)), (note("c"), axis(0, 1))])
        hits = index.query(1, axis(1, 0), [BANKING], k=2)
        assert [hit.note_id for hit in hits] == ["a", "b"]
        assert abs(hits[0].score - 1.0) < 1e-4
        assert abs(hits[1].score - 0.5**0.5) < 1e-4
        assert hits[0].revision == 1

    def test_never_returns_a_scope_that_was_not_asked_for(self, index: Index) -> None:
        index.upsert(
            1,
            [
                (note("mine", ANA), axis(1, 1)),
                (note("team", BANKING), axis(1, 2)),
                (note("foreign", OTHER), axis(1, 0)),
            ],
        )
        hits = index.query(1, axis(1, 0), [ANA, BANKING], k=10)
        assert {hit.note_id for hit in hits} == {"mine", "team"}
        assert index.query(1, axis(1, 0), [Scope("acme")], k=10) == []

    def test_an_upsert_replaces_vector_and_revision(self, index: Index) -> None:
        index.upsert(1, [(note("a"), axis(1, 0))])
        index.upsert(1, [(note("a", revision=2), axis(0, 1))])
        assert index.revisions(1) == {"a": 2}
        (hit,) = index.query(1, axis(0, 1), [BANKING], k=5)
        assert (hit.revision, round(hit.score, 3)) == (2, 1.0)

    def test_upserting_the_same_again_changes_nothing(self, index: Index) -> None:
        entry = (note("a"), axis(1, 0))
        for _ in range(3):
            index.upsert(1, [entry, entry])
        assert index.revisions(1) == {"a": 1}
        assert len(index.query(1, axis(1, 0), [BANKING], k=5)) == 1

    def test_delete_takes_out_only_what_it_names(self, index: Index) -> None:
        index.upsert(1, [(note("a"), axis(1, 0)), (note("b"), axis(0, 1))])
        index.delete(1, ["a", "never-seen"])
        assert index.revisions(1) == {"b": 1}
        index.delete(1, [])
        assert index.revisions(1) == {"b": 1}

    def test_revisions_leave_out_what_is_absent(self, index: Index) -> None:
        index.upsert(1, [(note("a"), axis(1, 0)), (note("b", ANA, 7), axis(1, 0))])
        assert index.revisions(1, ["b", "never-seen"]) == {"b": 7}
        assert index.revisions(1, []) == {}

    def test_a_note_may_be_named_twice(self, index: Index) -> None:
        index.upsert(1, [(note("a"), axis(1, 0)), (note("b"), axis(0, 1))])
        assert index.revisions(1, ["a", "b", "a"]) == {"a": 1, "b": 1}
        index.delete(1, ["a", "a"])
        assert index.revisions(1) == {"b": 1}

    def test_generations_do_not_see_each_other(self, index: Index) -> None:
        index.upsert(1, [(note("a"), axis(1, 0))])
        index.upsert(11, [(note("b"), axis(1, 0))])
        assert index.revisions(1) == {"a": 1}
        index.drop(1)
        index.drop(1)
        assert index.revisions(1) == {}
        assert index.revisions(11) == {"b": 1}

    def test_a_generation_that_never_was_is_empty(self, index: Index) -> None:
        assert index.revisions(99) == {}
        assert index.query(99, axis(1), [BANKING], k=3) == []
        index.delete(99, ["a"])

    def test_vectors_of_two_dimensions_are_kept_apart(self, index: Index) -> None:
        index.upsert(1, [(note("a"), axis(1, dim=8)), (note("b"), axis(1, dim=4))])
        assert [hit.note_id for hit in index.query(1, axis(1, dim=4), [BANKING], k=5)] == ["b"]
        index.upsert(1, [(note("a", revision=2), axis(1, dim=4))])
        assert index.query(1, axis(1, dim=8), [BANKING], k=5) == []
        assert index.revisions(1) == {"a": 2, "b": 1}

    def test_nothing_asked_is_nothing_answered(self, index: Index) -> None:
        index.upsert(1, [(note("a"), axis(1, 0))])
        index.upsert(1, [])
        assert index.query(1, axis(1, 0), [], k=3) == []
        assert index.query(1, axis(1, 0), [BANKING], k=0) == []

    def test_holds_more_than_one_batch(self, index: Index) -> None:
        index.upsert(1, [(note(f"n{i:04}"), axis(1, i / 1000)) for i in range(1201)])
        assert len(index.revisions(1)) == 1201
        assert len(index.revisions(1, [f"n{i:04}" for i in range(1100)])) == 1100
        index.delete(1, [f"n{i:04}" for i in range(1200)])
        assert index.revisions(1) == {"n1200": 1}

    def test_started_over_it_is_empty_and_works(self, index: Index) -> None:
        index.upsert(1, [(note("a"), axis(1, 0))])
        index.upsert(2, [(note("b"), axis(1, 0))])
        index.start_over()
        index.start_over()
        assert index.revisions(1) == index.revisions(2) == {}
        index.upsert(1, [(note("c"), axis(1, 0))])
        assert index.revisions(1) == {"c": 1}
        assert [hit.note_id for hit in index.query(1, axis(1, 0), [BANKING], k=5)] == ["c"]

    def test_a_closed_index_says_so(self, index: Index) -> None:
        index.close()
        index.close()
        with pytest.raises(StoreError, match="closed"):
            index.revisions(1)
        with pytest.raises(StoreError, match="closed"):
            index.start_over()
