"""Circle: the claims that stand in some tie to a given one, found without comparing with all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from sleep_runtime.consolidation.compare import Slot, Tie, name_of, names_of, slot, tie
from sleep_runtime.consolidation.words import normalise
from sleep_runtime.core.observation import Claim
from sleep_runtime.core.proposal import Judgement


class Circle:
    """Claims by id. Two claims can only be tied when they were judged, share words or a slot."""

    def __init__(self, claims: Mapping[str, Claim], judgements: Mapping[str, Judgement]) -> None:
        self._claims = claims
        self._judgements = judgements
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._by_words: dict[str, list[str]] = defaultdict(list)
        self._by_slot: dict[Slot, list[str]] = defaultdict(list)
        for key in sorted(claims):
            self._add(key, claims[key])
        self._judged: dict[str, set[str]] = defaultdict(set)
        for pair in judgements:
            first, second = names_of(pair)
            self._judged[first].add(second)
            self._judged[second].add(first)

    def _add(self, key: str, claim: Claim) -> None:
        self._by_name[name_of(claim)].append(key)
        self._by_words[normalise(claim.statement)].append(key)
        if (question := slot(claim)) is not None:
            self._by_slot[question].append(key)

    def ties(self, claim: Claim) -> dict[str, Tie]:
        """The tie of ``claim`` with each claim it is tied to, by id, in the order of ids."""
        near = {key for name in self._judged[name_of(claim)] for key in self._by_name[name]}
        near.update(self._by_words[normalise(claim.statement)])
        if (question := slot(claim)) is not None:
            near.update(self._by_slot[question])
        found = {key: tie(claim, self._claims[key], self._judgements) for key in sorted(near)}
        return {key: answer for key, answer in found.items() if answer is not Tie.APART}
