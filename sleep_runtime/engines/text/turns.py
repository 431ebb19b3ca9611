"""From the turns of a session to lessons: what a person meant by a turn, and in which words.

The intent head says what a turn is; the closed forms of ``drafts`` cut out the clause that says it.
Where no clause says it all, the whole turn does, in the person's own words. A correction spread
over two turns is one lesson.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from sleep_runtime.core.event import EventKind, Role, Trust
from sleep_runtime.core.observation import Claim, Durability, NoteKind, Turn
from sleep_runtime.engines.intent.intent import Intent, Kind
from sleep_runtime.engines.intent.intent import read as read_intent
from sleep_runtime.engines.text import cues
from sleep_runtime.engines.text.drafts import Lesson, lessons
from sleep_runtime.engines.text.forms import Form
from sleep_runtime.engines.text.prose import prose
from sleep_runtime.engines.text.sentences import sentences
from sleep_runtime.engines.text.statement import MAX_WORDS, OMITTED, shorten, with_facets
from sleep_runtime.engines.text.words import content

_READ = frozenset({EventKind.MESSAGE, EventKind.CORRECTION, EventKind.FEEDBACK})
_WHOLE_WORDS = 60
"""A turn up to here is understood as a whole; a longer one paragraph by paragraph."""
_MOST_OF_IT = 0.8
_SHORT_REJECTION = 4
_SHORT_ANSWER = 8
"""Content words: an answer that short may need the turn before it to say what it answers."""
_SURELY = 0.6
_SMALL_TALK, _CHATTER = 0.35, 0.6
"""From here on a turn with a cue word, and one that has the form of a rule too, teaches nothing."""
_BEYOND_DOUBT: dict[Kind, float] = {"nothing": 0.85, "one_off": 0.7}
_TEACHING: tuple[Kind, ...] = ("lesson", "standing", "change")
_RULE_FORMS = (Form.IMPERATIVE, Form.MODAL, Form.CONTRAST)
_SURELY_TAUGHT, _LIKELY_TAUGHT, _LIKELIER_THAN_NOT, _FILED_CLEARLY = 0.9, 0.6, 0.5, 0.4
_TEACHES_IN_PASSING = 0.5
_LIST_LINES = 3
_TASTE = re.compile(
    r"\bi(?:['\u2019]d| would)?\s+(?:really |much |always |generally |rather )?(?:prefer|like|love|"
    r"hate|dislike|rather)\b",
    re.IGNORECASE,
)
_LISTED = re.compile(
    r"\n|;\s|\A[^:\n]{0,60}:\s+[^,;]+[,;]\s|\b(?:first|second)(?:ly)?[,:]|\b(?:also|two things)\b",
    re.I,
)
"""What people put between several rules in one turn."""
_PAIRED = re.compile(r"[^.!?]*?,\s+and\s+[^.!?]*[.!?]?\s*\Z", re.I)
"""One sentence of two halves; in more sentences than one the others mostly say why."""
_REJECTS = re.compile(
    r"\b(?:no|nope|not|wrong|isn'?t|wasn'?t|aren'?t|don'?t|doesn'?t|didn'?t|can'?t|won'?t|off|incorrect|"
    r"again|why|who asked|redo|rebuild|hm+|ugh)\b",
    re.IGNORECASE,
)


class _Bars(NamedTuple):
    """When a turn counts as meant to last: likely enough, and little else is."""

    lasting: float
    one_off: float
    nothing: float

    def met(self, intent: Intent) -> bool:
        scores = intent.scores
        return (
            intent.lasting >= self.lasting
            and scores["one_off"] < self.one_off
            and scores["nothing"] < self.nothing
        )


_FILED = _Bars(lasting=0.4, one_off=0.2, nothing=0.2)
_IN_PASSING = _Bars(lasting=0.5, one_off=0.1, nothing=0.05)
"""Somebody files a correction to change what happens next; a message may be anything."""


@dataclass(frozen=True, slots=True)
class Said:
    """One lesson and the turns it was said in."""

    lesson: Lesson
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """A person's turn, or a paragraph of a long one, and what was meant by it."""

    turn: Turn
    text: str
    intent: Intent

    @property
    def correction(self) -> bool:
        return self.turn.kind is EventKind.CORRECTION

    def may_rule(self, lesson: Lesson) -> bool:
        """Whether a cue word in it stands for a rule: "always" and "never" are also small talk."""
        bar = _CHATTER if _rules(lesson) else _SMALL_TALK
        return self.correction or self.intent.scores["nothing"] < bar

    def _filed_in_doubt(self, kind: Kind) -> bool:
        """True for what somebody filed as a correction, says something, and may be a lesson.

        It waits as one, and is forgotten if it was none.
        """
        says = len(content(self.text)) > _SHORT_REJECTION
        return self.correction and says and self.intent.scores[kind] < _BEYOND_DOUBT[kind]

    @property
    def rejects(self) -> bool:
        """True when it only says that something is wrong: the answer is yet to come."""
        return cues.finds_fault(self.text)

    def unclear(self, found: Sequence[Lesson]) -> Durability:
        """How far a turn that does not say that it lasts is a lesson at all.

        What somebody files as a correction is one unless it reads like none; a message is one when
        it reads like one by far, or likely and in the form of a rule. What is wrong is no lesson
        as long as nobody says what is right.
        """
        if self.rejects:
            return Durability.DOUBTFUL
        bar = _FILED_CLEARLY if self.correction else _SURELY_TAUGHT
        if any(lesson.form in (Form.MODAL, Form.CONTRAST) for lesson in found):
            bar = min(bar, _LIKELY_TAUGHT)
        return Durability.UNCLEAR if self.intent.teaches >= bar else Durability.DOUBTFUL

    @property
    def kind(self) -> Kind:
        """What the turn is, with a lower bar for what lasts than the head's own.

        A lesson taken for a lasting one is no harm; a one-off taken for one is, and has its own
        share.
        """
        scores, kind = self.intent.scores, self.intent.kind
        if kind in ("nothing", "one_off") and self._filed_in_doubt(kind):
            kind = "lesson"
        if kind == "lesson" and not self.correction:
            # Nobody filed it as a correction: it has to read more like a lesson.
            teaches = self.intent.teaches >= _TEACHES_IN_PASSING * scores["nothing"]
            kind = "lesson" if teaches else "nothing"
        if self.rejects and kind in _TEACHING:
            return "lesson"
        bars = _FILED if self.correction else _IN_PASSING
        if kind == "lesson" and self.text.count("\n") < _LIST_LINES and bars.met(self.intent):
            return "standing" if scores["standing"] >= scores["change"] else "change"
        return kind


