"""Group: puts observations that say the same together, and never two that exclude each other.

Sameness is not transitive: a chain of near-paraphrases may end at the opposite. So two groups join
only along a pair judged the same, when no pair across them is known to be otherwise, and when
those judged the same are not outnumbered by those kept apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import product

from sleep_runtime.consolidation.compare import (
    Tie,
    clash,
    comparable,
    identical,
    name_of,
    names_of,
    tie,
)
from sleep_runtime.consolidation.wording import Rank, complete, rank
from sleep_runtime.consolidation.words import normalise
from sleep_runtime.core.event import Trust
from sleep_runtime.core.observation import Claim, Durability, Observation
from sleep_runtime.core.proposal import Judgement

Ties = dict[tuple[int, int], tuple[Tie, float]]


class Unit:
    """Observations that say the same in the same words."""

    def __init__(self, first: Observation) -> None:
        self.observations = [first]

    @property
    def claim(self) -> Claim:
        """The claim in the words of the clearest observation: meant to last, said by a person."""
        return min(self.observations, key=_clearest).claim

    @property
    def standing(self) -> bool:
        return any(_standing(item) for item in self.observations)

    @property
    def human(self) -> bool:
        return any(item.trust is Trust.HUMAN for item in self.observations)


def _standing(item: Observation) -> bool:
    """True for what a person said to last; agents do not speak with standing intent."""
    return item.durability is Durability.STANDING and item.trust is Trust.HUMAN


def _clearest(item: Observation) -> tuple[bool, bool, bool, bool, str]:
    return (
        not _standing(item),
        item.trust is not Trust.HUMAN,
        not complete(item.claim),
        not item.claim.value,
        item.id,
    )


class Group:
    """Units that say the same in different words."""

    def __init__(self, units: Sequence[Unit], links: Mapping[int, int]) -> None:
        self._units = units
        self._links = links

    @property
    def observations(self) -> list[Observation]:
        """All of them, by event time."""
        every = [item for unit in self._units for item in unit.observations]
        return sorted(every, key=lambda item: (item.ts, item.id))

    @property
    def claim(self) -> Claim:
        """The clearest: what a person meant to last, to act on, complete, central, short."""

        def clearest(unit: Unit) -> tuple[bool, bool, Rank, int, int, str, str]:
            claim = unit.claim
            return (
                not unit.standing,
                not unit.human,
                rank(claim, standing=unit.standing),
                -self._links.get(id(unit), 0),
                len(claim.statement),
                claim.statement,
                name_of(claim),
            )

        return min(self._units, key=clearest).claim


def group(observations: Iterable[Observation], judgements: Mapping[str, Judgement]) -> list[Group]:
    """Groups of observations that say the same, independent of the order they are given in."""
    units = _units(sorted(observations, key=lambda item: (item.ts, item.id)))
    ties = _ties(units, judgements)
    members: dict[int, list[int]] = {index: [index] for index in range(len(units))}
    home = list(range(len(units)))
    for left, right in _by_score(ties):
        ours, theirs = home[left], home[right]
        if ours != theirs and _may_join(members[ours], members[theirs], units, ties):
            moved = members.pop(theirs)
            members[ours] += moved
            for index in moved:
                home[index] = ours
    links = _links(units, ties)
    return [Group([units[i] for i in sorted(ids)], links) for _, ids in sorted(members.items())]


def _units(observations: Iterable[Observation]) -> list[Unit]:
    by_words: dict[str, list[Unit]] = defaultdict(list)
    units: list[Unit] = []
    for item in observations:
        alike = by_words[normalise(item.claim.statement)]
        found = next(
            (u for u in alike if all(identical(o.claim, item.claim) for o in u.observations)), None
        )
        if found:
            found.observations.append(item)
        else:
            alike.append(Unit(item))
            units.append(alike[-1])
    return units


def _ties(units: Sequence[Unit], judgements: Mapping[str, Judgement]) -> Ties:
    """The judged pairs among these units, the strictest answer where there are several."""
    where = {name_of(o.claim): i for i, unit in enumerate(units) for o in unit.observations}
    claims = {name_of(o.claim): o.claim for unit in units for o in unit.observations}
    ties: Ties = {}
    for key in sorted(judgements):
        first, second = names_of(key)
        if first not in where or second not in where or where[first] == where[second]:
            continue
        answer = tie(claims[first], claims[second], judgements), judgements[key].score
        place = (min(where[first], where[second]), max(where[first], where[second]))
        known = ties.get(place)
        if known is None or known[0] is Tie.SAME:
            ties[place] = answer
    return ties


def _by_score(ties: Ties) -> list[tuple[int, int]]:
    same = [(-score, place) for place, (answer, score) in ties.items() if answer is Tie.SAME]
    return [place for _, place in sorted(same)]


def _may_join(
    ours: Sequence[int], theirs: Sequence[int], units: Sequence[Unit], ties: Ties
) -> bool:
    same = apart = 0
    for left, right in product(ours, theirs):
        answer, _ = ties.get((min(left, right), max(left, right)), (None, 0.0))
        if answer is None:
            one, other = units[left].claim, units[right].claim
            if not comparable(one, other) or clash(one, other):
                return False
        elif answer is Tie.SAME:
            same += 1
        elif answer is Tie.APART:
            apart += 1
        else:
            return False
    return same >= apart


def _links(units: Sequence[Unit], ties: Ties) -> dict[int, int]:
    links: dict[int, int] = defaultdict(int)
    for (left, right), (answer, _) in ties.items():
        if answer is Tie.SAME:
            links[id(units[left])] += 1
            links[id(units[right])] += 1
    return links
