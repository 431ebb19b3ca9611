"""Circle: the claims that stand in some tie to a given one, found without comparing with all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from sleep_runtime.consolidation.compare import Slot, Tie, name_of, names_of, one_subject, slot
from sleep_runtime.consolidation.linkage import Link, joint, link
from sleep_runtime.consolidation.words import normalise
from sleep_runtime.core.observation import Claim
from sleep_runtime.core.proposal import Judgement


class Circle:
    """Lessons by id, each in all its wordings, the one that says what it is about first.

    Two claims can only be tied when they were judged, share words or a slot.
    """

    def __init__(
        self, lessons: Mapping[str, Sequence[Claim]], judgements: Mapping[str, Judgement]
    ) -> None:
        self._lessons = lessons
        self._judgements = judgements
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._by_words: dict[str, list[str]] = defaultdict(list)
        self._by_slot: dict[Slot, list[str]] = defaultdict(list)
        for key in sorted(lessons):
            for claim in lessons[key]:
                self._add(key, claim)
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

    def ties(self, claims: Sequence[Claim]) -> dict[str, Tie]:
        """The tie of a lesson, in all its wordings, with each it is tied to, the likeliest first.

        Of two it says the same as, the one with the better odds comes first.
        """
        near = sorted({key for claim in claims for key in self._near(claim)})
        links = {key: self._link(claims, self._lessons[key]) for key in near}
        ordered = sorted(near, key=lambda key: (-links[key].odds, key))
        return {key: links[key].tie for key in ordered if links[key].tie is not Tie.APART}

    def _near(self, claim: Claim) -> set[str]:
        near = {key for name in self._judged[name_of(claim)] for key in self._by_name[name]}
        near.update(self._by_words[normalise(claim.statement)])
        if (question := slot(claim)) is not None:
            near.update(self._by_slot[question])
        return near

    def _link(self, ours: Sequence[Claim], theirs: Sequence[Claim]) -> Link:
        links = (link(one, other, self._judgements) for one in ours for other in theirs)
        found = joint(item for item in links if item is not None)
        if found.tie is Tie.SAME and not all(one_subject(one, theirs[0]) for one in ours):
            # A wording about nothing that is named must not lead from one thing to another.
            return found._replace(tie=Tie.APART)
        return found
