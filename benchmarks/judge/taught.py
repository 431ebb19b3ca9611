"""What people's verdicts add: the same pairs, after 0 to 80 others of their set were decided.

Each set is an organisation of its own, whose store knows the statements of all its pairs. Verdicts
are drawn from its pairs, taught as a night does, and the others are judged: by the statistics, the
engine and what was taught, joined. Every draw is scored, and the scores are added up.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.judge.curve import decided
from benchmarks.judge.pairs import DataSet, Pair
from benchmarks.judge.scoring import Score, scored
from sleep_runtime.consolidation.affinity.affine import odds
from sleep_runtime.consolidation.compare import pair_of
from sleep_runtime.consolidation.settle import settled
from sleep_runtime.core.ports import Embedder, Engine
from sleep_runtime.core.proposal import ClaimPair, Judgement, Verdict

VERDICTS = (0, 20, 40, 80)
DRAWS = 5
MOST = 250
"""Pairs of each label of a set."""


def taught(
    sets: Sequence[DataSet], engine: Engine, embedder: Embedder, *, seed: int
) -> Iterator[tuple[str, int, Score]]:
    """(set, verdicts given, score) for each set that has pairs enough to teach and to ask."""
    for data in sets:
        known = _Known(data, engine, embedder, seed=seed)
        if len(known.pairs) <= max(VERDICTS):
            continue
        for count in VERDICTS:
            draws = range(DRAWS if count else 1)
            yield data.name, count, sum((known.score(count, draw) for draw in draws), Score())


class _Known:
    """The pairs of a set, what the engine says of them, and their vectors: asked once."""

    def __init__(self, data: DataSet, engine: Engine, embedder: Embedder, *, seed: int) -> None:
        self.pairs = _sample(data.pairs, random.Random(f"{data.name}/{seed}"))
        asked = [pair_of(pair.left, pair.right) for pair in self.pairs]
        self._asked = {pair.key: pair for pair in asked}
        self._labels = {a.key: p.label for a, p in zip(asked, self.pairs, strict=True)}
        self._claims = [claim for pair in self._asked.values() for claim in pair.claims]
        texts = sorted({claim.statement for claim in self._claims})
        self._vectors: Mapping[str, bytes] = dict(zip(texts, embedder.embed(texts), strict=True))
        pairs = list(self._asked.values())
        answers = zip(pairs, engine.compare(pairs), strict=True)
        self._answers: dict[str, Judgement] = {pair.key: answer for pair, answer in answers}

    def score(self, count: int, draw: int) -> Score:
        """The score on the pairs that were not among ``count`` verdicts."""
        keys = sorted(self._asked)
        given = random.Random(draw).sample(keys, count)
        known = set(given)
        rest = [self._asked[key] for key in keys if key not in known]
        told: list[tuple[ClaimPair, Verdict]] = [(self._asked[k], self._labels[k]) for k in given]
        found = settled(rest, odds(rest, self._claims, self._vectors, told), self._answers, {})
        return scored(
            [self._labels[p.key] for p in rest], [decided(found.get(p.key)) for p in rest]
        )


def _sample(pairs: Sequence[Pair], rng: random.Random) -> list[Pair]:
    kept: list[Pair] = []
    for label in Verdict:
        own = [pair for pair in pairs if pair.label is label]
        kept += own if len(own) <= MOST else rng.sample(own, MOST)
    return kept
