"""Withdraw: which note a person takes back, and whether their word is enough for it.

Who takes something back seldom says it again: the words name the subject, not the answer. So the
note meant is the one about the same things that the words come nearest to, if it stands out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from statistics import fmean
from typing import NamedTuple

from sleep_runtime.consolidation.compare import comparable, key_of, same_facets
from sleep_runtime.consolidation.signal import name_of
from sleep_runtime.consolidation.words import content, negated, stems
from sleep_runtime.core.event import Trust
from sleep_runtime.core.note import ALIVE, Dossier, Evidence, NoteStatus
from sleep_runtime.core.observation import Claim
from sleep_runtime.core.proposal import Judgement, Proposal

AGAINST = -2.0
"""The weight of a withdrawal as evidence: more than of somebody who says otherwise."""
NEAR_ENOUGH, OWN_ENOUGH = 0.25, 0.15
"""Least nearness of the note that is meant, 0..1; and of one that the person said themselves."""
STANDS_OUT = 1.3
"""So many times nearer than the next note the one that is meant has to be."""

# Words with which something is taken back, as stems, in the languages that we could check.
_TAKES_BACK = stems(
    """forget drop scrap cancel undo withdraw withdrawn void lift lifted revoke retract retire
    disregard ignore dead gone obsolete longer anymore stop stopped end ended over outdated
    superseded remove removed skip unneeded unnecessary nevermind back wrong mistake mistaken
    discard delete lapse lapsed expired expire abandon abandoned abolish rescind repeal relax
    relaxed waive waived optional free instead except unsay overturn overturned reverse
    reversed revert past history moot off out rid dispense suspended suspend closed finished
    done away used formerly cancelled cancelling undecided any anything anyhow whatever
    whichever however again open choice scratch aside negotiation unlearn unsent pull pulled
    reviewed blank debate nothing proposal strike struck choose lose drops goes decide decides
    ease unwind stale invalid unlimited unrestricted nicht mehr vergiss vergessen streichen
    aufgehoben hinfällig plus oublie oubliez olvida olvide ya annule annulé anula esquece
    esqueça dimentica più niet vergeet"""
)
_LEAVES_OPEN = re.compile(
    r"\bup to (?!date|now)|\bas (?:you|they|he|she|it) (?:like|please|wish|want|see|prefer|suit)|"
    r"\blet(?:ting)? go\b|\bgiven? up\b|\bonce more\b|\bhowever you\b",
    re.IGNORECASE,
)
_TAKES_BACK_SIGNS = (
    "\u4e0d\u518d",
    "\u5fd8",
    "\u53d6\u6d88",
    "\u4e0d\u7528",
    "\u3084\u3081",
    "\u5fd8\u308c",
)


class Lesson(NamedTuple):
    """What may be taken back: a note, or what tonight's proposals will become."""

    note_id: str
    active: bool
    claims: tuple[Claim, ...]
    speakers: frozenset[str]
    """The names of those who said it."""


def noted(dossiers: Iterable[Dossier]) -> list[Lesson]:
    """The notes in force or waiting."""
    return [
        Lesson(
            found.note.id,
            active=found.note.status is NoteStatus.ACTIVE,
            claims=found.claims,
            speakers=speakers(found.evidence),
        )
        for found in dossiers
        if found.note.status in ALIVE
    ]


def meant(
    proposal: Proposal, lessons: Iterable[Lesson], judgements: Mapping[str, Judgement]
) -> str:
    """The id of the note that is taken back; "" when none stands out.

    Who says "forget what I said about the dates" means something they said themselves: that is
    looked at first, and need not be so near.
    """
    near = [
        (_nearness(proposal.claim, lesson.claims, judgements), lesson)
        for lesson in lessons
        if _about_the_same(proposal.claim, lesson.claims[0])
    ]
    by = {name_of(item.person) for item in proposal.evidence}
    own = [(nearness, lesson) for nearness, lesson in near if by & lesson.speakers]
    return _outstanding(own, OWN_ENOUGH) or _outstanding(near, NEAR_ENOUGH)


def _outstanding(found: Iterable[tuple[float, Lesson]], least: float) -> str:
    near = [(nearness, lesson.active, lesson.note_id) for nearness, lesson in found]
    near.sort(reverse=True)
    if not near or near[0][0] < least:
        return ""
    rivals = [found for found in near[1:] if found[1] or not near[0][1]]
    if rivals and near[0][0] < STANDS_OUT * rivals[0][0]:
        return ""
    return near[0][2]


def _about_the_same(claim: Claim, other: Claim) -> bool:
    return comparable(claim, other) and same_facets(claim, other)


def _nearness(
    claim: Claim, wordings: Sequence[Claim], judgements: Mapping[str, Judgement]
) -> float:
    """How likely both are on one question, by the judged pairs and the words they share, 0..1."""
    judged = [
        found
        for other in wordings
        if (found := judgements.get(key_of(claim, other))) and not found.problem
    ]
    shares = [min(1.0, (j.same or 0.0) + (j.excludes or 0.0)) for j in judged if j.same is not None]
    said = content(claim.statement) - stems(" ".join(claim.about.values()))
    shared = said & frozenset().union(*(content(other.statement) for other in wordings))
    words = min(1.0, len(shared) / 3)
    return 0.5 * (fmean(shares) if shares else 0.0) + 0.5 * words


def speakers(evidence: Iterable[Evidence]) -> frozenset[str]:
    """Who speaks for it."""
    return frozenset(name_of(item.person) for item in evidence if item.weight > 0)


def pieces(proposal: Proposal) -> tuple[Evidence, ...]:
    """The evidence of a withdrawal, as evidence against what it takes back."""
    return tuple(item.model_copy(update={"weight": AGAINST}) for item in proposal.evidence)


def takes_back(text: str) -> bool:
    """True when there is a word in the text with which anything could be taken back, or a "no".

    Loose on purpose: it only keeps an engine from reading a withdrawal into mere thanks.
    """
    said = not _TAKES_BACK.isdisjoint(stems(text)) or negated(text)
    return (
        said or bool(_LEAVES_OPEN.search(text)) or any(sign in text for sign in _TAKES_BACK_SIGNS)
    )


def is_enough(evidence: Sequence[Evidence], people: int) -> bool:
    """Whether those who take a note back may: one who had said it, or as many as it needed."""
    withdrawers = {name_of(item.person) for item in evidence if _withdraws(item)}
    return bool(speakers(evidence) & withdrawers) or len(withdrawers) >= people


def withdrawn(evidence: Iterable[Evidence]) -> bool:
    """True when the last word on a note took it back."""
    pieces = list(evidence)
    against = [item.ts for item in pieces if _withdraws(item)]
    return bool(against) and max(against) >= _last_said(pieces, max(against))


def _last_said(pieces: Iterable[Evidence], default: datetime) -> datetime:
    said = [item.ts for item in pieces if item.weight > 0]
    return max(said, default=default)


def _withdraws(item: Evidence) -> bool:
    return item.weight == AGAINST and not item.vote and item.trust is Trust.HUMAN
