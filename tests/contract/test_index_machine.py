"""Random histories of an index: every backend against the same dictionary, bugs that are found."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from sleep_runtime.core.ports import Index
from sleep_runtime.stores.chroma import ChromaIndex
from sleep_runtime.testing.contracts.index_machine import IndexMachine
from sleep_runtime.testing.contracts.machines import Folder, run_machine
from sleep_runtime.testing.index import InMemoryIndex

EXAMPLES = {"memory": 100, "chroma": 12}
STEPS = 20


class InMemoryMachine(IndexMachine):
    def open(self) -> Index:
        return InMemoryIndex()


class ChromaMachine(IndexMachine):
    keeps = True

    def open(self) -> Index:
        self.folder = Folder()
        return self._open()

    def _open(self) -> Index:
        return ChromaIndex(self.folder.path / "index", buckets=2)

    def reopened(self) -> Index:
        self.index.close()
        again = ChromaIndex(self.folder.path / "index", buckets=2)
        assert again.set_aside is None
        return again

    def teardown(self) -> None:
        super().teardown()
        self.folder.remove()


def test_every_history_in_memory_ends_as_in_the_model() -> None:
    run_machine(InMemoryMachine, examples=EXAMPLES["memory"], steps=STEPS)


def test_every_history_of_chroma_ends_as_in_the_model() -> None:
    run_machine(ChromaMachine, examples=EXAMPLES["chroma"], steps=STEPS)


def test_a_vector_left_in_its_old_dimension_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    forget = ChromaIndex._forget

    def only_deletions(
        self: ChromaIndex, generation: int, note_ids: Sequence[str], *, keep: str = ""
    ) -> None:
        if not keep:
            forget(self, generation, note_ids)

    monkeypatch.setattr(ChromaIndex, "_forget", only_deletions)
    with pytest.raises(AssertionError):
        run_machine(ChromaMachine, examples=EXAMPLES["chroma"], steps=STEPS, shrink=False)


def test_an_older_revision_that_stays_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    upsert = InMemoryIndex.upsert

    def first_stays(self: InMemoryIndex, generation: int, entries: Sequence[object]) -> None:
        held = self._generations.get(generation, {})
        fresh = [one for one in entries if one[0].id not in held]  # type: ignore[index]
        upsert(self, generation, fresh)  # type: ignore[arg-type]

    monkeypatch.setattr(InMemoryIndex, "upsert", first_stays)
    with pytest.raises(AssertionError):
        run_machine(InMemoryMachine, examples=EXAMPLES["memory"], steps=STEPS, shrink=False)