def said_in(turns: Sequence[Turn]) -> list[Said]:
    """The lessons of a session's turns, in order."""
    found: list[Said] = []
    before: _Part | None = None
    for turn in turns:
        if not (turn.role is Role.HUMAN and turn.trust is Trust.HUMAN and turn.kind in _READ):
            continue
        own = prose(turn.text)
        if not own or cues.is_acknowledgement(own):
            continue
        parts = [_Part(turn, text, _intent(text, turn)) for text in pieces_of(own)]
        if before is not None and len(parts) == 1 and _answers(parts[0], before):
            found = [item for item in found if before.turn.event_id not in item.evidence]
            found += _spread(before, parts[0])
            before = None
            continue
        found += [Said(lesson, (turn.event_id,)) for part in parts for lesson in _of_part(part)]
        before = parts[0] if len(parts) == 1 else None
    return found


def _intent(text: str, turn: Turn) -> Intent:
    return read_intent(text, correction=turn.kind is EventKind.CORRECTION)


def pieces_of(own: str) -> list[str]:
    """A turn as it is understood: as a whole when it is short, else in parts of its paragraphs."""
    if len(own.split()) <= _WHOLE_WORDS:
        return [own]
    return [part for paragraph in own.split("\n") if paragraph.strip() for part in _cut(paragraph)]


def _cut(paragraph: str) -> Iterator[str]:
    """A paragraph in pieces of whole sentences that fit a statement."""
    piece: list[str] = []
    for sentence in sentences(paragraph):
        if piece and len(" ".join([*piece, sentence]).split()) > MAX_WORDS:
            yield " ".join(piece)
            piece = []
        piece.append(sentence)
    if piece:
        yield " ".join(piece)


# ---------------------------------------------------------------------------- two turns


def _answers(part: _Part, before: _Part) -> bool:
    """True when a turn gives the answer that the turn before it, a rejection, left out."""
    if part.kind not in _TEACHING:
        return False
    if before.correction != part.correction or not _REJECTS.search(before.text):
        return False
    if not part.correction and not cues.CORRECTIVE.match(before.text):
        return False
    if before.kind in ("one_off", "retract", "standing", "change"):
        return False
    left_open = (
        before.kind == "nothing"
        or before.rejects
        or (len(content(before.text)) <= _SHORT_REJECTION and cues.CORRECTIVE.match(before.text))
    )
    return bool(left_open) and len(content(part.text)) <= _SHORT_ANSWER


def _spread(before: _Part, part: _Part) -> list[Said]:
    text = f"{_ended(before.text)} {part.text}"
    whole = _whole(text, part)
    if whole is None:
        return [Said(lesson, (part.turn.event_id,)) for lesson in _of_part(part)]
    return [Said(whole, (before.turn.event_id, part.turn.event_id))]


def _ended(text: str) -> str:
    return text if text.rstrip()[-1:] in ".!?:;" else f"{text.rstrip()}."


# ---------------------------------------------------------------------------- one turn


