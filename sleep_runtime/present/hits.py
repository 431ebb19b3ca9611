"""From places in a view to notes: read only for what is shown, remembered, folded."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from sleep_runtime.core.note import Note, NoteStatus
from sleep_runtime.core.ports import LedgerReader, ScoredNote
from sleep_runtime.core.scope import Scope
from sleep_runtime.present.fold import Wording, folds_into, wording
from sleep_runtime.present.segments import Place, View

# Python objects of one note, beside its texts. Measured, see the benchmark.
_NOTE_BYTES = 5200
LOOKED_AT = 20


class Held(NamedTuple):
    """A note and its words as they are compared."""

    note: Note
    wording: Wording


class NoteCache:
    """Notes that were shown last, by id, revision and era, within ``max_bytes``. Thread-safe.

    A revision never changes between two erasures of its scope, and whoever asks holds a segment of
    the version it checked: what is found here is what the ledger has.
    """

    def __init__(self, reader: LedgerReader, *, max_bytes: int) -> None:
        self._reader = reader
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[tuple[str, int, int], tuple[Held, int]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """About what the notes that are held take."""
        return self._bytes

    def get(self, places: Sequence[Place]) -> dict[str, Held]:
        """The notes at these places, by id. One that went meanwhile is left out."""
        asked = {place.segment.ids[place.at]: place for place in places}
        found: dict[str, Held] = {}
        with self._lock:
            for note_id, (segment, at) in asked.items():
                key = (note_id, segment.revisions[at], segment.era)
                if (kept := self._kept.get(key)) is not None:
                    self._kept.move_to_end(key)
                    found[note_id] = kept[0]
        if missing := [note_id for note_id in asked if note_id not in found]:
            made = [
                Held(note, wording(note))
                for note in self._reader.named(missing)
                if _is_at(note, asked[note.id])
            ]
            self._keep(made, asked)
            found.update((held.note.id, held) for held in made)
        return found

    def clear(self) -> None:
        """Hold nothing any more."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0

    def _keep(self, made: Sequence[Held], places: Mapping[str, Place]) -> None:
        with self._lock:
            for held in made:
                era = places[held.note.id].segment.era
                key = (held.note.id, held.note.revision, era)
                if key not in self._kept:
                    self._kept[key] = (held, _size(held.note))
                    self._bytes += self._kept[key][1]
            while len(self._kept) > 1 and self._bytes > self._max_bytes:
                _, (_, size) = self._kept.popitem(last=False)
                self._bytes -= size


def _is_at(note: Note, place: Place) -> bool:
    """What a reader may see, the ledger decides. A revision of this moment is shown as it is."""
    segment, at = place
    return (
        note.scope == segment.scope
        and note.revision >= segment.revisions[at]
        and note.status is NoteStatus.ACTIVE
    )


def _size(note: Note) -> int:
    texts = len(note.claim.statement) + len(note.reason) + sum(map(len, note.evidence))
    return _NOTE_BYTES + 2 * texts + 64 * len(note.evidence)


Fetch = Callable[[Sequence[Place]], Mapping[str, Held]]
"""The notes at some places, by id; those that may not be shown any more are left out."""


def take(
    ranked: Iterator[tuple[int, float]],
    view: View,
    fetch: Fetch,
    *,
    lineage: Sequence[Scope],
    k: int,
) -> list[ScoredNote]:
    """The first ``k`` of a ranking as notes, near-duplicates shown once.

    Looks at no more than ``LOOKED_AT`` times as many.
    """
    kept = Kept(lineage, k)
    # Few fold, so nearly always the first page is all that is read.
    page = k + max(2, k // 8)
    for _ in range(LOOKED_AT):
        part = [(view.place(at), score) for at, score in islice(ranked, page)]
        notes = fetch([place for place, _ in part])
        for place, score in part:
            if (held := notes.get(place.segment.ids[place.at])) is not None:
                kept.add(held, score)
            if kept.full:
                break
        if kept.full or len(part) < page:
            break
    return kept.notes()


class Kept:
    """What is shown so far, best first. Of two that say the same the nearer scope's is shown."""

    def __init__(self, lineage: Sequence[Scope], k: int) -> None:
        self._rank = {each: place for place, each in enumerate(lineage)}
        self._k = k
        self._held: list[Held] = []
        self._wordings: list[Wording] = []
        self._scores: list[float] = []

    @property
    def full(self) -> bool:
        return len(self._held) >= self._k

    def add(self, held: Held, score: float) -> None:
        place = folds_into(held.wording, self._wordings)
        if place is None:
            self._held.append(held)
            self._wordings.append(held.wording)
            self._scores.append(score)
        elif self._rank[held.note.scope] < self._rank[self._held[place].note.scope]:
            self._held[place], self._wordings[place] = held, held.wording

    def notes(self) -> list[ScoredNote]:
        return [
            ScoredNote(note=held.note, score=score)
            for held, score in zip(self._held, self._scores, strict=True)
        ]
