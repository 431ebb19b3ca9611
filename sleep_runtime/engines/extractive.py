"""ExtractiveEngine: distils and compares without a writing model, from words and their places.

Deterministic, offline, English. Sentences, cues and slots decide what is a lesson; whether two are
the same is decided by rules and, where the embedder shows its model's tokens, by a trained head.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sleep_runtime.core.observation import Distillation, Draft, SessionInput, Usage
from sleep_runtime.core.ports import Embedder
from sleep_runtime.core.proposal import ClaimPair, Judgement
from sleep_runtime.engines.judge.decide import PairJudge
from sleep_runtime.engines.judge.reading import TokenEmbedder
from sleep_runtime.engines.text.align import judge
from sleep_runtime.engines.text.turns import Said, said_in

VERSION = 4
_KEPT_TOKENS = 32_768
"""Of the texts embedded last, 25 MB: what is compared in a night was embedded just before."""


class ExtractiveEngine:
    """Implements ``Engine``. Drafts come from human turns only, in the speaker's own words.

    Every answer depends on its own question alone, never on its neighbours in a batch. Nothing
    is loaded before the first pair whose words leave the verdict to meaning. Usage stays nought:
    no model call is spent. Raises ``EngineError`` when the embedder is unusable.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._trained: PairJudge | None = None
        if isinstance(embedder, TokenEmbedder):
            embedder.keep_states(_KEPT_TOKENS)
            self._trained = PairJudge(embedder)

    @property
    def name(self) -> str:
        judged = f"judge-{self._trained.version}" if self._trained else "rules"
        return f"extractive-{VERSION}+{judged}+{self._embedder.model}"

    @property
    def usage(self) -> Usage:
        return Usage()

    def distil(self, sessions: Sequence[SessionInput]) -> list[Distillation]:
        return [_distilled(session) for session in sessions]

    def compare(self, pairs: Sequence[ClaimPair]) -> list[Judgement]:
        return [self._compared(pair) for pair in pairs]

    def _compared(self, pair: ClaimPair) -> Judgement:
        if self._trained is not None:
            return self._trained.judge(pair)
        left, right = pair.left, pair.right
        return judge(left, right, lambda: self._cosine(left.statement, right.statement))

    def _cosine(self, left: str, right: str) -> float:
        one, other = (np.frombuffer(v, dtype="<f4") for v in self._embedder.embed([left, right]))
        return float(one.astype(np.float64) @ other.astype(np.float64))


def _distilled(session: SessionInput) -> Distillation:
    return Distillation(drafts=tuple(_draft(said) for said in said_in(session.turns)))


def _draft(said: Said) -> Draft:
    lesson = said.lesson
    return Draft(
        claim=lesson.claim, durability=lesson.durability, evidence=said.evidence, why=lesson.why
    )
