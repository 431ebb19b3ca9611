"""The index follows the ledger, whatever is marked, lost, changed meanwhile, or dies midway."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from ledger_nights import commit_notes

from sleep_runtime.core.errors import StoreError
from sleep_runtime.core.note import Note, NoteStatus
from sleep_runtime.core.ports import Hit, Index, Mark
from sleep_runtime.core.scope import Scope
from sleep_runtime.stores.chroma import ChromaIndex
from sleep_runtime.stores.ledger import SqliteLedger
from sleep_runtime.stores.projector import Projector, ReconcileReport
from sleep_runtime.telemetry.failpoint import FailpointHit, arm
from sleep_runtime.testing.contracts.ledger_bench import POLICY, LedgerBench
from sleep_runtime.testing.embedder import HashEmbedder
from sleep_runtime.testing.index import InMemoryIndex
from sleep_runtime.testing.notebook import Notebook, make_note

BANKING = Scope("acme/banking")


@pytest.fixture
def book() -> Notebook:
    return Notebook(HashEmbedder())


@pytest.fixture(params=["memory", "chroma"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Index]:
    in_memory = request.param == "memory"
    made = InMemoryIndex() if in_memory else ChromaIndex(tmp_path / "index", buckets=2)
    yield made
    made.close()


def _projector(book: Notebook, index: Index) -> Projector:
    return Projector(book.reader, book.writer, index)


def test_only_active_notes_are_in_the_index(book: Notebook, index: Index) -> None:
    book.write(*(make_note(status.value, status=status) for status in NoteStatus))
    assert _projector(book, index).project() == len(NoteStatus)
    assert index.revisions(0) == {"active": 1}
    assert book.marks(limit=10) == []
    assert _projector(book, index).project() == 0


def test_a_superseded_note_leaves_the_index(book: Notebook, index: Index) -> None:
    projector = _projector(book, index)
    book.write(make_note("a"), make_note("b"))
    projector.project()
    book.write(make_note("a", status=NoteStatus.SUPERSEDED, revision=2))
    projector.project()
    assert index.revisions(0) == {"b": 1}


def test_an_erased_note_leaves_the_index_and_its_mark_goes(book: Notebook, index: Index) -> None:
    projector = _projector(book, index)
    book.write(make_note("a"))
    projector.project()
    book.erase("a")
    assert projector.project() == 1
    assert index.revisions(0) == {}


def test_limit_bounds_one_call(book: Notebook) -> None:
    index = InMemoryIndex()
    book.write(*(make_note(f"n{i}") for i in range(10)))
    projector = _projector(book, index)
    assert [projector.project(limit=4) for _ in range(4)] == [4, 4, 2, 0]


@pytest.mark.parametrize("seed", range(5))
def test_any_order_of_commits_and_projections_ends_the_same(seed: int) -> None:
    rng = random.Random(seed)
    book, index = Notebook(HashEmbedder()), InMemoryIndex()
    projector = _projector(book, index)
    revisions = dict.fromkeys("abcdef", 0)
    for _ in range(60):
        note_id = rng.choice("abcdef")
        revisions[note_id] += 1
        status = rng.choice(list(NoteStatus))
        book.write(make_note(note_id, status=status, revision=revisions[note_id]))
        if rng.random() < 0.4:
            projector.project(limit=rng.randint(1, 6))
    while projector.project(limit=2):
        continue
    active = {n.id: n.revision for n in book.notes(statuses=[NoteStatus.ACTIVE])}
    assert index.revisions(0) == active
    assert projector.reconcile() == ReconcileReport()


class _Forgetful(InMemoryIndex):
    """Says it took everything and keeps nothing of one note."""

    def upsert(self, generation: int, entries: Sequence[tuple[Note, bytes]]) -> None:
        super().upsert(generation, [entry for entry in entries if entry[0].id != "lost"])


def test_a_mark_stays_until_the_index_read_the_revision_back(book: Notebook) -> None:
    index = _Forgetful()
    book.write(make_note("kept"), make_note("lost"))
    assert _projector(book, index).project() == 1
    assert book.marks(limit=10) == [Mark(note_id="lost", revision=1)]


def test_a_revision_committed_during_projection_keeps_its_mark(book: Notebook) -> None:
    class Racing(InMemoryIndex):
        def upsert(self, generation: int, entries: Sequence[tuple[Note, bytes]]) -> None:
            super().upsert(generation, entries)
            if entries[0][0].revision == 1:
                book.write(make_note("a", "Now otherwise.", revision=2))

    index = Racing()
    projector = _projector(book, index)
    book.write(make_note("a"))
    assert projector.project() == 0
    assert book.marks(limit=1) == [Mark(note_id="a", revision=2)]
    assert projector.project() == 1
    assert index.revisions(0) == {"a": 2}


def test_dying_between_upsert_and_clearing_loses_nothing(book: Notebook, index: Index) -> None:
    book.write(make_note("a"), make_note("b"))
    arm("projector.upserted=raise")
    try:
        with pytest.raises(FailpointHit):
            _projector(book, index).project()
    finally:
        arm("")
    assert len(book.marks(limit=10)) == 2
    assert _projector(book, index).project() == 2
    assert index.revisions(0) == {"a": 1, "b": 1}


def test_a_note_without_a_vector_does_not_block_the_outbox(index: Index) -> None:
    book = Notebook(embedder=None)
    book.write(make_note("bare"))
    projector = _projector(book, index)
    assert projector.project() == 1
    assert index.revisions(0) == {}
    assert projector.rebuild(HashEmbedder()).embedded == 1
    assert index.revisions(1) == {"bare": 1}


def test_reconcile_repairs_what_is_missing_stale_and_orphaned(book: Notebook, index: Index) -> None:
    projector = _projector(book, index)
    book.write(*(make_note(f"n{i:03}") for i in range(300)))
    while projector.project():
        continue
    vector = HashEmbedder().embed(["x"])[0]
    index.delete(0, ["n001", "n299"])
    index.upsert(0, [(make_note("n002", revision=9), vector), (make_note("ghost"), vector)])
    report = projector.reconcile()
    assert report == ReconcileReport(missing=2, stale=1, orphaned=1, repaired=4)
    assert index.revisions(0) == {f"n{i:03}": 1 for i in range(300)}
    assert projector.reconcile() == ReconcileReport()


def test_rebuild_fills_a_new_generation_and_drops_the_old(book: Notebook, index: Index) -> None:
    book.write(make_note("a"), make_note("b"), make_note("c", status=NoteStatus.CANDIDATE))
    projector = _projector(book, index)
    projector.project()
    report = projector.rebuild()
    assert (report.generation, report.notes, report.embedded) == (1, 2, 0)
    assert book.generation() == 1
    assert index.revisions(1) == {"a": 1, "b": 1}
    assert index.revisions(0) == {}
    assert projector.rebuild().generation == 2


def test_rebuild_with_another_model_embeds_every_status_anew(book: Notebook, index: Index) -> None:
    book.write(make_note("a"), make_note("c", status=NoteStatus.CANDIDATE))
    projector = _projector(book, index)
    projector.project()
    other = HashEmbedder(dim=32)
    assert projector.rebuild(other).embedded == 2
    assert {v.model for v in book.vectors(["a", "c"])} == {other.model}
    hits = index.query(1, other.embed(["Lesson a."])[0], [BANKING], k=5)
    assert [hit.note_id for hit in hits] == ["a"]
    assert projector.rebuild(other).embedded == 0


class _Dies(HashEmbedder):
    """Embeds one batch and then the process is gone."""

    calls = 0

    def embed(self, texts: Sequence[str]) -> list[bytes]:
        self.calls += 1
        if self.calls == 2:
            raise KeyboardInterrupt
        return super().embed(texts)


def test_a_rebuild_that_died_while_embedding_goes_on_where_it_stood(book: Notebook) -> None:
    index = InMemoryIndex()
    book.write(*(make_note(f"n{i:03}") for i in range(600)))
    projector = _projector(book, index)
    with pytest.raises(KeyboardInterrupt):
        projector.rebuild(_Dies(dim=16))
    assert book.generation() == 0
    assert projector.rebuild(HashEmbedder(dim=16)).embedded == 600 - 256
    assert len(index.revisions(1)) == 600


def test_a_rebuild_that_died_before_the_flip_changes_nothing_for_readers(
    book: Notebook, index: Index
) -> None:
    book.write(make_note("a"), make_note("b"))
    projector = _projector(book, index)
    projector.project()
    arm("index.rebuild.filled=raise")
    try:
        with pytest.raises(FailpointHit):
            projector.rebuild()
    finally:
        arm("")
    assert book.generation() == 0
    assert index.revisions(0) == {"a": 1, "b": 1}
    book.write(make_note("b", status=NoteStatus.RETIRED, revision=2))
    assert projector.rebuild().notes == 1
    assert index.revisions(1) == {"a": 1}


class _Backwards(HashEmbedder):
    """Another model of the same dimension."""

    @property
    def model(self) -> str:
        return "backwards"

    def embed(self, texts: Sequence[str]) -> list[bytes]:
        return super().embed([text[::-1] for text in texts])


def test_vectors_that_a_dead_rebuild_left_behind_are_never_used(
    book: Notebook, index: Index
) -> None:
    book.write(make_note("a"))
    projector = _projector(book, index)
    arm("index.rebuild.filled=raise")
    try:
        with pytest.raises(FailpointHit):
            projector.rebuild()
    finally:
        arm("")
    assert index.revisions(1) == {"a": 1}
    projector.rebuild(_Backwards())
    (hit,) = index.query(1, _Backwards().embed(["Lesson a."])[0], [BANKING], k=1)
    assert hit.score > 0.99


def test_reconcile_drops_what_a_dead_rebuild_left_behind(book: Notebook, index: Index) -> None:
    book.write(make_note("a"))
    projector = _projector(book, index)
    projector.rebuild()
    vector = HashEmbedder().embed(["x"])[0]
    index.upsert(0, [(make_note("old"), vector)])
    index.upsert(2, [(make_note("new"), vector)])
    assert projector.reconcile() == ReconcileReport()
    assert (index.revisions(0), index.revisions(2)) == ({}, {})
    assert index.revisions(1) == {"a": 1}


def test_a_rebuild_that_cannot_be_verified_never_flips(book: Notebook) -> None:
    book.write(make_note("kept"), make_note("lost"))
    with pytest.raises(StoreError, match="1 missing"):
        _projector(book, _Forgetful()).rebuild()
    assert book.generation() == 0


def test_an_index_that_fails_leaves_every_mark(book: Notebook) -> None:
    class Broken(InMemoryIndex):
        def upsert(self, generation: int, entries: Sequence[tuple[Note, bytes]]) -> None:
            raise StoreError("no", field="index")

        def query(
            self, generation: int, vector: bytes, scopes: Sequence[Scope], *, k: int
        ) -> list[Hit]:
            raise StoreError("no", field="index")

    book.write(make_note("a"))
    with pytest.raises(StoreError):
        _projector(book, Broken()).project()
    assert len(book.marks(limit=1)) == 1


def test_the_embedded_stores_work_together_through_a_life(tmp_path: Path, index: Index) -> None:
    with SqliteLedger(tmp_path / "ledger.sqlite", triggers=POLICY) as ledger:
        bench, embedder = LedgerBench(ledger, ledger.reader), HashEmbedder()
        projector = Projector(ledger.reader, ledger, index)
        notes = [make_note(f"n{i:03}", scope=f"acme/t{i % 3}") for i in range(300)]
        commit_notes(bench, embedder, *notes)
        assert [projector.project() for _ in range(3)] == [256, 44, 0]
        generation = ledger.reader.generation()
        gone = make_note("n000", scope="acme/t0", revision=2, status=NoteStatus.RETIRED)
        commit_notes(bench, embedder, gone, make_note("n001", scope="acme/t1", revision=2))
        assert projector.project() == 2
        expected = {n.id: 1 for n in notes[2:]} | {"n001": 2}
        assert index.revisions(generation) == expected
        assert projector.reconcile() == ReconcileReport()
        report = projector.rebuild(HashEmbedder(dim=32))
        assert (report.generation, report.notes, report.embedded) == (generation + 1, 299, 300)
        assert index.revisions(generation + 1) == expected
        assert index.revisions(generation) == {}
        assert projector.rebuild(HashEmbedder(dim=32)).embedded == 0


def _reopened(
    ledger: SqliteLedger, path: Path, *, buckets: int
) -> tuple[ChromaIndex, Projector, bool]:
    """The index as its owner opens it: what was lost is marked before anything is projected."""
    index = ChromaIndex(path, buckets=buckets)
    lost = index.fresh or index.set_aside is not None
    if lost:
        ledger.mark_all(generation=ledger.reader.generation())
    return index, Projector(ledger.reader, ledger, index), lost


def _lose_directory(path: Path) -> int:
    shutil.rmtree(path)
    return 2


def _ruin_database(path: Path) -> int:
    (path / "chroma.sqlite3").write_bytes(b"garbage" * 1000)
    return 2


def _change_buckets(_: Path) -> int:
    return 3


@pytest.mark.parametrize("lose", [_lose_directory, _ruin_database, _change_buckets])
def test_an_index_that_was_lost_is_filled_again_even_if_that_is_interrupted(
    tmp_path: Path, lose: Callable[[Path], int]
) -> None:
    path = tmp_path / "index"
    with SqliteLedger(tmp_path / "ledger.sqlite", triggers=POLICY) as ledger:
        bench, embedder = LedgerBench(ledger, ledger.reader), HashEmbedder()
        index, projector, _ = _reopened(ledger, path, buckets=2)
        notes = [make_note(f"n{i:03}", scope=f"org{i % 5}/t") for i in range(400)]
        commit_notes(bench, embedder, *notes)
        while projector.project():
            continue
        assert len(index.revisions(0)) == 400
        index.close()

        buckets = lose(path)
        index, projector, lost = _reopened(ledger, path, buckets=buckets)
        assert lost
        arm("projector.upserted=raise")
        try:
            with pytest.raises(FailpointHit):
                projector.project()
        finally:
            arm("")
        held = len(index.revisions(0))
        assert 0 < held < 400
        index.close()

        index, projector, lost = _reopened(ledger, path, buckets=buckets)
        assert not lost, "what is half full looks like any other index: only the marks know"
        gone = make_note("n000", scope="org0/t", revision=2, status=NoteStatus.RETIRED)
        commit_notes(bench, embedder, gone)
        while projector.project():
            continue
        assert index.revisions(0) == {note.id: 1 for note in notes[1:]}
        assert projector.reconcile() == ReconcileReport()
        assert ledger.reader.marks(limit=1) == []
        index.close()
