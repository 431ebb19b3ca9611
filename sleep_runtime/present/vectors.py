"""The vectors of notes in the searcher's own model: the ledger's, or made on the fly."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sleep_runtime.core.note import Note
from sleep_runtime.core.ports import Embedder, LedgerReader
from sleep_runtime.present.ranking import Floats

BATCH = 64


class Rows(NamedTuple):
    """A row a note, and how many rows are zeros because the budget was spent."""

    matrix: Floats
    lacking: int


@dataclass
class EmbedBudget:
    """How many statements may still be embedded for one request. Belongs to one thread."""

    left: int

    def take(self, statements: Sequence[str]) -> Sequence[str]:
        """As many of these as there is room for."""
        taken = statements[: self.left]
        self.left -= len(taken)
        return taken


class NoteVectors:
    """Looks vectors up in the ledger and embeds what it lacks, within bounds. Thread-safe.

    At most ``max_embeds`` statements are embedded for one request and ``max_kept`` remembered;
    notes beyond that get zeros, are found by their words, and have their turn another time.
    """

    def __init__(
        self, reader: LedgerReader, embedder: Embedder, *, max_embeds: int, max_kept: int
    ) -> None:
        self._reader = reader
        self._embedder = embedder
        self._max_embeds = max_embeds
        self._max_kept = max_kept
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def query(self, text: str) -> bytes:
        return self._embedder.embed([text])[0]

    def budget(self) -> EmbedBudget:
        """What one request may embed."""
        return EmbedBudget(self._max_embeds)

    def rows(self, notes: Sequence[Note], budget: EmbedBudget) -> Rows:
        """Vectors for these notes, embedding what is missing while the budget lasts."""
        found = self._stored(notes)
        lacking = sorted({n.claim.statement for n in notes if n.id not in found})
        made = self._remembered(lacking)
        made.update(self._made(budget.take([text for text in lacking if text not in made])))
        matrix = np.zeros((len(notes), self._embedder.dim), dtype=np.float32)
        zeros = 0
        for row, note in zip(matrix, notes, strict=True):
            raw = found.get(note.id) or made.get(note.claim.statement)
            if raw is not None:
                row[:] = np.frombuffer(raw, dtype="<f4")
            zeros += raw is None
        return Rows(matrix, zeros)

    def _stored(self, notes: Sequence[Note]) -> dict[str, bytes]:
        """The ledger's vectors that this model made, for the wording at hand."""
        revisions = {note.id: note.revision for note in notes}
        return {
            vector.note_id: vector.vector
            for vector in self._reader.vectors(list(revisions))
            if vector.model == self._embedder.model
            and vector.revision <= revisions[vector.note_id]
            and len(vector.vector) == 4 * self._embedder.dim
        }

    def _remembered(self, statements: Sequence[str]) -> dict[str, bytes]:
        with self._lock:
            known = {text: self._kept[text] for text in statements if text in self._kept}
            for text in known:
                self._kept.move_to_end(text)
        return known

    def _made(self, statements: Sequence[str]) -> dict[str, bytes]:
        made: dict[str, bytes] = {}
        for start in range(0, len(statements), BATCH):
            batch = statements[start : start + BATCH]
            made.update(zip(batch, self._embedder.embed(batch), strict=True))
        self._keep(made)
        return made

    def _keep(self, made: dict[str, bytes]) -> None:
        with self._lock:
            self._kept.update(made)
            while len(self._kept) > self._max_kept:
                self._kept.popitem(last=False)
