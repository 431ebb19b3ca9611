"""What people's verdicts on some pairs say about all the others."""

from __future__ import annotations

import numpy as np
import pytest

from sleep_runtime.consolidation.affinity.affine import odds
from sleep_runtime.consolidation.affinity.head import Odds, Rows
from sleep_runtime.consolidation.affinity.taught import LEAST, Taught
from sleep_runtime.consolidation.compare import pair_of
from sleep_runtime.core.observation import Claim, NoteKind
from sleep_runtime.core.proposal import ClaimPair, Verdict

FEATURES = 6
UNSURE = Odds(same=0.4, excludes=0.3)


def untaught() -> Taught:
    return Taught(np.zeros(FEATURES), np.ones(FEATURES))


def pairs_of(seed: int, count: int) -> tuple[Rows, list[Verdict]]:
    """Pairs of a trade where the first feature alone tells: high is the same, low excludes."""
    rows = np.random.default_rng(seed).normal(size=(count, FEATURES))
    return rows, [Verdict.SAME if row[0] > 0 else Verdict.EXCLUDES for row in rows]


def learned(count: int, seed: int = 7) -> Taught:
    rows, verdicts = pairs_of(seed, count)
    return untaught().learn(rows, [UNSURE] * count, verdicts)


def right(taught: Taught) -> float:
    """The share of other pairs of the trade whose likelier answer is right."""
    rows, verdicts = pairs_of(99, 400)
    found = taught.corrected(rows, [UNSURE] * len(rows))
    said = [Verdict.SAME if o.same > o.excludes else Verdict.EXCLUDES for o in found]
    return float(np.mean([one is other for one, other in zip(said, verdicts, strict=True)]))


def test_a_few_dozen_verdicts_teach_what_a_trade_tells_by() -> None:
    assert right(untaught()) < 0.6
    assert right(learned(20)) > 0.7
    assert right(learned(80)) > 0.85


def test_too_few_verdicts_teach_nothing() -> None:
    rows, _ = pairs_of(3, 5)
    assert learned(LEAST - 1).corrected(rows, [UNSURE] * 5) == [UNSURE] * 5


def test_the_order_of_verdicts_does_not_matter_to_the_last_bit() -> None:
    rows, verdicts = pairs_of(7, 40)
    turned = untaught().learn(rows[::-1], [UNSURE] * 40, verdicts[::-1])
    asked, _ = pairs_of(8, 10)
    assert turned.corrected(asked, [UNSURE] * 10) == learned(40).corrected(asked, [UNSURE] * 10)


def test_odds_stay_probabilities() -> None:
    rows, _ = pairs_of(11, 50)
    for found in learned(80).corrected(rows * 1e6, [Odds(1.0, 0.0)] * 50):
        assert 0 <= found.same <= 1
        assert 0 <= found.excludes <= 1
        assert found.same + found.excludes <= 1 + 1e-9


def claim(statement: str) -> Claim:
    return Claim(statement=statement, kind=NoteKind.CONVENTION, about={"kiln": "ember"})


def paraphrases(number: int) -> ClaimPair:
    return pair_of(
        claim(f"the {number} shelf takes slow glaze for cups"),
        claim(f"cups on shelf {number} want the slow kind of glaze"),
    )


@pytest.mark.parametrize(("verdict", "more"), [(Verdict.SAME, True), (Verdict.UNRELATED, False)])
def test_verdicts_of_an_organisation_move_the_odds_of_pairs_like_theirs(
    verdict: Verdict, more: bool
) -> None:
    asked = paraphrases(3)
    plain = odds([asked], asked.claims, {})[asked.key]
    told = [(paraphrases(number), verdict) for number in range(10, 40)]
    moved = odds([asked], asked.claims, {}, told)[asked.key]
    assert (moved.same > plain.same) is more, (plain, moved)
    assert odds([asked], asked.claims, {}, told[:3])[asked.key] == plain
