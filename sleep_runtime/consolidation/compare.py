"""Compare: how two claims stand to each other, before and after an engine is asked.

An engine answers one narrow question about two statements. What follows from facets, conditions
and slots (subject + aspect -> value) is decided here, by rule, and holds whatever the engine says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from sleep_runtime.consolidation.words import (
    content,
    mentions,
    normalise,
    numbers,
    one_value,
    stems,
)
from sleep_runtime.core.ids import canonical_json, digest
from sleep_runtime.core.observation import Claim
from sleep_runtime.core.proposal import ClaimPair, Judgement, Verdict


class Tie(StrEnum):
    """How two claims stand to each other, all rules applied."""

    SAME = "same"
    EXCLUDES = "excludes"
    SCOPED = "scoped"
    """They exclude each other, and each holds in its own case."""
    UNSURE = "unsure"
    """They answer one question differently and nobody could say which of the two it is."""
    APART = "apart"


SURE = 0.9
"""From here on the store's statistics say that values named differently are one."""


class Slot(NamedTuple):
    """The question a claim answers. Two active notes never give one slot two values."""

    about: tuple[tuple[str, str], ...]
    subject: str
    aspect: str
    applies_when: str


def slot(claim: Claim) -> Slot | None:
    """The claim's slot, or None when it names neither subject nor aspect."""
    subject, aspect = normalise(claim.subject), normalise(claim.aspect)
    if not (subject or aspect):
        return None
    about = tuple(sorted((key, normalise(value)) for key, value in claim.about.items()))
    return Slot(about, subject, aspect, normalise(claim.applies_when))


def clash(left: Claim, right: Claim) -> bool:
    """True when both fill one slot with different values: they can't both be active."""
    values = normalise(left.value), normalise(right.value)
    if not all(values) or values[0] == values[1]:
        return False
    question = slot(left)
    return question is not None and question == slot(right)


def comparable(left: Claim, right: Claim) -> bool:
    """False when a facet both name has different values: unrelated by construction."""
    if left.about == right.about:
        return True
    shared = left.about.keys() & right.about.keys()
    return all(normalise(left.about[key]) == normalise(right.about[key]) for key in shared)


def identical(left: Claim, right: Claim) -> bool:
    """True when both say the same in the same words, of the same thing, in the same case."""
    return (
        normalise(left.statement) == normalise(right.statement)
        and comparable(left, right)
        and same_facets(left, right)
        and normalise(left.applies_when) == normalise(right.applies_when)
        and not clash(left, right)
    )


def same_facets(left: Claim, right: Claim) -> bool:
    """True when both are about the same facets, said as a facet or in the statement's words."""
    return comparable(left, right) and _implied(left, right) and _implied(right, left)


def one_subject(left: Claim, right: Claim) -> bool:
    """False when each is about something the other is not: then they can't be one lesson."""
    ours, theirs = left.about.items(), right.about.items()
    return ours <= theirs or theirs <= ours or same_facets(left, right)


def _implied(claim: Claim, other: Claim) -> bool:
    said = f"{other.subject} {other.statement}"
    return all(k in other.about or mentions(said, v) for k, v in claim.about.items())


def same_topic(ours: Iterable[Claim], theirs: Iterable[Claim]) -> bool:
    """True when two lessons, each in all its wordings, answer about the same subject.

    Only then may one take the other's place: their facets agree, and some wording of each names
    the subject of the other, or shares with it the words that carry it.
    """
    others = list(theirs)
    return any(
        same_facets(one, other) and (_named_alike(one, other) or _shared(one, other))
        for one in ours
        for other in others
    )


def _named_alike(left: Claim, right: Claim) -> bool:
    """True when the words of one subject are among those of the other, and the aspects agree."""
    return (
        bool(left.subject and right.subject)
        and _agree(left.subject, right.subject)
        and _agree(left.aspect, right.aspect)
    )


