"""The vectors of notes in the searcher's own model: the ledger's, or made on the fly."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sleep_runtime.core.errors import EngineError
from sleep_runtime.core.ports import Embedder, NoteVector, SegmentRow
from sleep_runtime.present.away import Away
from sleep_runtime.present.segments import Floats
from sleep_runtime.telemetry.events import LogEvent
from sleep_runtime.telemetry.log import get_logger
from sleep_runtime.telemetry.metrics import METRICS

BATCH = 64

log = get_logger(__name__)


class Rows(NamedTuple):
    """A row a note, and how many rows are zeros because there was no vector to be had."""

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
    """Takes vectors from the ledger's rows and embeds what they lack, within bounds. Thread-safe.

    At most ``max_embeds`` statements are embedded for one request and ``max_kept`` remembered;
    notes beyond that get zeros, are found by their words, and have their turn another time. While
    the model cannot be used nothing is embedded at all: it is tried again after a while.
    """

    def __init__(self, embedder: Embedder, *, max_embeds: int, max_kept: int) -> None:
        self._embedder = embedder
        self._max_embeds = max_embeds
        self._max_kept = max_kept
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()
        self._away = Away()

    @property
    def model(self) -> str:
        return self._embedder.model

    @property
    def dim(self) -> int:
        return self._embedder.dim

    @property
    def away(self) -> str:
        """Why the model cannot be used now; empty when it can."""
        return self._away.reason

    def query(self, text: str) -> Floats | None:
        """The vector of a query; None while the model cannot be used."""
        made = self._embed([text])
        if made is None:
            METRICS.search_degraded.labels("embedder").inc()
            return None
        return np.frombuffer(made[0], dtype="<f4")

    def budget(self) -> EmbedBudget:
        """What one request may embed."""
        return EmbedBudget(self._max_embeds)

    def rows(self, notes: Sequence[SegmentRow], budget: EmbedBudget) -> Rows:
        """Vectors for these notes, embedding what is missing while the budget lasts."""
        raw = [note.vector if self.made(note) else b"" for note in notes]
        if not all(raw):
            self._fill(raw, notes, budget)
        lacking = raw.count(b"")
        nothing = b"\0" * (4 * self.dim)
        packed = b"".join(vector or nothing for vector in raw)
        matrix = np.frombuffer(packed, dtype="<f4").reshape(len(raw), self.dim)
        return Rows(matrix, lacking)

    def made(self, one: SegmentRow | NoteVector) -> bool:
        """Whether this model made the vector, and it has its length."""
        return one.model == self._embedder.model and len(one.vector) == 4 * self.dim

    def _fill(self, raw: list[bytes], notes: Sequence[SegmentRow], budget: EmbedBudget) -> None:
        missing = [place for place, vector in enumerate(raw) if not vector]
        lacking = sorted({notes[place].statement for place in missing})
        made = self._remembered(lacking)
        made.update(self._embedded(budget.take([text for text in lacking if text not in made])))
        for place in missing:
            raw[place] = made.get(notes[place].statement, b"")

    def forget(self) -> None:
        """Remember no statement any more."""
        with self._lock:
            self._kept.clear()

    def _remembered(self, statements: Sequence[str]) -> dict[str, bytes]:
        with self._lock:
            known = {text: self._kept[text] for text in statements if text in self._kept}
            for text in known:
                self._kept.move_to_end(text)
        return known

    def _embedded(self, statements: Sequence[str]) -> dict[str, bytes]:
        made: dict[str, bytes] = {}
        for start in range(0, len(statements), BATCH):
            batch = statements[start : start + BATCH]
            if (vectors := self._embed(batch)) is None:
                break
            made.update(zip(batch, vectors, strict=True))
        self._keep(made)
        return made

    def _embed(self, texts: Sequence[str]) -> list[bytes] | None:
        if self._away:
            return None
        try:
            return self._embedder.embed(texts)
        except EngineError as error:
            self._away.mark(str(error))
            log.warning(LogEvent.SEARCH_DEGRADED, part="embedder", reason=str(error))
            return None

    def _keep(self, made: dict[str, bytes]) -> None:
        with self._lock:
            self._kept.update(made)
            while len(self._kept) > self._max_kept:
                self._kept.popitem(last=False)
