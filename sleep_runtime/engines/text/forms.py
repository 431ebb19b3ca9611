"""Forms: how a clause says what to do, if it says so at all."""

from __future__ import annotations

import re
from enum import Enum
from itertools import pairwise

from sleep_runtime.engines.text import slots
from sleep_runtime.engines.text.lexicon import (
    ALL_VERBS,
    FUNCTION_WORDS,
    POLICY_VERBS,
    PREPOSITIONS,
    RULE_ONLY_VERBS,
    TASK_VERBS,
    word_set,
)
from sleep_runtime.engines.text.statement import names
from sleep_runtime.engines.text.words import content, words


class Form(Enum):
    """How a clause says what to do."""

    IMPERATIVE = "an instruction"
    TASK = "a task"
    MODAL = "a should"
    NORM = "a habit or wish"
    CONTRAST = "one thing rather than another"
    FACT = "a statement of fact"
    FRAGMENT = "a bare correction"


_MODAL = re.compile(
    r"\A(?P<subject>[^,;:?]{1,80}?)\s+(?:should|must|shall|needs? to|ha(?:s|ve) to|ought to|"
    r"can only|shouldn'?t|"
    r"mustn'?t|(?:is|are) to)\s+(?P<rest>(?!have been|be (?:fine|ok|okay|good|great|ready|able|"
    r"done|there|enough|easy|possible|interesting|back)\b)\w.*)\Z",
    re.IGNORECASE | re.DOTALL,
)
_NORM = re.compile(
    r"(?:\A|[,:]\s*|\A(?:as a rule|in general|by default|from now on|going forward|in future|"
    r"generally),?\s+|\b(?:for|in|on|at|with) [\w' -]{1,40}?,?\s+)(?P<who>[Ii]|[Ww]e|[Oo]ur team|"
    r"[Tt]he (?:\w+ ){0,2}?(?:team|client|customer|account|company|board|boss|cfo|ceo|manager|"
    r"group|department|desk)|[Oo]ur (?:\w+ ){0,2}?\w+s(?= always| never)|"
    r"(?:[Mm]y|[Oo]ur) (?:\w+ ){0,2}?(?:team|client|customer|company|"
    r"board|boss|manager|cfo|group)|[A-Z][\w.&-]+)(?:'d| would)?\s+"
    r"(?:(?:always|never|usually|generally|only|really|strongly|normally|typically|also|now|"
    r"rather|all|do|do not|don'?t|much|definitely)\s+){0,3}"
    r"(?P<verb>prefers?|likes?|wants?|uses?|shows?|reports?|expects?|insists? on|requires?|"
    r"needs?|keeps?|follows?|writes?|names?|formats?|"
    r"quotes?|presents?|calls?|rounds?|sorts?|signs?|runs?|avoids?|hates?|dislikes?|books?|"
    r"measures?|counts?|bills?|"
    r"spells?|sees?|reads?|sends?|does|do|goes|go|puts?|plots?|deploys?|release|ships?|tags?|"
    r"label|test|lint|squash|rebase|merge|treat|escalate|express|"
    r"(?<=always )[a-z]+|(?<=never )[a-z]+|(?<=usually )[a-z]+|(?<=don't )[a-z]+|asked for|"
    r"asks? for|standardi[sz]ed? on|has|have|excludes?|includes?|leave|skip|store|log|pin|route|"
    r"assign|close|price|discount|invoice)\s+(?P<rest>\S.*)\Z",
    re.DOTALL,
)
_WISH = re.compile(r"(?:prefer|like|hate|dislike|want|need|rather|expect|insist)", re.IGNORECASE)
_RATHER = re.compile(r"\A(?:i|we)(?:'d| would) (?:rather|prefer)\b", re.IGNORECASE)
_FACT = re.compile(
    r"\A(?P<subject>(?!(?:it|this|that|they|you|he|she|there|i|we|"
    r"what)\b)\w[^,;:?]{1,60}?)\s+(?:is|are|ends?|"
    r"starts?|begins?|runs?|goes|go|lives?|means?|stands? for|"
    r"(?:is|are)n'?t|uses?|closes?|reports?|counts? as)\s+(?P<rest>\S.*)\Z",
    re.DOTALL,
)
_LABELLED = re.compile(
    r"\A[^,;:?]{2,40}:\s+\S+.*\Z|\A(?:for|in|on) [^,;:?]{2,40}[,:]\s*\S.*\Z",
    re.DOTALL | re.IGNORECASE,
)
_STORY = re.compile(
    r"\b(?:was|were|did|had|has been|have been|got|went|looks?|seems?)\b", re.IGNORECASE
)
_LEADS = word_set("always never don't do not please also just only then to rather")
_BARE_PRONOUN = word_set(
    """it this that these those they he she you there here them one what which i who
    something anything everything nothing"""
)
_POINTING = word_set("this that these those")
_DEICTIC = re.compile(
    r"\b(?:(?:this|that)\b(?! (?:repo|repository|project|team|account|client|customer|company|"
    r"codebase|"
    r"org|firm|region|department|group|office|desk)\b)|these|those|it|them|here|the above|"
    r"the (?:typo|error|bug|fix|failure|"
    r"failing \w+|attached|attachment|"
    r"previous|same|other|rest|current|new one|old one|(?:first|second|third|last|next) (?:one|"
    r"point|item|slide|bullet|paragraph|chart|commit))|"
    r"(?:page|slide|line|row|step|item|option|section|finding|chunk|phase|figure|table|tab|cell|"
    r"column|ticket|issue|pr|version|point|question|bullet|chart|commit) #?(?:\d{1,6}[a-z]?|"
    r"(?-i:[A-Z]))\b|#\d+|"
    r"(?:q[1-4]|fy)[ -]?\d{2,4})\b|#\d+",
    re.IGNORECASE,
)
_GENERIC = re.compile(
    r"\b(?:all|any|every|each|always|never|anything|everything|everywhere|whenever|when|before|"
    r"after|unless|by default|no|only|"
    r"per|at all|in general|instead of|rather than)\b",
    re.IGNORECASE,
)
_DETERMINED = re.compile(
    r"\A(?:the|this|that|these|those|it|a|an|your|its|option|what|how|where|his|her|their|to)\b",
    re.IGNORECASE,
)