def _shared(left: Claim, right: Claim) -> bool:
    """True when both hold a word that carries meaning and is the value of neither."""
    aside = [*left.about.values(), *right.about.values(), left.applies_when, right.applies_when]
    facets = stems(" ".join(aside))
    values = stems(left.value) | stems(right.value)
    both = content(left.statement) & content(right.statement)
    return bool(both - facets - values)


def _agree(left: str, right: str) -> bool:
    ours, theirs = stems(left), stems(right)
    if not ours or not theirs:
        return ours == theirs
    return ours <= theirs or theirs <= ours


def name_of(claim: Claim) -> str:
    """A short name of what is claimed: equal claims have equal names, whatever they correct."""
    known = _NAMED.get(id(claim))
    if known is not None and known[0] is claim:
        return known[1]
    if len(_NAMED) >= _MOST_NAMED:
        _NAMED.clear()
    name = _name_of(claim)
    _NAMED[id(claim)] = claim, name
    return name


# Claims are frozen and held together with their names: an id in here is in use.
_NAMED: dict[int, tuple[Claim, str]] = {}
_MOST_NAMED = 16_384


def _name_of(claim: Claim) -> str:
    return _name(
        claim.statement,
        claim.kind.value,
        claim.subject,
        claim.aspect,
        claim.value,
        claim.applies_when,
        tuple(sorted(claim.about.items())),
    )


@lru_cache(maxsize=16_384)
def _name(*parts: str | tuple[tuple[str, str], ...]) -> str:
    return digest(canonical_json(parts))[:24]


def pair_of(left: Claim, right: Claim) -> ClaimPair:
    """The pair to ask an engine about: equal whichever side comes first, and on any night."""
    if name_of(left) > name_of(right):
        left, right = right, left
    return ClaimPair(key=key_of(left, right), left=left, right=right)


def key_of(left: Claim, right: Claim) -> str:
    """The key of the pair, whichever side comes first."""
    ours, theirs = name_of(left), name_of(right)
    return f"{ours}:{theirs}" if ours <= theirs else f"{theirs}:{ours}"


def names_of(pair_key: str) -> tuple[str, str]:
    """The names of the two claims of a pair."""
    first, _, second = pair_key.partition(":")
    return first, second


_UNKNOWN = Judgement()


def tie(left: Claim, right: Claim, judgements: Mapping[str, Judgement]) -> Tie:
    """How the two stand to each other. Without a usable judgement the answer is *keep apart*."""
    if not comparable(left, right):
        return Tie.APART
    if identical(left, right):
        return Tie.SAME
    judgement = judgements.get(key_of(left, right), _UNKNOWN)
    verdict = Verdict.UNRELATED if judgement.problem else judgement.verdict
    if verdict is Verdict.SAME:
        sure = judgement.same is not None and judgement.same >= SURE
        return Tie.UNSURE if not sure and _at_odds(left, right) else _same(left, right)
    if verdict is Verdict.EXCLUDES:
        return Tie.EXCLUDES if _one_case(left, right) else Tie.SCOPED
    return Tie.UNSURE if clash(left, right) else Tie.APART


def _at_odds(left: Claim, right: Claim) -> bool:
    """True when values or numbers differ, so that no engine may call the two the same.

    "adj." and "adjusted EBITDA" may be one value named twice; "100 MB" and "200 MB" are two.
    """
    ours, theirs = numbers(left.statement), numbers(right.statement)
    if not (ours <= theirs or theirs <= ours):
        return True
    return clash(left, right) and not one_value(left.value, right.value)


def _same(left: Claim, right: Claim) -> Tie:
    """Said to be the same: so they are, unless each names a condition or facet of its own."""
    if (
        left.applies_when
        and right.applies_when
        and not _agree(left.applies_when, right.applies_when)
    ):
        return Tie.APART
    return Tie.SAME if one_subject(left, right) else Tie.APART


def _one_case(left: Claim, right: Claim) -> bool:
    return same_facets(left, right) and stems(left.applies_when) == stems(right.applies_when)
