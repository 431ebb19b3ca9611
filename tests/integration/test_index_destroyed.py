"""The index is destroyed while searches and nights go on, and made again while they do.

An exact search of the ledger beside each answer says what was right. The index is asked for every
scope here: nothing is held in memory.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self

import pytest
from ledger_nights import commit_notes

from sleep_runtime.core.errors import IndexBroken
from sleep_runtime.core.note import Note, NoteStatus
from sleep_runtime.core.scope import Scope
from sleep_runtime.present.search import Searcher
from sleep_runtime.stores.chroma import ChromaIndex
from sleep_runtime.stores.ledger import SqliteLedger
from sleep_runtime.stores.projector import Projector, ReconcileReport
from sleep_runtime.telemetry.failpoint import FailpointHit, arm
from sleep_runtime.testing.contracts.ledger_bench import POLICY, LedgerBench
from sleep_runtime.testing.embedder import HashEmbedder
from sleep_runtime.testing.notebook import make_note

ORGS = [f"org{n}/team" for n in range(4)]
COUNT = 120
CHANGED = range(0, COUNT, 3)
# A note that changes in the very middle of a search may be missing from that one answer.
STEADY = [number for number in range(COUNT) if number not in CHANGED]


def words_of(number: int) -> str:
    """A statement like no other: what looks alike would be shown once."""
    return " ".join(f"{word}{number}" for word in ("keep", "the", "ledger", "of", "harbour"))


class Store:
    """A ledger with notes of four organisations, and an index that holds them."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "index"
        self.embedder = HashEmbedder()
        self.ledger = SqliteLedger(directory / "ledger.sqlite", triggers=POLICY)
        self.bench = LedgerBench(self.ledger, self.ledger.reader)
        self.index = ChromaIndex(self.path, buckets=2)
        self.projector = Projector(self.ledger.reader, self.ledger, self.index)
        self.commit(range(COUNT), revision=1)
        self.projector.drain()

    def commit(self, numbers: range, *, revision: int) -> None:
        notes = [
            make_note(
                f"n{n:03}",
                words_of(n),
                scope=ORGS[n % 4],
                revision=revision,
            )
            for n in numbers
        ]
        commit_notes(self.bench, self.embedder, *notes)

    def searcher(self) -> Searcher:
        return Searcher(self.ledger.reader, self.index, self.embedder, exact_limit=0)

    def active(self) -> dict[str, int]:
        notes = self.ledger.reader.notes(statuses=[NoteStatus.ACTIVE])
        return {note.id: note.revision for note in notes}

    def held(self) -> dict[str, int]:
        return self.index.revisions(self.ledger.reader.generation())

    def close(self) -> None:
        self.index.close()
        self.ledger.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path)
    yield made
    made.close()


class Searching:
    """Threads that search without a pause and check every answer."""

    def __init__(self, store: Store) -> None:
        self.answers = 0
        self.wrong: list[str] = []
        self._store = store
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(n,)) for n in range(2)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        self.more()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)

    def more(self, count: int = 10) -> None:
        """Wait for so many more answers."""
        goal = self.answers + count
        for _ in range(3000):
            if self.answers >= goal or self.wrong:
                return
            self._over.wait(0.01)
        pytest.fail("searches gave no answer any more")

    def _work(self, first: int) -> None:
        searcher, at = self._store.searcher(), first
        while not self._over.is_set():
            at = (at + 7) % len(STEADY)
            try:
                self._check(searcher, STEADY[at])
            except Exception as error:  # noqa: BLE001 - whatever it is, the test has to say it
                self.wrong.append(f"{type(error).__name__}: {error}")
                return
            self.answers += 1

    def _check(self, searcher: Searcher, number: int) -> None:
        scope = ORGS[number % 4]
        hits = searcher.search(Scope(scope), words_of(number), k=5)
        if f"n{number:03}" not in [hit.note.id for hit in hits]:
            self.wrong.append(f"n{number:03} of {scope} was not found")
        if any(str(hit.note.scope) != scope for hit in hits):
            self.wrong.append(f"{scope} was shown something of another")


