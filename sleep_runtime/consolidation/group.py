"""Group: puts observations that say the same together, and never two that exclude each other.

Sameness is not transitive: a chain of near-paraphrases may end at the opposite. So two groups join
only along a pair judged the same, when no pair across them is known to be otherwise, and when
all pairs across them taken together speak for it.
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
    one_subject,
)
from sleep_runtime.consolidation.linkage import UNKNOWN, Link, joint, link
from sleep_runtime.consolidation.wording import Rank, Wordings, complete, rank
from sleep_runtime.consolidation.words import normalise
from sleep_runtime.core.event import Trust
from sleep_runtime.core.observation import Claim, Durability, Observation
from sleep_runtime.core.proposal import Judgement

Links = dict[tuple[int, int], Link]

MAX_PASSES = 4
"""Groups grow by joining, which may let others join: so often the pairs are gone through."""

_FORBIDS = (Tie.EXCLUDES, Tie.SCOPED, Tie.UNSURE)


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
    def doubtful(self) -> bool:
        return all(item.durability is Durability.DOUBTFUL for item in self.observations)

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

    def __init__(self, units: Sequence[Unit]) -> None:
        self._units = units

    @property
    def observations(self) -> list[Observation]:
        """All of them, by event time."""
        every = [item for unit in self._units for item in unit.observations]
        return sorted(every, key=lambda item: (item.ts, item.id))

    @property
    def claim(self) -> Claim:
        """The clearest: a person's, not doubtful, holding what others hold too, lasting, short."""
        wordings = Wordings([unit.claim for unit in self._units])

        def clearest(unit: Unit) -> tuple[bool, bool, float, bool, Rank, int, str, str]:
            claim = unit.claim
            return (
                not unit.human,
                unit.doubtful,
                -round(wordings.score(claim), 2),
                not unit.standing,
                rank(claim, standing=unit.standing),
                len(claim.statement),
                claim.statement,
                name_of(claim),
            )

        return min(self._units, key=clearest).claim


def group(observations: Iterable[Observation], judgements: Mapping[str, Judgement]) -> list[Group]:
    """Groups of observations that say the same, independent of the order they are given in."""
    units = _units(sorted(observations, key=lambda item: (item.ts, item.id)))
    links = _links(units, judgements)
    members: dict[int, list[int]] = {index: [index] for index in range(len(units))}
    home = list(range(len(units)))
    for _ in range(MAX_PASSES):
        before = len(members)
        for left, right in _likeliest_first(links):
            ours, theirs = home[left], home[right]
            if ours != theirs and _may_join(members[ours], members[theirs], units, links):
                moved = members.pop(theirs)
                members[ours] += moved
                for index in moved:
                    home[index] = ours
        if len(members) == before:
            break
    return [Group([units[i] for i in sorted(ids)]) for _, ids in sorted(members.items())]


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


def _links(units: Sequence[Unit], judgements: Mapping[str, Judgement]) -> Links:
    """The judged pairs among these units; of several answers about one, the least likely."""
    where = {name_of(o.claim): i for i, unit in enumerate(units) for o in unit.observations}
    claims = {name_of(o.claim): o.claim for unit in units for o in unit.observations}
    links: Links = {}
    for key in sorted(judgements):
        first, second = names_of(key)
        if first not in where or second not in where or where[first] == where[second]:
            continue
        if not comparable(claims[first], claims[second]):
            continue  # whatever was answered: the facets keep them apart
        answer = link(claims[first], claims[second], judgements)
        if answer is not None:
            place = (min(where[first], where[second]), max(where[first], where[second]))
            links[place] = min(links.get(place, answer), answer, key=lambda found: found.odds)
    return links


def _likeliest_first(links: Links) -> list[tuple[int, int]]:
    same = [(-found.odds, place) for place, found in links.items() if found.tie is Tie.SAME]
    return [place for _, place in sorted(same)]


def _may_join(
    ours: Sequence[int], theirs: Sequence[int], units: Sequence[Unit], links: Links
) -> bool:
    """True when all that is known across the two speaks for one lesson, taken together."""
    across: list[Link] = []
    for left, right in product(ours, theirs):
        one, other = units[left].claim, units[right].claim
        if not one_subject(one, other):
            return False
        found = links.get((min(left, right), max(left, right)))
        if found is None:
            if clash(one, other):
                return False
            found = UNKNOWN
        elif found.tie in _FORBIDS:
            return False
        across.append(found)
    return joint(across).tie is Tie.SAME
