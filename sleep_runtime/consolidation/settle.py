"""Settle: what the store's own statistics decide, what an engine is asked, and what comes of both.

The statistics come first: they cost nothing and know the store. An engine is asked about the pairs
they leave open. A person's verdict stands above both, and teaches the statistics.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from sleep_runtime.consolidation.affinity.affine import odds as affinities
from sleep_runtime.consolidation.affinity.head import Odds
from sleep_runtime.consolidation.affinity.taught import MOST
from sleep_runtime.consolidation.compare import pair_of
from sleep_runtime.consolidation.linkage import log_odds
from sleep_runtime.consolidation.words import content
from sleep_runtime.core.note import Dossier
from sleep_runtime.core.observation import Claim, Observation
from sleep_runtime.core.policy import ReflectPolicy
from sleep_runtime.core.proposal import ClaimPair, Judgement, Verdict
from sleep_runtime.core.review import RememberedVerdict

_PLAIN_WORDS = 7
_DECISIVE = 0.6
"""Mean of what the engine and the statistics give to two answers that exclude each other."""
# What an engine's sure answer adds to the log-odds of the statistics.
_WEIGHT = {Verdict.SAME: 1.5, Verdict.EXCLUDES: -2.0, Verdict.UNRELATED: -0.5}
_EXCLUDES = {Verdict.SAME: -1.5, Verdict.EXCLUDES: 1.5, Verdict.UNRELATED: 0.0}


def measured(
    pairs: Sequence[ClaimPair],
    observations: Iterable[Observation],
    dossiers: Iterable[Dossier],
    vectors: Mapping[str, bytes],
    verdicts: Sequence[RememberedVerdict] = (),
) -> dict[str, Odds]:
    """What the claims of tonight and of the scope's notes say about each pair, by its key.

    ``verdicts`` are what people of the organisation said of pairs, oldest first: all odds are seen
    in their light.
    """
    told = {said.pair_key: (pair_of(said.left, said.right), said.verdict) for said in verdicts}
    fresh = [item.claim for item in observations if not item.feedback_on]
    known = [claim for dossier in dossiers for claim in dossier.claims]
    return affinities(pairs, _near(pairs, [*fresh, *known]), vectors, [*told.values()])


def teaching(verdicts: Sequence[RememberedVerdict]) -> Sequence[RememberedVerdict]:
    """The verdicts that are learned from: the newest, so that a night's cost is bounded."""
    return verdicts[-MOST:]


def _near(pairs: Iterable[ClaimPair], claims: Iterable[Claim]) -> list[Claim]:
    """The claims about what the pairs are about: others say nothing about their words."""
    facets = {facet for pair in pairs for facet in pair.left.about.items()}
    return [claim for claim in claims if not claim.about or facets & claim.about.items()]


def open_pairs(
    pairs: Sequence[ClaimPair], odds: Mapping[str, Odds], policy: ReflectPolicy
) -> list[ClaimPair]:
    """The pairs an engine has to be asked about: the statistics leave them open, or say nothing."""
    sure = policy.sure

    def is_open(pair: ClaimPair) -> bool:
        found = odds.get(pair.key)
        if found is None:
            return True
        likely = max(found.same, found.excludes) > 1 - sure
        return likely and (found.same < sure or _short(pair))

    return [pair for pair in pairs if is_open(pair)]


def _short(pair: ClaimPair) -> bool:
    """True when both sides are plain enough to be set against each other word by word."""
    return all(len(content(c.statement)) <= _PLAIN_WORDS for c in (pair.left, pair.right))


def settled(
    pairs: Sequence[ClaimPair],
    odds: Mapping[str, Odds],
    answers: Mapping[str, Judgement],
    verdicts: Mapping[str, Judgement],
) -> dict[str, Judgement]:
    """One judgement for each pair of which anything is known, by its key."""
    found: dict[str, Judgement] = {}
    for pair in pairs:
        said = verdicts.get(pair.key)
        if said is not None:
            found[pair.key] = _certain(said)
        elif pair.key in odds:
            found[pair.key] = _joined(odds[pair.key], answers.get(pair.key))
        elif pair.key in answers:
            found[pair.key] = answers[pair.key]
    return found


def _certain(said: Judgement) -> Judgement:
    """A person's verdict, with nothing left open."""
    same, excludes = said.verdict is Verdict.SAME, said.verdict is Verdict.EXCLUDES
    return said.model_copy(update={"same": float(same), "excludes": float(excludes)})


def _joined(odds: Odds, answer: Judgement | None) -> Judgement:
    """The statistics, moved by what the engine answered."""
    same, excludes = odds.same, odds.excludes
    if answer is not None and answer.verdict is Verdict.EXCLUDES and _agree(odds, answer):
        same, excludes = min(same, 1 - answer.score), max(excludes, answer.score)
    elif answer is not None and not answer.problem:
        same = _moved(same, _WEIGHT[answer.verdict] * answer.score)
        excludes = _moved(excludes, _EXCLUDES[answer.verdict] * answer.score)
    verdict = Verdict.UNRELATED
    if max(same, excludes) >= 0.5:
        verdict = Verdict.SAME if same >= excludes else Verdict.EXCLUDES
    reason = f"same {same:.2f}, excludes {excludes:.2f} by the store's own words"
    if answer is not None and answer.reason:
        reason = f"{reason}; {answer.reason}"[:400]
    return Judgement(
        verdict=verdict,
        reason=reason,
        score=max(same, excludes, 1 - same - excludes, 0.0),
        same=same,
        excludes=excludes,
    )


def _agree(odds: Odds, answer: Judgement) -> bool:
    """True when what the engine sees and what the store knows together speak for an exclusion."""
    return not answer.problem and (odds.excludes + answer.score) / 2 >= _DECISIVE


def _moved(share: float, by: float) -> float:
    return 1 / (1 + math.exp(-(log_odds(share) + by)))
