"""What the store's own statistics add: the same pairs, with more of the domain seen before.

The engine answers every pair by itself; the store's statistics rest on ``seen`` statements of the
domain, drawn apart from the pairs, and on the pairs' own claims. Both are joined as a night does.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.judge.banks import Bank, pairs_of, statements
from benchmarks.judge.judges import answer
from benchmarks.judge.scoring import Answer, Score, scored
from sleep_runtime.consolidation.affinity.affine import odds
from sleep_runtime.consolidation.compare import pair_of
from sleep_runtime.consolidation.settle import settled
from sleep_runtime.core.ports import Embedder, Engine
from sleep_runtime.core.proposal import Judgement

SEEN = (0, 50, 200, 1000)


def curve(
    found: list[Bank], engine: Engine, embedder: Embedder, *, seed: int, each: int
) -> Iterator[tuple[int, Score]]:
    """For each size of the past: the score over all domains, each with a past of its own."""
    for count in SEEN:
        total = Score()
        for bank in found:
            total += _with_past(bank, engine, embedder, seed=seed, each=each, count=count)
        yield count, total


def _with_past(
    bank: Bank, engine: Engine, embedder: Embedder, *, seed: int, each: int, count: int
) -> Score:
    pairs = list(pairs_of(bank, seed=seed, each=each))
    asked = [pair_of(pair.left, pair.right) for pair in pairs]
    own = [claim for pair in pairs for claim in (pair.left, pair.right)]
    past = [said.claim for said in statements(bank, seed=seed, count=count)]
    texts = sorted({claim.statement for claim in own})
    vectors = dict(zip(texts, embedder.embed(texts), strict=True))
    answers = {p.key: a for p, a in zip(asked, engine.compare(asked), strict=True)}
    joined = settled(asked, odds(asked, [*own, *past], vectors), answers, {})
    return scored([p.label for p in pairs], [decided(joined.get(p.key)) for p in asked])


def decided(judgement: Judgement | None) -> Answer:
    """What a night makes of a pair: how likely it is the same, where that is known."""
    found = judgement or Judgement()
    plain = answer(found)
    return plain if found.same is None else Answer(found.verdict, found.same)