def _of_part(part: _Part) -> list[Lesson]:
    kind = part.kind
    if kind == "retract":
        whole = _whole(part.text, part)
        return [whole] if whole else []
    found = lessons(part.text, correction=part.correction, about=part.turn.about)
    if kind == "nothing":
        sure = part.intent.scores["nothing"] >= _SURELY
        said = [lesson for lesson in found if _says_so(lesson) or _obliges(lesson)]
        return [_held(lesson, part) for lesson in said if not sure or _obliges(lesson)]
    if kind == "one_off":
        return _once(found, part)
    if kind == "lesson" and not part.correction and _is_task(found, part):
        return []
    if len(found) > 1 and (_enumerates(found, part.text) or all(map(_says_so, found))):
        return [_held(lesson, part) for lesson in found]
    return _lesson(found, part)


def _enumerates(found: Sequence[Lesson], text: str) -> bool:
    """True when somebody gives several answers at once: in a list, or two in one sentence."""
    answers = all(lesson.claim.subject and lesson.claim.value for lesson in found)
    return bool(_LISTED.search(text) or (answers and _PAIRED.match(text)))


def _is_task(found: Sequence[Lesson], part: _Part) -> bool:
    """True for a turn in passing that is most likely a task, and nobody's rule.

    A plain instruction, and whatever is about nothing that is named, has to be likelier a lesson
    than not; and what is about nothing has to have the form of one, or read like one by far. Where
    a cue in it says that it lasts it is no task.
    """
    if any(_says_so(lesson) and part.may_rule(lesson) for lesson in found):
        return False
    unlikely = part.intent.teaches < _LIKELIER_THAN_NOT
    if not part.turn.about:
        return unlikely or (not found and part.intent.teaches < _SURELY_TAUGHT)
    return unlikely and any(lesson.form is Form.IMPERATIVE for lesson in found)


def _obliges(lesson: Lesson) -> bool:
    """True for "deploys must happen on Tuesdays": an obligation, for however long."""
    return lesson.form is Form.MODAL


def _rules(lesson: Lesson) -> bool:
    """True for "always do x" and "x must never be y": whatever else the turn reads like, a rule."""
    return lesson.form in _RULE_FORMS


def _says_so(lesson: Lesson) -> bool:
    """True when a closed cue in the statement itself says that it lasts."""
    said = cues.read(lesson.claim.statement)
    return lesson.durability is Durability.STANDING and said.standing and not said.hedged


def _once(found: Sequence[Lesson], part: _Part) -> list[Lesson]:
    whole = _whole(part.text, part)
    once = [replace(lesson, durability=Durability.ONE_OFF) for lesson in found]
    return once or ([whole] if whole else [])


def _lesson(found: Sequence[Lesson], part: _Part) -> list[Lesson]:
    """One lesson: in the words of the clause that says nearly all of it, else of the turn."""
    whole = _whole(part.text, part, found)
    clause = found[0] if len(found) == 1 else None
    if whole is None:
        return [_held(lesson, part) for lesson in found]
    if clause is not None and _covers(clause, whole):
        return [_held(clause, part)]
    return [whole]


def _covers(clause: Lesson, whole: Lesson) -> bool:
    said, wanted = set(content(clause.claim.statement)), set(content(whole.claim.statement))
    return len(said & wanted) >= _MOST_OF_IT * len(wanted)


def _held(lesson: Lesson, part: _Part) -> Lesson:
    """The lesson with the durability that the whole turn gives it."""
    if lesson.durability is Durability.ONE_OFF:
        return lesson
    lasting = part.kind in ("standing", "change") or (_says_so(lesson) and part.may_rule(lesson))
    return replace(lesson, durability=Durability.STANDING if lasting else part.unclear([lesson]))


_DURABILITY = {
    "standing": Durability.STANDING,
    "change": Durability.STANDING,
    "one_off": Durability.ONE_OFF,
    "retract": Durability.WITHDRAWN,
}


def _whole(text: str, part: _Part, found: Sequence[Lesson] = ()) -> Lesson | None:
    """The turn as one statement, without greeting and courtesy; None when it is too long.

    ``found`` are the clauses in it that state a lesson by their form.
    """
    statement = _fitted(text)
    if not statement or not content(statement):
        return None
    claim = Claim(
        statement=with_facets(statement, part.turn.about),
        kind=NoteKind.PREFERENCE if _TASTE.search(text) else NoteKind.CORRECTION,
        about=part.turn.about,
    )
    kind = part.kind
    return Lesson(claim, _DURABILITY.get(kind, part.unclear(found)), f"the turn is read as: {kind}")


def _fitted(text: str) -> str:
    kept = [piece for piece in sentences(text) if not cues.is_acknowledgement(piece)]
    if not kept:
        return ""
    kept[0] = _capital_kept(kept[0], shorten(kept[0]))
    statement = " ".join(" ".join(kept).split())
    if OMITTED in statement or not statement:
        return ""
    if len(statement.split()) <= MAX_WORDS and len(statement) <= 340:
        return statement.rstrip(" ,;")
    return ""


def _capital_kept(sentence: str, shortened: str) -> str:
    """The shortened sentence with the end mark it had: others may follow it."""
    mark = sentence.rstrip()[-1:]
    return f"{shortened}{mark}" if shortened and mark in ".!?;" else shortened or sentence