def form_of(
    text: str, about: dict[str, str] | None, *, bare: bool = False, lasting: bool = False
) -> Form | None:
    """How the shortened clause says what to do, or None when it does not."""
    if not 2 <= len(text.split()) <= 80:
        return None
    modal = _MODAL.match(text)
    if modal is not None and _is_plain(modal["subject"]):
        return Form.MODAL
    imperative = _imperative(text)
    if imperative is not None:
        return imperative
    if modal is not None:
        return Form.MODAL if _named(modal["subject"]) else None
    norm = _NORM.search(text)
    if norm is not None and _norm_holds(norm):
        return Form.NORM
    parsed = slots.parse(text)
    if parsed.rejected and parsed.value and not _told(text):
        return Form.CONTRAST
    return _declared(text, about, bare=bare, lasting=lasting)


def _declared(text: str, about: dict[str, str] | None, *, bare: bool, lasting: bool) -> Form | None:
    if about is None and not lasting:
        return None
    fact = _FACT.match(_ADJUNCT.sub("", text))
    if fact is not None and _named(fact["subject"]) and not _DEICTIC.search(fact["subject"]):
        known = bare or lasting or text.lower().startswith("our ") or names_facet(text, about or {})
        return Form.FACT if known else None
    if (
        bare
        and not (_told(text) or _tells(text))
        and not _STORY.search(text)
        and (_LABELLED.match(text) or len(content(text)) >= 2)
    ):
        return Form.FRAGMENT
    return None


def topic_of(text: str) -> str:
    """What a statement of fact is about, as said; "" where it is none or only a pronoun."""
    fact = _FACT.match(text)
    known = fact is not None and _named(fact["subject"]) and not _DEICTIC.search(fact["subject"])
    return fact["subject"] if fact is not None and known else ""


def _imperative(text: str) -> Form | None:
    found = _after_adjuncts(text)
    led = False
    while found and found[0] in _LEADS:
        led = led or found[0] in {"always", "never", "don't", "not", "only"}
        found = found[1:]
    if not found or (len(found) < 2 and not led):
        return None
    verb = found[0]
    if verb in {"avoid", "stop", "refrain"}:
        return Form.IMPERATIVE
    follower = found[1] if len(found) > 1 else ""
    if follower in _AFTER_NOUN or verb in FUNCTION_WORDS:
        return None
    if follower in {"me", "us"}:
        return Form.TASK
    if verb not in ALL_VERBS:
        if led:
            return Form.IMPERATIVE
        return Form.TASK if slots.opens_like_a_verb(verb, follower) else None
    if verb in RULE_ONLY_VERBS or led:
        return Form.IMPERATIVE
    return Form.TASK if verb in TASK_VERBS else Form.IMPERATIVE


_AFTER_NOUN = word_set(
    """is are was were should must has have will can looks look seems does did works went
    goes fails failed"""
)
_ADJUNCT = re.compile(
    r"\A(?:(?:from|going|moving|in|for|as|by|on|at|when|whenever|if|unless|once|while|before|"
    r"this|after|every|each|just|only|with|until|during|next|instead|without|rather|not|today|"
    r"always)\b[^,:—\u2013]{0,80}?[,:—\u2013]\s*)(?=\S)",
    re.IGNORECASE,
)
_SOFT_ADJUNCT = re.compile(
    r"\A(?:from (?:now|here|today|this point) on(?:wards?)?|going forward|moving forward|"
    r"by default|in (?:the )?future|in general|as a rule|every ?time|next time|"
    r"(?:just |only )?for (?:now|this|that|the|today|all|every)(?:'s)? \w+(?: only)?|"
    r"(?:just )?this (?:time|once)|for today|for now|for once|(?:in|on|for|with) (?:this|that|"
    r"the) \w+)\s+(?=\S)",
    re.IGNORECASE,
)


