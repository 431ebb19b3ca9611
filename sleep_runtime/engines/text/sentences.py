"""Prose in sentences, and sentences in clauses."""

from __future__ import annotations

import re
from typing import NamedTuple

from sleep_runtime.engines.text.cues import endorses
from sleep_runtime.engines.text.lexicon import ALL_VERBS, PREPOSITIONS, word_set
from sleep_runtime.engines.text.words import words

_SENTENCE_END = re.compile(r"([.!?]+)(?:[\"'”)]*)\s+|\n+|;\s+")
_SHORTENED = re.compile(
    r"\b(?:e\.g|i\.e|vs|cf|viz|adj|incl|excl|prelim|consol|norm|ann|fig|figs|eq|sec|"
    r"ch|pp|mr|mrs|ms|dr|prof|st|q)$",
    re.IGNORECASE,
)
"""Shortened words that something always follows."""
_SOMETIMES_LAST = re.compile(
    r"\b(?:etc|approx|avg|est|mon|tues?|wed|thu|thurs?|fri|sat|sun|inc|ltd|co|corp|dept|resp|max|min|temp|tbl|col|cols|ref|refs|vol|op|ext|no|nos|p|"
    r"rev|ver|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)$",
    re.IGNORECASE,
)
"""Shortened words that may end a sentence: a capital after them begins the next one."""
_COUNTED = re.compile(r"\bnos?$", re.IGNORECASE)


def sentences(text: str) -> list[str]:
    """Sentences with their end mark, in order. Unusual abbreviations may split one in two."""
    found, start = [], 0
    for match in _SENTENCE_END.finditer(text):
        before, after = text[max(start, match.start() - 10) : match.start()], text[match.end() :]
        if match[1] == "." and "\n" not in match[0] and _abbreviated(before, after[:20]):
            continue
        found.append(text[start : match.end()].strip())
        start = match.end()
    found.append(text[start:].strip())
    return [sentence for sentence in found if sentence]


def _abbreviated(before: str, after: str) -> bool:
    if _SHORTENED.search(before):
        return True
    if _COUNTED.search(before):
        return after[:1].isdigit()
    return bool(_SOMETIMES_LAST.search(before)) and not _CAPITALISED.match(after)


_CAPITALISED = re.compile(r"[A-Z](?:[a-z]|\s|\Z)")


_JOINT = re.compile(
    r"\s*(?:,\s*|\s)(?:and then|and also|and|but|then|plus|so|also)\s+|\s+(?:—|\u2013|--|-)\s+|"
    r",\s+|\s*—\s*",
    re.IGNORECASE,
)
_CONDITIONAL = re.compile(
    r"^\W*(?:\w+,?\s+){0,3}?(?:if|when|whenever|unless|once|while|every ?time|each time|"
    r"any ?time)\b",
    re.IGNORECASE,
)
_NEGATED = re.compile(
    r"\b(?:don'?t|do not|never|avoid|stop|shouldn't|must not|without)\b", re.IGNORECASE
)
_LINKING = re.compile(r"\b(?:and|then|also|plus)\b", re.IGNORECASE)
_REMARK = re.compile(
    r"(?:this|that|it|these|those|they)(?: ones?)?\s+(?:is|are|was|were|has|have|had|does|do|did|"
    r"looks?|still|isn't|aren't|hasn't|goes|comes)\b(?! to\b)",
    re.IGNORECASE,
)
_VERBLESS = re.compile(
    r"(?:the|our|my|all|every)\s+(?:[\w-]+\s+){1,3}?(?:always|never|only)\s+[\w-]+", re.IGNORECASE
)
_LEADS = word_set("please always never don't also just then only kindly do not dont")
_NEW_SUBJECT = re.compile(
    r"(?:(?:i|we|they|you|our|my|the|all|every|each|it)\b(?:\s+[\w'\u2019/-]+){0,4}?\s+(?:should|"
    r"must|need|needs|"
    r"has to|have to|ought|prefer|prefers|like|want|wants|use|uses|always|never|is|are|go|goes|"
    r"runs?|shall)|(?:i|we)\s+[a-z']+\s+\w+|"
    r"[\w-]+\s+(?:should|must|needs to|has to|have to|ought to))\b",
    re.IGNORECASE,
)


class Piece(NamedTuple):
    """A clause of a sentence. ``aside``: nothing coordinates it with the clause before it."""

    text: str
    aside: bool = False


def clauses(sentence: str) -> list[Piece]:
    """The coordinated clauses of a sentence that each say something of their own.

    A clause is only cut off where the part before has a predicate and the part after begins like
    an instruction or a new subject, where a verb is left out that was just said, and before a
    remark on the thing at hand. A condition or a negation that could reach over the joint keeps
    the sentence whole: cutting there could turn its meaning round.
    """
    if _CONDITIONAL.match(sentence):
        return [Piece(sentence)]
    parts, start, aside = [], 0, False
    for joint in _JOINT.finditer(sentence):
        left, right = sentence[start : joint.start()], sentence[joint.end() :]
        if _separable(left, right, joint[0]):
            parts.append(Piece(left.strip(), aside))
            start, aside = joint.end(), not _LINKING.search(joint[0])
    parts.append(Piece(sentence[start:].strip(), aside))
    return [part for part in parts if part.text]


def _separable(left: str, right: str, joint: str) -> bool:
    if _REMARK.match(right) or endorses(right):
        return bool(left.strip())
    if _VERBLESS.match(right) and _LINKING.search(joint):
        return len(left.split()) > 1
    if not has_predicate(left):
        return False
    if _NEW_SUBJECT.match(right):
        return True
    lead, verb, follower = _opening(right)
    if verb not in ALL_VERBS or not follower or (follower in PREPOSITIONS and "," not in joint):
        return False
    listed = "," in joint and not _LINKING.search(joint)
    return bool(lead) or listed or not _NEGATED.search(left)


def _opening(text: str) -> tuple[str, str, str]:
    """The lead word (please, always, …) if any, the first word after it, and the next."""
    found = [word.lower().replace("\u2019", "'") for word in words(text[:80])][:6]
    lead = ""
    while found and found[0] in _LEADS:
        lead = found.pop(0)
    return lead, found[0] if found else "", found[1] if len(found) > 1 else ""


_PREDICATE = re.compile(
    r"\b(?:should|must|needs?|ha(?:s|ve) to|is|are|isn't|was|were|prefers?|likes?|wants?|shows?|"
    r"uses?|"
    r"always|never|goes|will|can|did|does|said|asked|thanks|thank|go|runs?)\b",
    re.IGNORECASE,
)


def has_predicate(text: str) -> bool:
    """True when the text has a verb of its own, as far as closed lists can tell."""
    if _PREDICATE.search(text):
        return True
    _, verb, _ = _opening(text)
    return verb in ALL_VERBS
