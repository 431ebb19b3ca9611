"""From one turn to claims: which clauses are lessons, how long they hold, what they say.

Restraint comes first. A clause becomes a draft only when it has the form of an instruction, a
norm or a correction, stands on its own words, and is not asked, mentioned, told or thanked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from sleep_runtime.core.observation import Claim, Durability, NoteKind
from sleep_runtime.engines.text import cues, forms, slots
from sleep_runtime.engines.text.prose import prose
from sleep_runtime.engines.text.sentences import clauses, sentences
from sleep_runtime.engines.text.statement import fit, shorten, with_facets, without_place
from sleep_runtime.engines.text.words import FRAME, content, stem


@dataclass(frozen=True, slots=True)
class Lesson:
    """One claim of a turn, how long it holds, and why that was concluded.

    ``form`` is how its clause says so; None for what was taken as a whole.
    """

    claim: Claim
    durability: Durability
    why: str
    form: forms.Form | None = None


@dataclass(frozen=True, slots=True)
class _Turn:
    own: str
    correction: bool
    about: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Clause:
    """One clause that may be a lesson. ``endorsed``: the speaker says beside it that it lasts."""

    text: str
    whole: str
    cues: cues.Cues
    form: forms.Form
    turn: _Turn
    endorsed: bool = False

    @property
    def about(self) -> dict[str, str]:
        return self.turn.about


def lessons(text: str, *, correction: bool, about: dict[str, str]) -> list[Lesson]:
    """The lessons of one human turn, in order. ``correction``: the event was filed as one."""
    own = prose(text)
    if not own or cues.is_acknowledgement(own):
        return []
    found: list[Lesson] = []
    for clause in _candidates(_Turn(own, correction, about)):
        lesson = _judge(clause)
        if lesson is not None:
            _note(found, lesson)
    return found


def _note(found: list[Lesson], lesson: Lesson) -> None:
    """Add a lesson, unless it echoes one before; then it may only say that that one lasts."""
    for index, known in enumerate(found):
        if echoes(lesson.claim, known.claim):
            if known.durability is Durability.UNCLEAR:
                found[index] = replace(
                    known, durability=lesson.durability, why=lesson.why, form=lesson.form
                )
            return
    found.append(lesson)


def _candidates(turn: _Turn) -> Iterator[_Clause]:
    parts = sentences(turn.own)
    said = [cues.read(part) for part in parts]
    spread = _spread(parts, said)
    topic, aside, any_before = "", False, False
    for part, own_cues in zip(parts, said, strict=True):
        if not (own_cues.hedged or _says_nothing(part)):
            named = _pointed(part, topic) if own_cues.standing else part
            for clause in _of_sentence(named, spread, turn):
                if not (aside and any_before and _remarks(clause.form, clause.text)):
                    any_before = True
                    yield clause
        topic, aside = forms.topic_of(shorten(part)), part.endswith(";")


_REMARKS = frozenset({forms.Form.FACT, forms.Form.FRAGMENT})


def _remarks(form: forms.Form, text: str) -> bool:
    """True for what only comments on the lesson before it, and answers no question itself."""
    return form in _REMARKS and not slots.parse(text).aspect


_IT = re.compile(
    r"(\A\W*(?:(?:always|never|please|just|only|don'?t|do not)\s+)*[a-z]+\s+)(?:it|them)\b",
    re.IGNORECASE,
)


def _pointed(part: str, topic: str) -> str:
    """The sentence with the thing the one before was about in the place of its *it*."""
    return _IT.sub(lambda match: match[1] + topic, part) if topic else part


def _says_nothing(part: str) -> bool:
    return cues.points_back(part) or cues.is_question(part) or cues.is_acknowledgement(part)


def _spread(parts: list[str], said: list[cues.Cues]) -> cues.Cues:
    """What a sentence such as "do this every time" says about those beside it."""
    lone = [
        each
        for part, each in zip(parts, said, strict=True)
        if cues.is_anaphoric(part)
        and (each.one_off or each.standing)
        and (cues.points_back(part) or forms.form_of(shorten(part), None) is None)
    ]
    return cues.Cues(
        one_off=any(each.one_off for each in lone),
        standing=any(each.standing for each in lone),
        hedged=False,
        past=False,
    )


def _of_sentence(part: str, spread: cues.Cues, turn: _Turn) -> Iterator[_Clause]:
    lead, part = _announced(part)
    split = clauses(part)
    pieces = [piece.text for piece in split]
    each = [cues.read(piece) for piece in pieces]
    endorsed = bool(_RULES.search(lead) or cues.read(lead).standing) or any(
        map(cues.endorses, pieces)
    )
    whole = cues.Cues(
        one_off=spread.one_off or _reaches(pieces, [cue.one_off for cue in each]),
        standing=spread.standing or endorsed or each[0].standing,
        hedged=False,
        past=False,
    )
    told = False
    for piece, own in zip(split, each, strict=True):
        text = shorten(piece.text)
        lasting = own.standing or spread.standing or endorsed
        form = _form(piece.text, turn, lasting=lasting, endorsed=endorsed)
        if form is None or (told and piece.aside and _remarks(form, text)):
            continue
        told = True
        merged = cues.Cues(
            one_off=own.one_off or (whole.one_off and not own.standing),
            standing=own.standing or whole.standing,
            hedged=False,
            past=False,
        )
        yield _Clause(text, part, merged, form, turn, endorsed)


_ANNOUNCED = re.compile(
    r"\A[^:;]{0,40}\b(?:things?|rules?|points?|conventions?|standards?|notes?)\b[^:;]{0,60}:\s+(?=\S)",
    re.IGNORECASE,
)


_RULES = re.compile(r"\b(?:rules?|conventions?|standards?)\b", re.IGNORECASE)


def _announced(part: str) -> tuple[str, str]:
    """("Two things that always hold:", the rest): what announces rules is none of them."""
    match = _ANNOUNCED.match(part)
    return (match[0], part[match.end() :]) if match else ("", part)


def _form(piece: str, turn: _Turn, *, lasting: bool, endorsed: bool) -> forms.Form | None:
    """The form of a clause that may teach something."""
    text = shorten(piece)
    if cues.endorses(piece) or cues.read(text).past:
        return None
    form = forms.form_of(text, _facets(turn), bare=turn.correction or endorsed, lasting=lasting)
    complains = not lasting and cues.COMPLAINT.search(piece)
    return None if complains and form in _REMARKS else form


def _facets(turn: _Turn) -> dict[str, str] | None:
    """None where a mere statement cannot be a lesson: nothing says whose fact it would be."""
    return turn.about if turn.correction or turn.about else None


def _reaches(pieces: list[str], flags: list[bool]) -> bool:
    """A one-off cue at the very start or the very end of a sentence holds for all of it."""
    if len(pieces) == 1 or not any(flags):
        return flags[0]
    last_words = " ".join(pieces[-1].split()[-5:])
    return flags[0] or (flags[-1] and bool(cues.ONE_OFF.search(last_words)))


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
        subject=_grounded(parsed.subject, clause),
        aspect=parsed.aspect,
        value=_grounded(parsed.value, clause),
        applies_when=_grounded(parsed.when, clause),
        about=clause.about,
    )
    return Lesson(claim, durability, why, clause.form)


def _grounded(part: str, clause: _Clause) -> str:
    """The slot, if the person said it in one piece; taking a cue out may have joined two."""
    said = " ".join(clause.turn.own.replace("\u2019", "'").lower().split())
    return part if part.lower() in said else ""


def _statement(clause: _Clause) -> str:
    """Self-contained words: the clause, or its sentence where the clause alone says too little."""
    if len(_own_content(clause.text, clause.about)) >= 2:
        return _fitted(clause.text, clause.about)
    whole = shorten(clause.whole)
    if len(_own_content(whole, clause.about)) >= 2:
        return _fitted(whole, clause.about)
    lone = slots.parse(clause.text).value
    return _fitted(clause.text, clause.about) if lone and not forms.is_specific(clause.text) else ""


def _fitted(text: str, about: dict[str, str]) -> str:
    statement = fit(text)
    return with_facets(statement, about) if statement else ""


def echoes(claim: Claim, known: Claim) -> bool:
    """True when ``claim`` only says again, or from the other side, what ``known`` says.

    "We never use reported" beside "figures are adjusted": a choice without a thing it is made
    for, on the property the other answers.
    """
    if claim == known:
        return True
    if not claim.aspect or claim.aspect != known.aspect or claim.about != known.about:
        return False
    parsed = slots.parse(_without_facet_topic(claim.statement, claim.about))
    idle = FRAME | {stem(parsed.verb), *_facet_words(claim.about)}
    left = {token for token in content(parsed.core) if token not in idle}
    chosen = set(content(claim.value))
    if not left <= chosen or len(chosen) != 1:
        return False
    return parsed.negated or chosen <= set(content(known.statement))


def _own_content(text: str, about: dict[str, str]) -> list[str]:
    facets = _facet_words(about)
    return [token for token in content(text) if token not in facets]


def _facet_words(about: dict[str, str]) -> set[str]:
    return {token for value in about.values() for token in content(value)}


def _without_facet_topic(text: str, about: dict[str, str]) -> str:
    """ "for Northwind we …" without the facet, which the claim carries beside the statement."""
    for value in about.values():
        spoken = re.sub(r"(?:\\\\?[-_ ])+", "[- _]", re.escape(value))
        text = re.sub(
            rf"\b(?:for|at|on|in|with)\s+(?:the\s+)?{spoken}(?:'s)?\b(?:\s+(?:account|client|"
            rf"customer|team|project|deck|repo))?[,:]?\s*|\A{spoken}\s*:\s*",
            "",
            text,
            flags=re.IGNORECASE,
        )
    return without_place(text) or "-"


def _durability(clause: _Clause) -> tuple[Durability, str] | None:
    said = clause.cues
    if said.one_off:
        return Durability.ONE_OFF, f"{clause.form.value}, but only for this occasion"
    if said.standing and (clause.endorsed or clause.form is not forms.Form.FRAGMENT):
        return Durability.STANDING, f"{clause.form.value}, said to hold from now on"
    specific = forms.is_specific(clause.text)
    if clause.turn.correction:
        return _in_correction(clause, specific=specific)
    return _in_message(clause, specific=specific)


def _in_correction(clause: _Clause, *, specific: bool) -> tuple[Durability, str] | None:
    task = clause.form is forms.Form.TASK and not forms.is_way(clause.text)
    if specific or task:
        at_hand = specific or (task and forms.picks_one(clause.text))
        if at_hand and clause.form in {forms.Form.TASK, forms.Form.FACT, forms.Form.FRAGMENT}:
            return None
        return Durability.UNCLEAR, f"{clause.form.value} in a correction, about something at hand"
    return Durability.STANDING, f"{clause.form.value} in a correction"


def _in_message(clause: _Clause, *, specific: bool) -> tuple[Durability, str] | None:
    if specific or clause.form in {forms.Form.TASK, forms.Form.FRAGMENT}:
        return None
    if clause.form is forms.Form.NORM and (
        forms.is_wish(clause.text) or forms.names_facet(clause.text, clause.about)
    ):
        return Durability.STANDING, "a wish about how things are done"
    if clause.form is forms.Form.MODAL and (forms.is_generic(clause.text) or clause.about):
        return Durability.STANDING, "a should about things of a kind"
    if clause.form is forms.Form.IMPERATIVE and not forms.answers(clause.text):
        return None
    if clause.form is forms.Form.FACT:
        return Durability.UNCLEAR, "a statement of fact in passing"
    return Durability.UNCLEAR, f"{clause.form.value}, said without saying how long it holds"


_STEPS = re.compile(
    r"\b(?:first\b.+\bthen|before (?:you|we|any|every|each|the|a|\w+ing)|after (?:you|we|any|"
    r"every|each|the|a|\w+ing)|once (?:you|we|the)|and then|steps?:)\b",
    re.IGNORECASE,
)
_FORBIDS = re.compile(
    r"\A(?:\w+: )?(?:(?:from now on|going forward|please|in general),? )?(?:never|don'?t|do not|"
    r"avoid|stop|under no circumstances)\b",
    re.IGNORECASE,
)
_BREAKS = re.compile(
    r"\b(?:because|since|otherwise|or (?:it|the|you|we)|it (?:breaks|fails|will)|touch|breaks|"
    r"crash\w*|corrupt\w*|fails?)\b",
    re.IGNORECASE,
)
_MINE = re.compile(
    r"\b(?:i (?:\w+ )?(?:prefer|like|hate|dislike|want|need|use|always|never|read|expect)|"
    r"i'd (?:rather|prefer|like)|i would (?:rather|prefer|like)|for me|my|to me)\b",
    re.IGNORECASE,
)


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
        return NoteKind.PITFALL if clause.form is forms.Form.TASK else NoteKind.CONVENTION
    return NoteKind.FACT if clause.form is forms.Form.FACT else NoteKind.CONVENTION
