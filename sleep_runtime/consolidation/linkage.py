"""Linkage: how two lessons stand to each other when each was put in many words.

Sameness of two wordings is uncertain and not transitive. What decides is the mean over all pairs of
wordings (average linkage, R. Sokal and C. Michener, 1958), in log-odds, so that one sure pair
carries unsure ones and many doubtful pairs carry nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sleep_runtime.consolidation.compare import Tie, clash, comparable, identical, key_of, tie
from sleep_runtime.core.observation import Claim
from sleep_runtime.core.proposal import Judgement, Verdict

CERTAIN = 8.0
"""Log-odds of what is the same by its words."""
FAR = -2.5
"""Log-odds of a pair that was not near enough to be looked at."""
JOIN = 0.5
"""Least mean log-odds of one lesson: a higher one merges less, and finds fewer repetitions."""

_LEAST = 1e-3
_BY_VERDICT = {Verdict.SAME: 1.5, Verdict.EXCLUDES: -3.0, Verdict.UNRELATED: -1.5}


class Link(NamedTuple):
    """The tie of two lessons, and the log-odds that they are one."""

    tie: Tie
    odds: float


UNKNOWN = Link(Tie.APART, FAR)


def link(left: Claim, right: Claim, judgements: Mapping[str, Judgement]) -> Link | None:
    """How two wordings stand to each other; None when nothing is known about the pair."""
    if not comparable(left, right):
        return UNKNOWN
    if identical(left, right):
        return Link(Tie.SAME, CERTAIN)
    judgement = judgements.get(key_of(left, right))
    if judgement is None:
        return Link(Tie.UNSURE, FAR) if clash(left, right) else None
    return Link(tie(left, right, judgements), odds_of(judgement))


def odds_of(judgement: Judgement) -> float:
    """The log-odds that the judged pair is one lesson."""
    if judgement.problem:
        return FAR
    if judgement.same is None:
        return _BY_VERDICT[judgement.verdict]
    return log_odds(judgement.same)


def log_odds(share: float) -> float:
    """The log-odds of a probability, none of which is taken for certain."""
    share = min(max(share, _LEAST), 1 - _LEAST)
    return math.log(share / (1 - share))


def joint(links: Iterable[Link]) -> Link:
    """The link of two lessons from the links of their wordings."""
    known = list(links)
    if not known:
        return UNKNOWN
    odds = sum(found.odds for found in known) / len(known)
    ties = [found.tie for found in known]
    same, excludes = ties.count(Tie.SAME), ties.count(Tie.EXCLUDES)
    if same > excludes and odds >= JOIN:
        return Link(Tie.SAME, odds)
    if excludes and excludes >= same:
        return Link(Tie.EXCLUDES if excludes > same else Tie.UNSURE, odds)
    other = next((answer for answer in (Tie.SCOPED, Tie.UNSURE) if answer in ties), Tie.APART)
    return Link(other, odds)
