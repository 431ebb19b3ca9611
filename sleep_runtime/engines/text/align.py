"""How two claims lie to each other: same, exclude each other, or unrelated.

Decided on words in their places, not on nearness: a contradiction is often nearer in embedding
space than a paraphrase. A merge needs every word that carries a choice to agree; an exclusion
needs one frame and two answers to it. Everything in between is kept apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

from sleep_runtime.core.observation import Claim
from sleep_runtime.core.proposal import Judgement, Verdict
from sleep_runtime.engines.text import slots
from sleep_runtime.engines.text.lexicon import (
    ADDITIVE_VERBS,
    ANTONYMS,
    ASPECT_OF,
    EXCLUSION_VERBS,
    FUNCTIONAL_PREPOSITIONS,
    SAYING_VERBS,
    SYNONYMS,
    word_set,
)
from sleep_runtime.engines.text.statement import shorten, without_place
from sleep_runtime.engines.text.words import (
    FRAME,
    abbreviations,
    content,
    decisive_terms,
    initials_match,
    is_number,
    stem,
)

SURE_COSINE = 0.80
"""Nearness that may settle a case whose words already agree but for the frame."""

_EXCLUDING = frozenset(stem(word) for word in EXCLUSION_VERBS) | {"leav"}
_SAYING = frozenset(stem(SYNONYMS.get(word, word)) for word in SAYING_VERBS)
_INCLUDING = frozenset(stem(word) for word in ("include", "enable", "add", "allow", "offer"))
_VALUES = {stem(SYNONYMS.get(word, word)): aspect for word, aspect in ASPECT_OF.items()}
_ADDITIVE = frozenset(stem(word) for word in ADDITIVE_VERBS)
_OPPOSITES = {
    (stem(one), stem(other)) for pair in ANTONYMS for one in pair for other in pair - {one}
}
_DIRECTED = word_set("before after above below over under to from into onto behind")
Cosine = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Reading:
    """A claim as the comparison sees it: canonical tokens by their role."""

    tokens: frozenset[str]
    order: tuple[str, ...]
    subject: frozenset[str]
    value: frozenset[str]
    rejected: frozenset[str]
    when: frozenset[str]
    decisive: frozenset[str]
    negated: bool
    aspect: str
    verb: str
    link: str
    shortened: frozenset[str]


def read(claim: Claim) -> Reading:
    """The reading of a claim: its own slots where it has them, else those of its statement."""
    about = tuple(sorted(claim.about.values()))
    return _read(claim.statement, claim.subject, claim.value, claim.applies_when, about)


@lru_cache(maxsize=8192)
def _read(
    statement: str, subject: str, value: str, applies_when: str, about: tuple[str, ...]
) -> Reading:
    text = shorten(without_place(_unprefixed(statement, about)))
    parsed = slots.parse(text)
    facets = frozenset(token for each in about for token in content(each))
    idle = facets | FRAME | _EXCLUDING
    core = tuple(t for t in content(parsed.core) if t not in idle)
    own_value = frozenset(content(value or parsed.value)) - facets - FRAME
    return Reading(
        tokens=frozenset(core),
        order=core,
        subject=frozenset(content(subject or parsed.subject)) - facets,
        value=own_value,
        rejected=frozenset(content(parsed.rejected)) - facets - FRAME,
        when=frozenset(content(applies_when or parsed.when)) - facets,
        decisive=decisive_terms(parsed.core) - facets,
        negated=parsed.negated,
        aspect=slots.aspect_of(value or parsed.value),
        verb=stem(parsed.verb),
        link=parsed.link,
        shortened=abbreviations(statement) & frozenset(core),
    )


def _unprefixed(statement: str, about: tuple[str, ...]) -> str:
    for value in about:
        if statement.lower().startswith(f"{value.lower()}: "):
            return statement[len(value) + 2 :]
    return statement


def judge(left: Claim, right: Claim, cosine: Cosine) -> Judgement:
    """The judgement of one pair. ``cosine`` is only called where words leave it open."""
    gate = facet_gate(left, right)
    if gate:
        return _apart(gate, 0.95)
    a, b = read(left), read(right)
    a, b = _spelled_out(a, b), _spelled_out(b, a)
    a, b = _initials_unified(a, b), _initials_unified(b, a)
    a, b = _condition_folded(a, b), _condition_folded(b, a)
    if not _alike(a.when, b.when):
        return _apart("they hold under different conditions", 0.8)
    found = _relation(a, b, cosine)
    if found.verdict is Verdict.EXCLUDES and left.about != right.about:
        return _apart("one is general, the other for one case: both can hold", 0.7)
    return found


def facet_gate(left: Claim, right: Claim) -> str:
    """Why two claims are about different things by their facets; "" where they are not."""
    for key in sorted(left.about.keys() & right.about.keys()):
        if left.about[key].casefold().strip() != right.about[key].casefold().strip():
            return f"they are about different {key}s"
    return ""


def _relation(a: Reading, b: Reading, cosine: Cosine) -> Judgement:
    common, only_a, only_b = _split(a, b)
    if reordered(a, b) and not only_a and not only_b:
        return _excludes("the same words the other way round", 0.7)
    if not common and not (a.rejected & b.tokens or b.rejected & a.tokens):
        return _apart("they share no content", 0.9)
    rejecting = _rejects(a, b, only_a, only_b, common)
    if rejecting is not None:
        return rejecting
    if _forbids_rejected(a, b) or _forbids_rejected(b, a):
        return _agree("one forbids what the other rejects", 0.7)
    if a.negated != b.negated:
        return _turned(common, only_a, only_b)
    swap = _swapped(a, b, common, only_a, only_b)
    if swap is not None:
        return swap
    return _same(a, b, common, only_a, only_b, cosine)


def _split(a: Reading, b: Reading) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    common = a.tokens & b.tokens
    only_a, only_b = set(a.tokens - common), set(b.tokens - common)
    paired = set()
    for one in sorted(only_a):
        twin = next((other for other in sorted(only_b) if _spelled_alike(one, other)), None)
        if twin is not None:
            only_b.discard(twin)
            paired.add(one)
    only_a -= paired
    if not (a.verb in only_a and b.verb in only_b):
        only_a, only_b = only_a - ({a.verb} & _SAYING), only_b - ({b.verb} & _SAYING)
    return common | paired, frozenset(only_a), frozenset(only_b)


def _spelled_alike(one: str, other: str) -> bool:
    """Inflections the stemmer missed: one word begins the other, nearly as long."""
    if one[:1] != other[:1] or min(len(one), len(other)) < 5 or is_number(one):
        return False
    short, long = sorted((one, other), key=len)
    return long.startswith(short) and len(long) - len(short) <= 2


def _rejects(
    a: Reading, b: Reading, only_a: frozenset[str], only_b: frozenset[str], common: frozenset[str]
) -> Judgement | None:
    """ "X, not Y" beside a claim that says Y."""
    for one, other, other_only in ((a, b, only_b), (b, a, only_a)):
        chosen = one.rejected & other_only
        if not chosen or other.negated or other.rejected & one.rejected:
            continue
        framed = bool(common) or other.tokens <= one.rejected
        if framed and other_only <= one.rejected | one.tokens:
            return _excludes(f"one says {quoted(chosen)}, which the other rejects", 0.9)
    return None


def _forbids_rejected(one: Reading, other: Reading) -> bool:
    """ "never X" beside "Y, not X"."""
    forbidden = one.tokens - other.tokens
    return (
        one.negated
        and not other.negated
        and bool(forbidden)
        and forbidden <= other.rejected
        and not one.rejected
    )


def _turned(common: frozenset[str], only_a: frozenset[str], only_b: frozenset[str]) -> Judgement:
    """One forbids; the other does not."""
    only_a, only_b = only_a - _INCLUDING, only_b - _INCLUDING
    if common and _overlap(common, only_a, only_b) >= 0.6 and not (only_a and only_b):
        return _excludes("one forbids what the other asks for", 0.85)
    return _apart("one forbids, the other asks for something else", 0.6)


def _swapped(
    a: Reading, b: Reading, common: frozenset[str], only_a: frozenset[str], only_b: frozenset[str]
) -> Judgement | None:
    """One frame, two answers."""
    if not only_a or not only_b:
        return None
    if (
        opposed(only_a, only_b)
        and _overlap(common, only_a - _picked(only_a), only_b - _picked(only_b)) >= 0.5
    ):
        return _excludes(f"{quoted(only_a)} and {quoted(only_b)} cannot both hold", 0.85)
    if not _one_place(a, b, common, only_a, only_b):
        return None
    reason = f"one place, two answers: {quoted(only_a)} and {quoted(only_b)}"
    return _excludes(reason, 0.8 if a.aspect and a.aspect == b.aspect else 0.65)


def _picked(only: frozenset[str]) -> frozenset[str]:
    return frozenset(word for word in only if any(word == pair[0] for pair in _OPPOSITES))


def opposed(only_a: frozenset[str], only_b: frozenset[str]) -> bool:
    """True when one side alone holds a word and the other its opposite."""
    return any((one, other) in _OPPOSITES for one in only_a for other in only_b)


def _one_place(
    a: Reading, b: Reading, common: frozenset[str], only_a: frozenset[str], only_b: frozenset[str]
) -> bool:
    """True when what differs is the answer, and all of the frame (subject, verb, link) agrees."""
    subject = _joined_subject(a, b)
    if not subject or not subject <= common | _shared_values(a, b):
        return False
    if not (only_a <= a.value and only_b <= b.value):
        return False
    if a.aspect != b.aspect:
        return False
    if a.aspect:
        return True
    additive = {a.verb, b.verb} & _ADDITIVE or not _functional(a, b)
    return not additive and (a.verb == b.verb or not a.verb or not b.verb or _framed(a, b))


def _framed(a: Reading, b: Reading) -> bool:
    return a.verb in FRAME | _SAYING and b.verb in FRAME | _SAYING


def _functional(a: Reading, b: Reading) -> bool:
    links = {link for link in (a.link, b.link) if link not in {"", "be", "for"}}
    return links <= FUNCTIONAL_PREPOSITIONS


def _shared_values(a: Reading, b: Reading) -> frozenset[str]:
    return a.tokens & b.tokens


def _joined_subject(a: Reading, b: Reading) -> frozenset[str]:
    """The subject both are about: equal, or one a plain part of the other."""
    if a.subject == b.subject or (a.subject < b.subject and a.subject):
        return a.subject
    return b.subject if b.subject and b.subject < a.subject else frozenset()


def _same(
    a: Reading,
    b: Reading,
    common: frozenset[str],
    only_a: frozenset[str],
    only_b: frozenset[str],
    cosine: Cosine,
) -> Judgement:
    if (
        a.rejected
        and b.rejected
        and not (a.rejected & b.rejected)
        and _choices(a.rejected)
        and _choices(b.rejected)
    ):
        return _apart("they reject different things", 0.6)
    left_over = only_a | only_b
    if any(is_number(token) or token in _VALUES for token in left_over):
        return _apart(f"a value differs: {quoted(left_over)}", 0.75)
    if left_over & (a.decisive | b.decisive):
        return _apart(
            f"a name or figure differs: {quoted(left_over & (a.decisive | b.decisive))}", 0.75
        )
    if reordered(a, b):
        return _apart("the same words the other way round", 0.7)
    overlap = _overlap(common, only_a, only_b)
    if not left_over:
        return _agree("the same words where it counts", 0.95)
    if only_a and only_b:
        return _two_sided(a, b, common, only_a, only_b, cosine)
    if overlap >= 0.6 and len(common) >= 2 and _answer_shared(a, b, common):
        return _agree(f"one adds {quoted(left_over)} and changes nothing", 0.6 + 0.3 * overlap)
    if overlap >= 0.5 and len(common) >= 2 and cosine() >= SURE_COSINE:
        return _agree(f"one adds {quoted(left_over)}; their meaning is near", 0.7)
    return _apart(f"one says more: {quoted(left_over)}", 0.5)


def _choices(rejected: frozenset[str]) -> bool:
    return any(token in _VALUES for token in rejected)


def _answer_shared(a: Reading, b: Reading, common: frozenset[str]) -> bool:
    return bool((a.value or b.value) & common) or bool(a.value & b.value)


def _two_sided(
    a: Reading,
    b: Reading,
    common: frozenset[str],
    only_a: frozenset[str],
    only_b: frozenset[str],
    cosine: Cosine,
) -> Judgement:
    """Each says a word the other does not: only a verb or a filler of the frame may differ."""
    inside = only_a & a.value or only_b & b.value or only_a & a.subject or only_b & b.subject
    if inside or len(common) < 2 or len(only_a) > 1 or len(only_b) > 1:
        return _apart(f"each has words of its own: {quoted(only_a)}; {quoted(only_b)}", 0.5)
    if cosine() >= SURE_COSINE:
        return _agree("they differ in the verb only and are near in meaning", 0.65)
    return _apart("the verb differs", 0.4)


def reordered(a: Reading, b: Reading) -> bool:
    """True when direction decides: "A before B" and "B before A", "EUR to USD" and back."""
    return bool(a.link == b.link and a.link in _DIRECTED and a.value & b.subject - b.value)


def _initials_unified(reading: Reading, other: Reading) -> Reading:
    """``reading`` with a run of words as the initialism ``other`` uses (pull request: pr)."""
    shorts = [t for t in sorted(other.tokens - reading.tokens) if 2 <= len(t) <= 5 and t.isalpha()]
    first = {token[:1] for token in reading.order} if shorts else set()
    for short in shorts:
        size = len(short)
        if short[0] not in first:
            continue
        for start in range(len(reading.order) - size + 1):
            run = reading.order[start : start + size]
            if initials_match(short, run):
                return _renamed(reading, frozenset(run), short)
    return reading


def _renamed(reading: Reading, run: frozenset[str], short: str) -> Reading:
    def renamed(part: frozenset[str]) -> frozenset[str]:
        return (part - run) | {short} if part & run else part

    return replace(
        reading,
        tokens=renamed(reading.tokens),
        order=(*(token for token in reading.order if token not in run), short),
        subject=renamed(reading.subject),
        value=renamed(reading.value),
        rejected=renamed(reading.rejected),
        decisive=renamed(reading.decisive),
    )


def _spelled_out(reading: Reading, other: Reading) -> Reading:
    """``reading`` with its shortened words ("adj.") as the one word of ``other`` they begin."""
    for short in sorted(reading.shortened - other.tokens):
        said = other.tokens | other.rejected
        whole = [word for word in said if word.startswith(short) and not is_number(word)]
        if len(whole) == 1:
            reading = _renamed(reading, frozenset({short}), whole[0])
    return reading


def _condition_folded(reading: Reading, other: Reading) -> Reading:
    """``reading`` with its condition among its words, where that makes it say what ``other`` does.

    "When you cite a preprint, give its version" is "cite preprints with their version".
    """
    whole = reading.tokens | reading.when
    if whole - _INCLUDING != other.tokens - _INCLUDING:
        return reading
    if not reading.when or other.when or reading.negated != other.negated:
        return reading
    return replace(
        reading, tokens=whole, order=(*reading.order, *sorted(reading.when)), when=frozenset()
    )


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    if not one and not other:
        return True
    return len(one & other) / len(one | other) >= 0.75


def _overlap(common: frozenset[str], only_a: frozenset[str], only_b: frozenset[str]) -> float:
    total = len(common) + len(only_a) + len(only_b)
    return len(common) / total if total else 0.0


def quoted(tokens: frozenset[str]) -> str:
    """The first of some tokens, for a reason."""
    return ", ".join(sorted(tokens)[:6])


def _agree(reason: str, score: float) -> Judgement:
    return Judgement(verdict=Verdict.SAME, reason=reason, score=round(score, 3))


def _excludes(reason: str, score: float) -> Judgement:
    return Judgement(verdict=Verdict.EXCLUDES, reason=reason, score=score)


def _apart(reason: str, score: float) -> Judgement:
    return Judgement(verdict=Verdict.UNRELATED, reason=reason, score=score)
