"""ExtractiveEngine: distils and compares without a writing model, from words and their places.

Deterministic, offline, English. Sentences, cues and slots decide; an embedding may only confirm.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sleep_runtime.core.event import EventKind, Role, Trust
from sleep_runtime.core.observation import Distillation, Draft, SessionInput, Turn, Usage
from sleep_runtime.core.ports import Embedder
from sleep_runtime.core.proposal import ClaimPair, Judgement
from sleep_runtime.engines.text.align import judge
from sleep_runtime.engines.text.drafts import lessons

VERSION = 1
_READ = frozenset({EventKind.MESSAGE, EventKind.CORRECTION, EventKind.FEEDBACK})


class ExtractiveEngine:
    """Implements ``Engine``. Drafts come from human turns only, in the speaker's own words.

    Every answer depends on its own question alone, never on its neighbours in a batch. Nothing
    is loaded before the first pair whose words leave the verdict to meaning. Usage stays nought:
    no model call is spent. Raises ``EngineError`` when the embedder is unusable.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    @property
    def name(self) -> str:
        return f"extractive-{VERSION}+{self._embedder.model}"

    @property
    def usage(self) -> Usage:
        return Usage()

    def distil(self, sessions: Sequence[SessionInput]) -> list[Distillation]:
        return [_distilled(session) for session in sessions]

    def compare(self, pairs: Sequence[ClaimPair]) -> list[Judgement]:
        return [self._compared(pair) for pair in pairs]

    def _compared(self, pair: ClaimPair) -> Judgement:
        left, right = pair.left, pair.right
        return judge(left, right, lambda: self._cosine(left.statement, right.statement))

    def _cosine(self, left: str, right: str) -> float:
        one, other = (np.frombuffer(v, dtype="<f4") for v in self._embedder.embed([left, right]))
        return float(one.astype(np.float64) @ other.astype(np.float64))


def _distilled(session: SessionInput) -> Distillation:
    drafts = [draft for turn in session.turns if _speaks(turn) for draft in _of_turn(turn)]
    return Distillation(drafts=tuple(drafts))


def _speaks(turn: Turn) -> bool:
    return turn.role is Role.HUMAN and turn.trust is Trust.HUMAN and turn.kind in _READ


def _of_turn(turn: Turn) -> list[Draft]:
    found = lessons(turn.text, correction=turn.kind is EventKind.CORRECTION, about=turn.about)
    return [
        Draft(
            claim=lesson.claim,
            durability=lesson.durability,
            evidence=(turn.event_id,),
            why=lesson.why,
        )
        for lesson in found
    ]