def _remove(path: Path) -> None:
    shutil.rmtree(path)


def _garbage(path: Path) -> None:
    for file in path.rglob("*"):
        if file.is_file():
            file.write_bytes(os.urandom(max(file.stat().st_size, 8192)))


def _empty(path: Path) -> None:
    for file in path.rglob("*"):
        if file.is_file():
            file.write_bytes(b"")


def _replace(path: Path) -> None:
    (path / "chroma.sqlite3").rename(path / "gone")
    (path / "chroma.sqlite3").write_bytes(b"")


@pytest.mark.parametrize(
    ("destroy", "mend"),
    [
        (_remove, "reconcile"),
        (_remove, "rebuild"),
        (_garbage, "rebuild"),
        (_empty, "reconcile"),
        (_replace, "rebuild"),
    ],
)
def test_a_destroyed_index_is_made_again_under_load(
    store: Store, destroy: Callable[[Path], None], mend: str
) -> None:
    with Searching(store) as searching:
        destroy(store.path)
        searching.more()
        with pytest.raises(IndexBroken, match="sleep-runtime rebuild"):
            store.held()
        store.commit(CHANGED, revision=2)  # a night ends while the index is away
        with pytest.raises(IndexBroken):
            store.projector.drain()
        if mend == "reconcile":
            assert store.projector.reconcile() == ReconcileReport(missing=COUNT, repaired=COUNT)
        else:
            assert store.projector.rebuild().notes == COUNT
        searching.more()
        store.projector.drain()
        searching.more()
    assert searching.wrong == []
    assert store.held() == store.active()
    assert set(store.active().values()) == {1, 2}
    assert store.ledger.reader.marks(limit=1) == []
    assert store.projector.reconcile() == ReconcileReport()


@pytest.mark.parametrize("mend", ["reconcile", "rebuild"])
def test_dying_while_it_is_made_again_leaves_marks_for_all_of_it(store: Store, mend: str) -> None:
    """Whatever is in the index then, the outbox names every note."""
    shutil.rmtree(store.path)
    store.index.start_over()
    shutil.rmtree(store.path)
    upsert = store.index.upsert

    def die(generation: int, entries: Sequence[tuple[Note, bytes]]) -> None:
        raise KeyboardInterrupt

    store.index.upsert = die  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        getattr(store.projector, mend)()
    store.index.upsert = upsert  # type: ignore[method-assign]
    assert len(store.ledger.reader.marks(limit=COUNT + 1)) == COUNT
    store.projector.drain()
    assert store.held() == store.active()


def test_a_rebuild_killed_before_its_flip_is_mended_by_the_next(store: Store) -> None:
    shutil.rmtree(store.path)
    arm("index.rebuild.filled=raise")
    try:
        with pytest.raises(FailpointHit):
            store.projector.rebuild()
    finally:
        arm("")
    assert store.projector.rebuild().notes == COUNT
    assert store.held() == store.active()


def test_an_index_that_was_replaced_is_not_taken_for_right(store: Store) -> None:
    """Chroma itself goes on reading what was removed: it would say that all is well."""
    _remove(store.path)
    with pytest.raises(IndexBroken, match="was removed"):
        store.held()
    assert store.projector.reconcile().missing == COUNT


def test_vectors_that_were_damaged_under_a_running_index_are_seen_when_it_opens(
    store: Store,
) -> None:
    """What is in memory answers until then; a rebuild writes all of it anew."""
    for part in store.path.iterdir():
        if part.is_dir():
            shutil.rmtree(part)
    assert store.projector.rebuild().notes == COUNT
    store.index.close()
    store.index = ChromaIndex(store.path, buckets=2)
    assert store.index.set_aside is None
    assert store.held() == store.active()
