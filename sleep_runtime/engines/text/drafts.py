"""From one turn to claims: which clauses are lessons, how long they hold, what they say.

Restraint comes first. A clause becomes a draft only when it has the form of an instruction, a
norm or a correction, stands on its own words, and is not asked, mentioned, told or thanked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from sleep_runtime.core.observation import Claim, Durability, NoteKind
from sleep_runtime.engines.text import cues, slots
from sleep_runtime.engines.text.lexicon import (
    ALL_VERBS,
    FUNCTION_WORDS,
    POLICY_VERBS,
    RULE_ONLY_VERBS,
    PREPOSITIONS,
    TASK_VERBS,
)
from sleep_runtime.engines.text.sentences import clauses, prose, sentences
from sleep_runtime.engines.text.statement import fit, names, shorten, with_facets
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


@dataclass(frozen=True, slots=True)
class Lesson:
    """One claim of a turn, how long it holds, and why that was concluded."""

    claim: Claim
    durability: Durability
    why: str


@dataclass(frozen=True, slots=True)
class _Clause:
    text: str
    whole: str
    cues: cues.Cues
    form: Form
    correction: bool
    about: dict[str, str]


def lessons(text: str, *, correction: bool, about: dict[str, str]) -> list[Lesson]:
    """The lessons of one human turn, in order. ``correction``: the event was filed as one."""
    own = prose(text)
    if not own or cues.is_acknowledgement(own):
        return []
    found: list[Lesson] = []
    for clause in _candidates(own, correction, about):
        lesson = _judge(clause)
        if lesson is not None and lesson.claim not in [known.claim for known in found]:
            found.append(lesson)
    return found


def _candidates(own: str, correction: bool, about: dict[str, str]) -> Iterator[_Clause]:  # noqa: FBT001
    parts = sentences(own)
    said = [cues.read(part) for part in parts]
    spread = _spread(parts, said)
    for part, own_cues in zip(parts, said, strict=True):
        if own_cues.hedged or cues.is_question(part) or cues.is_acknowledgement(part):
            continue
        yield from _of_sentence(part, spread, correction, about)


def _spread(parts: list[str], said: list[cues.Cues]) -> cues.Cues:
    """What a sentence such as "do this every time" says about those beside it."""
    lone = [
        each
        for part, each in zip(parts, said, strict=True)
        if cues.is_anaphoric(part) and (each.one_off or each.standing) and _form(shorten(part), None) is None
    ]
    return cues.Cues(
        one_off=any(each.one_off for each in lone),
        standing=any(each.standing for each in lone),
        hedged=False,
        past=False,
    )


def _of_sentence(
    part: str, spread: cues.Cues, correction: bool, about: dict[str, str]  # noqa: FBT001
) -> Iterator[_Clause]:
    pieces = clauses(part)
    each = [cues.read(piece) for piece in pieces]
    whole = cues.Cues(
        one_off=spread.one_off or _reaches(pieces, [cue.one_off for cue in each]),
        standing=spread.standing or each[0].standing,
        hedged=False,
        past=False,
    )
    for piece, own in zip(pieces, each, strict=True):
        text = shorten(piece)
        form = _form(text, about if correction or about else None, bare=correction)
        if form is None or own.past:
            continue
        merged = cues.Cues(
            one_off=own.one_off or (whole.one_off and not own.standing),
            standing=own.standing or whole.standing,
            hedged=False,
            past=False,
        )
        yield _Clause(text, part, merged, form, correction, about)


def _reaches(pieces: list[str], flags: list[bool]) -> bool:
    """A one-off cue at the very start or the very end of a sentence holds for all of it."""
    if len(pieces) == 1 or not any(flags):
        return flags[0]
    last_words = " ".join(pieces[-1].split()[-5:])
    return flags[0] or (flags[-1] and bool(cues.ONE_OFF.search(last_words)))


# ---------------------------------------------------------------------------- forms

_MODAL = re.compile(
    r"\A(?P<subject>[^,;:?]{1,80}?)\s+(?:should|must|shall|needs? to|ha(?:s|ve) to|ought to|can only|shouldn'?t|"
    r"mustn'?t|(?:is|are) to)\s+(?P<rest>(?!have been|be (?:fine|ok|okay|good|great|ready|able|done|there|enough|easy|possible|interesting|back)\b)\w.*)\Z",
    re.IGNORECASE | re.DOTALL,
)
_NORM = re.compile(
    r"(?:\A|[,:]\s*|\A(?:as a rule|in general|by default|from now on|going forward|in future|generally),?\s+|\b(?:for|in|on|at|with) [\w' -]{1,40}?,?\s+)(?P<who>[Ii]|[Ww]e|[Oo]ur team|[Tt]he (?:\w+ ){0,2}?(?:team|client|customer|account|company|board|boss|cfo|ceo|manager|"
    r"group|department|desk)|(?:[Mm]y|[Oo]ur) (?:\w+ ){0,2}?(?:team|client|customer|company|board|boss|manager|cfo|group)|[A-Z][\w.&-]+)(?:'d| would)?\s+"
    r"(?:(?:always|never|usually|generally|only|really|strongly|normally|typically|also|now|rather|all|do|do not|don'?t|much|definitely)\s+){0,3}"
    r"(?P<verb>prefers?|likes?|wants?|uses?|shows?|reports?|expects?|insists? on|requires?|needs?|keeps?|follows?|writes?|names?|formats?|"
    r"quotes?|presents?|calls?|rounds?|sorts?|signs?|runs?|avoids?|hates?|dislikes?|books?|measures?|counts?|bills?|"
    r"spells?|sees?|reads?|sends?|does|do|goes|go|puts?|plots?|deploys?|release|ships?|tags?|label|test|lint|squash|rebase|merge|treat|escalate|express|"
    r"(?<=always )[a-z]+|(?<=never )[a-z]+|(?<=usually )[a-z]+|(?<=don't )[a-z]+|asked for|asks? for|standardi[sz]ed? on|has|have|excludes?|includes?|leave|skip|store|log|pin|route|assign|close|price|discount|invoice)\s+(?P<rest>\S.*)\Z",
    re.DOTALL,
)
_WISH = re.compile(r"(?:prefer|like|hate|dislike|want|need|rather|expect|insist)", re.IGNORECASE)
_RATHER = re.compile(r"\A(?:i|we)(?:'d| would) (?:rather|prefer)\b", re.IGNORECASE)
_FACT = re.compile(
    r"\A(?P<subject>(?:the|our|my|all|every|their|its|[A-Z])[^,;:?]{1,60}?)\s+(?:is|are|ends?|starts?|begins?|runs?|goes|go|lives?|means?|stands? for|"
    r"(?:is|are)n'?t|uses?|closes?|reports?|counts? as)\s+(?P<rest>\S.*)\Z",
    re.DOTALL,
)
_LABELLED = re.compile(r"\A[^,;:?]{2,40}:\s+\S+.*\Z|\A(?:for|in|on) [^,;:?]{2,40}[,:]\s*\S.*\Z", re.DOTALL | re.IGNORECASE)
_LEADS = frozenset("always never don't do not please also just only then to rather".split())
_BARE_PRONOUN = frozenset(
    "it this that these those they he she you there here them one what which i who something anything everything nothing".split()
)
_DEICTIC = re.compile(
    r"\b(?:this|that|these|those|it|them|here|above|below that|the (?:typo|error|bug|fix|failure|failing \w+|attached|attachment|"
    r"previous|last|first|second|third|next|same|other|rest|current|new one|old one)|"
    r"(?:page|slide|line|row|step|item|option|section|finding|chunk|phase|figure|table|tab|cell|column|ticket|issue|pr|version|point|question|bullet|chart|commit) #?[\dA-Z]{1,6}\b|#\d+|"
    r"(?:q[1-4]|fy)[ -]?\d{2,4})\b|#\d+",
    re.IGNORECASE,
)
_GENERIC = re.compile(
    r"\b(?:all|any|every|each|always|never|anything|everything|everywhere|whenever|when|before|after|unless|by default|no|only|"
    r"per|at all|in general|instead of|rather than)\b",
    re.IGNORECASE,
)
_DETERMINED = re.compile(r"\A(?:the|this|that|these|those|it|a|an|your|its|option|what|how|where|his|her|their|to)\b", re.IGNORECASE)


def _form(text: str, about: dict[str, str] | None, *, bare: bool = False) -> Form | None:
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
    return _declared(text, about, bare=bare)


def _declared(text: str, about: dict[str, str] | None, *, bare: bool) -> Form | None:
    if about is None:
        return None
    fact = _FACT.match(text)
    if fact is not None and _named(fact["subject"]) and not _DEICTIC.search(fact["subject"]):
        return Form.FACT if bare or text.lower().startswith("our ") or _names_facet(text, about) else None
    if bare and not _told(text) and (_LABELLED.match(text) or len(content(text)) >= 2):
        return Form.FRAGMENT
    return None


def _imperative(text: str) -> Form | None:
    found = _after_adjuncts(text)
    led = False
    while found and found[0] in _LEADS:
        led = led or found[0] in {"always", "never", "don't", "not", "only"}
        found = found[1:]
    if not found or len(found) < 2 and not led:
        return None
    verb = found[0]
    if verb in {"avoid", "stop", "refrain"}:
        return Form.IMPERATIVE
    follower = found[1] if len(found) > 1 else ""
    if follower in _AFTER_NOUN or verb in FUNCTION_WORDS:
        return None
    if verb not in ALL_VERBS:
        if led:
            return Form.IMPERATIVE
        return Form.TASK if slots.opens_like_a_verb(verb, follower) else None
    if verb in RULE_ONLY_VERBS or led:
        return Form.IMPERATIVE
    return Form.TASK if verb in TASK_VERBS else Form.IMPERATIVE


_AFTER_NOUN = frozenset("is are was were should must has have will can looks look seems does did works went goes fails failed".split())
_ADJUNCT = re.compile(
    r"\A(?:(?:from|going|moving|in|for|as|by|on|at|when|whenever|if|unless|once|while|before|after|every|each|just|only|with|until|during|next|instead|without|rather|not|today|always)\b[^,:—–]{0,80}?[,:—–]\s*)(?=\S)",
    re.IGNORECASE,
)
_SOFT_ADJUNCT = re.compile(
    r"\A(?:from (?:now|here|today|this point) on(?:wards?)?|going forward|moving forward|by default|in (?:the )?future|in general|as a rule|every ?time|next time|"
    r"(?:just |only )?for (?:now|this|that|the|today|all|every)(?:'s)? \w+(?: only)?|(?:just )?this (?:time|once)|for today|for now|for once|(?:in|on|for|with) (?:this|that|the) \w+)\s+(?=\S)",
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
    return 0 < len(found) <= 4 and not inner and found[0] not in _BARE_PRONOUN | _LEADS


def _named(subject: str) -> bool:
    found = [word.lower() for word in words(subject)]
    return bool(found) and not _BARE_PRONOUN & set(found[:1]) and len(found) <= 9


def _norm_holds(match: re.Match[str]) -> bool:
    who, verb, rest = match["who"].lower(), match["verb"].lower(), match["rest"]
    if verb in {"has", "have", "does", "do", "go", "goes", "see", "sees", "read", "reads"} and who in {"i", "we"}:
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


def _names_facet(text: str, about: dict[str, str]) -> bool:
    return any(names(text.lower(), value) for value in about.values())


# ---------------------------------------------------------------------------- judging


def _judge(clause: _Clause) -> Lesson | None:
    held = _durability(clause)
    if held is None:
        return None
    statement = _statement(clause)
    if not statement:
        return None
    durability, why = held
    parsed = slots.parse(_without_facet_topic(clause.text, clause.about))
    claim = Claim(
        statement=statement,
        kind=_kind(clause, parsed),
        subject=parsed.subject,
        aspect=parsed.aspect,
        value=parsed.value,
        applies_when=parsed.when,
        about=clause.about,
    )
    return Lesson(claim, durability, why)


def _statement(clause: _Clause) -> str:
    """Self-contained words: the clause, or its sentence where the clause alone says too little."""
    if len(_own_content(clause.text, clause.about)) >= 2:
        return _fitted(clause.text, clause.about)
    whole = shorten(clause.whole)
    if len(_own_content(whole, clause.about)) >= 2:
        return _fitted(whole, clause.about)
    lone = slots.parse(clause.text).value
    return _fitted(clause.text, clause.about) if lone and not _DEICTIC.search(clause.text) else ""


def _fitted(text: str, about: dict[str, str]) -> str:
    statement = fit(text)
    return with_facets(statement, about) if statement else ""


def _own_content(text: str, about: dict[str, str]) -> list[str]:
    facets = {token for value in about.values() for token in content(value)}
    return [token for token in content(text) if token not in facets]


def _without_facet_topic(text: str, about: dict[str, str]) -> str:
    """"for Northwind we …" without the facet, which the claim carries beside the statement."""
    for value in about.values():
        spoken = re.escape(value).replace(r"\-", "[- _]").replace("_", "[- _]").replace(r"\ ", "[- _]")
        text = re.sub(
            rf"\b(?:for|at|on|in|with)\s+(?:the\s+)?{spoken}(?:'s)?\b(?:\s+(?:account|client|customer|team|project|deck|repo))?[,:]?\s*|\A{spoken}\s*:\s*",
            "",
            text,
            flags=re.IGNORECASE,
        )
    return text.strip() or "-"


def _durability(clause: _Clause) -> tuple[Durability, str] | None:
    said = clause.cues
    if said.one_off:
        return Durability.ONE_OFF, f"{clause.form.value}, but only for this occasion"
    if said.standing and clause.form is not Form.FRAGMENT:
        return Durability.STANDING, f"{clause.form.value}, said to hold from now on"
    specific = bool(_DEICTIC.search(clause.text))
    if clause.correction:
        return _in_correction(clause, specific=specific)
    return _in_message(clause, specific=specific)


def _in_correction(clause: _Clause, *, specific: bool) -> tuple[Durability, str] | None:
    task = clause.form is Form.TASK and not _is_way(clause.text)
    if specific or task:
        if specific and clause.form in {Form.TASK, Form.FACT, Form.FRAGMENT}:
            return None
        return Durability.UNCLEAR, f"{clause.form.value} in a correction, about something at hand"
    return Durability.STANDING, f"{clause.form.value} in a correction"


def _is_way(text: str) -> bool:
    """True when a task verb tells a way of doing: for things of a kind, or a verb of rules too."""
    return bool(_GENERIC.search(text)) or slots.parse(text).verb in POLICY_VERBS


def _in_message(clause: _Clause, *, specific: bool) -> tuple[Durability, str] | None:
    if specific or clause.form in {Form.TASK, Form.FRAGMENT}:
        return None
    if clause.form is Form.NORM and (_is_wish(clause.text) or _names_facet(clause.text, clause.about)):
        return Durability.STANDING, "a wish about how things are done"
    if clause.form is Form.MODAL and (_generic_subject(clause.text) or clause.about):
        return Durability.STANDING, "a should about things of a kind"
    if clause.form is Form.IMPERATIVE and not _answers(clause.text):
        return None
    if clause.form is Form.FACT:
        return Durability.UNCLEAR, "a statement of fact in passing"
    return Durability.UNCLEAR, f"{clause.form.value}, said without saying how long it holds"


def _answers(text: str) -> bool:
    """True when an instruction says how, not only what: "show it" is done and over."""
    parsed = slots.parse(text)
    if parsed.rejected or parsed.aspect or parsed.negated:
        return True
    how = bool(parsed.value) and parsed.value != parsed.subject
    return how and (bool(parsed.link) or parsed.verb not in {"run", "show", "set", "put"})


def _is_wish(text: str) -> bool:
    norm = _NORM.search(text)
    if norm is None:
        return False
    lasting = norm["verb"].lower().startswith(("prefer", "like", "hate", "dislike", "expect", "insist"))
    other = norm["who"].lower() not in {"i", "we"} and bool(_WISH.match(norm["verb"]))
    return lasting or other or bool(_RATHER.match(text))


def _generic_subject(text: str) -> bool:
    match = _MODAL.match(text)
    if match is None:
        return False
    found = [word.lower() for word in words(match["subject"])]
    if found[0] in {"all", "every", "each", "any", "our"}:
        return True
    return found[0] not in {"the", "a", "an", "we", "i", "you"} and found[-1].endswith("s")


# ---------------------------------------------------------------------------- kinds

_STEPS = re.compile(
    r"\b(?:first\b.+\bthen|before (?:you|we|any|every|each|the|a|\w+ing)|after (?:you|we|any|every|each|the|a|\w+ing)|once (?:you|we|the)|and then|steps?:)\b",
    re.IGNORECASE,
)
_FORBIDS = re.compile(r"\A(?:\w+: )?(?:(?:from now on|going forward|please|in general),? )?(?:never|don'?t|do not|avoid|stop|under no circumstances)\b", re.IGNORECASE)
_BREAKS = re.compile(r"\b(?:because|since|otherwise|or (?:it|the|you|we)|it (?:breaks|fails|will)|touch|breaks|crash\w*|corrupt\w*|fails?)\b", re.IGNORECASE)
_MINE = re.compile(r"\b(?:i (?:\w+ )?(?:prefer|like|hate|dislike|want|need|use|always|never|read|expect)|i'd (?:rather|prefer|like)|i would (?:rather|prefer|like)|for me|my|to me)\b", re.IGNORECASE)


def _kind(clause: _Clause, parsed: slots.Slots) -> NoteKind:
    text = clause.text
    if _MINE.search(text):
        return NoteKind.PREFERENCE
    if _FORBIDS.match(text) and _BREAKS.search(text):
        return NoteKind.PITFALL
    if parsed.rejected:
        return NoteKind.CORRECTION
    if _STEPS.search(text):
        return NoteKind.PROCEDURE
    if _FORBIDS.match(text):
        return NoteKind.PITFALL if clause.form is Form.TASK else NoteKind.CONVENTION
    return NoteKind.FACT if clause.form is Form.FACT else NoteKind.CONVENTION
