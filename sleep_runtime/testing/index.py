"""InMemoryIndex: the index as a dictionary, exact, for tests."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from sleep_runtime.core.errors import StoreError
from sleep_runtime.core.note import Note
from sleep_runtime.core.ports import Hit
from sleep_runtime.core.scope import Scope


class InMemoryIndex:
    """The ``Index`` port without a disk. Thread-safe; keeps the same contract as ChromaDB's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._generations: dict[int, dict[str, tuple[Note, bytes]]] = {}
        self._closed = False

    def upsert(self, generation: int, entries: Sequence[tuple[Note, bytes]]) -> None:
        with self._lock:
            held = self._open().setdefault(generation, {})
            held.update({note.id: (note, vector) for note, vector in entries})

    def delete(self, generation: int, note_ids: Sequence[str]) -> None:
        with self._lock:
            held = self._open().get(generation, {})
            for note_id in note_ids:
                held.pop(note_id, None)

    def revisions(self, generation: int, note_ids: Sequence[str] | None = None) -> dict[str, int]:
        with self._lock:
            held = self._open().get(generation, {})
            wanted = held.keys() if note_ids is None else held.keys() & set(note_ids)
            return {note_id: held[note_id][0].revision for note_id in wanted}

    def query(
        self, generation: int, vector: bytes, scopes: Sequence[Scope], *, k: int
    ) -> list[Hit]:
        with self._lock:
            held = list(self._open().get(generation, {}).values())
        hits = [
            Hit(note_id=note.id, revision=note.revision, score=_cosine(vector, other))
            for note, other in held
            if note.scope in scopes and len(other) == len(vector)
        ]
        return sorted(hits, key=lambda hit: (-hit.score, hit.note_id))[: max(k, 0)]

    def drop(self, generation: int) -> None:
        with self._lock:
            self._open().pop(generation, None)

    def start_over(self) -> None:
        with self._lock:
            self._open().clear()

    def close(self) -> None:
        self._closed = True

    def _open(self) -> dict[int, dict[str, tuple[Note, bytes]]]:
        if self._closed:
            raise StoreError("is closed", field="index", mend="open it again")
        return self._generations


def _cosine(left: bytes, right: bytes) -> float:
    return float(np.frombuffer(left, dtype="<f4") @ np.frombuffer(right, dtype="<f4"))