def _after_adjuncts(text: str) -> list[str]:
    rest = text
    for _ in range(3):
        match = _ADJUNCT.match(rest) or _SOFT_ADJUNCT.match(rest)
        if match is None:
            break
        rest = rest[match.end() :]
    return [word.lower() for word in words(rest[:160])]


def _is_plain(subject: str) -> bool:
    """A short noun group: "commit messages", not "use charts for things that"."""
    found = [word.lower() for word in words(subject)]
    inner = set(found[1:]) & (FUNCTION_WORDS | PREPOSITIONS)
    return 0 < len(found) <= 4 and not inner and not _bare_pronoun(found) and found[0] not in _LEADS


def _named(subject: str) -> bool:
    found = [word.lower() for word in words(subject)]
    return bool(found) and not _bare_pronoun(found) and len(found) <= 9


def _bare_pronoun(found: list[str]) -> bool:
    """True for "this", not for "these figures"."""
    return found[0] in _BARE_PRONOUN - (_POINTING if len(found) > 1 else frozenset())


_VAGUE_VERBS = word_set("has have does do go goes see sees read reads")


def _norm_holds(match: re.Match[str]) -> bool:
    who, verb, rest = match["who"].lower(), match["verb"].lower(), match["rest"]
    if verb in _VAGUE_VERBS and who in {"i", "we"}:
        return bool(_RATHER.match(match[0]))
    if who == "i" and verb in {"want", "need", "like"} and _DETERMINED.match(rest):
        return False
    if who == "we" and verb in {"want", "need"} and rest.lower().startswith("to "):
        return False
    return _named(rest) or who != "i"


def _told(text: str) -> bool:
    """A story or an opinion about someone rather than a rule: begins with a bare pronoun."""
    first = words(text[:40])
    return bool(first) and first[0].lower() in _BARE_PRONOUN


_DETERMINER = word_set("the a an its our their his her my your this that no any it them us")


def _tells(text: str) -> bool:
    """A sentence with a verb in the third person: "the annual view hides the season"."""
    found = [word.lower() for word in words(text)]
    return any(
        word in {"has", "does"} or (word.endswith("s") and follower in _DETERMINER)
        for word, follower in pairwise(found[1:])
    )


def names_facet(text: str, about: dict[str, str]) -> bool:
    """True when the text names a value of its event's facets."""
    return any(names(text.lower(), value) for value in about.values())


def is_way(text: str) -> bool:
    """True when a task verb tells a way of doing: for things of a kind, or a verb of rules too."""
    return bool(_GENERIC.search(text)) or slots.parse(text).verb in POLICY_VERBS


def answers(text: str) -> bool:
    """True when an instruction says how, not only what: "show it" is done and over."""
    parsed = slots.parse(text)
    if parsed.rejected or parsed.aspect or parsed.negated:
        return True
    how = bool(parsed.value) and parsed.value != parsed.subject
    return how and (bool(parsed.link) or parsed.verb not in {"run", "show", "set", "put"})


def is_wish(text: str) -> bool:
    """True for a lasting wish: "I prefer …", "the client wants …"."""
    norm = _NORM.search(text)
    if norm is None:
        return False
    lasting = (
        norm["verb"].lower().startswith(("prefer", "like", "hate", "dislike", "expect", "insist"))
    )
    other = norm["who"].lower() not in {"i", "we"} and bool(_WISH.match(norm["verb"]))
    return lasting or other or bool(_RATHER.match(text))


def is_generic(text: str) -> bool:
    """True when a *should* speaks of things of a kind: "charts should …", "every table must …"."""
    match = _MODAL.match(text)
    if match is None:
        return False
    found = [word.lower() for word in words(match["subject"])]
    if found[0] in {"all", "every", "each", "any", "our"}:
        return True
    return found[0] not in {"the", "a", "an", "we", "i", "you"} and found[-1].endswith("s")


def picks_one(text: str) -> bool:
    """True for "the 2026 one": one of several things at hand."""
    return bool(_PICKED.search(text))


_PICKED = re.compile(r"\bthe (?:[\w-]+ )?ones?\b", re.IGNORECASE)


def is_specific(text: str) -> bool:
    """True when the text points at something at hand: "this", "page 3", "the typo"."""
    return bool(_DEICTIC.search(text))
