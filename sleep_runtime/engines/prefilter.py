"""Prefilter: what an engine need not read, and what it need not be asked. Errs on reading.

For engines whose every word costs. A session in which no turn of a person can teach anything is
not read; of the others, only the turns that may teach, and what an agent said just before them.
Two claims about different things that have little in common are not compared, unless the built-in
judge sees something in them; and a pair that was compared is not compared again.
"""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from sleep_runtime.core.event import EventKind, Role
from sleep_runtime.core.observation import Claim, Distillation, SessionInput, Turn, Usage
from sleep_runtime.core.ports import Embedder, Engine, Forking, Interruptible, Loading
from sleep_runtime.core.proposal import ClaimPair, Judgement, Verdict
from sleep_runtime.engines.extractive import ExtractiveEngine
from sleep_runtime.engines.intent.intent import read as read_intent
from sleep_runtime.engines.text import cues
from sleep_runtime.engines.text.prose import prose
from sleep_runtime.engines.text.turns import pieces_of
from sleep_runtime.engines.text.words import content

VERSION = 1
NOTHING_FROM = 0.9
"""From this chance of *nothing* on a message teaches nothing: 994 of 1,000 that teach are below it
(``scripts/bench economy --left-out``)."""
NEAR = 0.3
"""Least cosine of two claims about different things one of which names what the other is about."""
NEAR_ELSEWHERE = 0.5
"""Least cosine of two claims about different things neither of which names the other's."""
LONG_CHARS = 600
"""A turn up to here is passed on as it is; a longer one without what was pasted into it."""
_KNOWN_ANSWERS = 16_384
_READ = frozenset({EventKind.MESSAGE, EventKind.CORRECTION})
_APART = Judgement(reason="they name different things and have little in common")

_Question = tuple[str, str]


class Prefiltered:
    """An ``Engine`` that asks another one less. Safe to call from several threads.

    ``embedder`` makes the vectors that say how much two claims have in common. The last 16,384
    judgements are remembered (about 1 KB each): what one person said is compared
    again in the nights of the team and of the organisation. Raises what the other engine raises.
    """

    def __init__(self, engine: Engine, embedder: Embedder) -> None:
        self._engine = engine
        self._embedder = embedder
        self._judge = ExtractiveEngine(embedder)
        self._answers: OrderedDict[_Question, Judgement] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        return f"{self._engine.name}+prefilter-{VERSION}"

    @property
    def usage(self) -> Usage:
        return self._engine.usage

    def fork(self) -> Prefiltered:
        """The same over a fork of the other engine; what was compared is remembered for all."""
        other = copy.copy(self)
        if isinstance(self._engine, Forking):
            other._engine = self._engine.fork()  # noqa: SLF001 - one of our own
        return other

    def load(self) -> None:
        """Load the other engine. Raises ``EngineUnavailable``."""
        if isinstance(self._engine, Loading):
            self._engine.load()

    def abort(self, reason: str) -> None:
        """End what is in flight in the other engine."""
        if isinstance(self._engine, Interruptible):
            self._engine.abort(reason)

    def pause(self) -> None:
        """Pause the other engine."""
        if isinstance(self._engine, Interruptible):
            self._engine.pause()

    def resume(self) -> None:
        """Let the other engine go on."""
        if isinstance(self._engine, Interruptible):
            self._engine.resume()

    def close(self) -> None:
        """Close the engine behind it, where that can be closed."""
        if (close := getattr(self._engine, "close", None)) is not None:
            close()

    def distil(self, sessions: Sequence[SessionInput]) -> list[Distillation]:
        """One distillation for each session, in order; empty for one that teaches nothing."""
        read = {place: kept for place, s in enumerate(sessions) if (kept := thinned(s)) is not None}
        answers = dict(zip(read, self._engine.distil([*read.values()]), strict=True))
        return [answers.get(place, Distillation()) for place in range(len(sessions))]

    def compare(self, pairs: Sequence[ClaimPair]) -> list[Judgement]:
        """One judgement for each pair, in order; *unrelated* for pairs that were not asked."""
        questions = [_question(pair) for pair in pairs]
        found = self._known(questions)
        asked = {
            question: pair
            for question, pair in zip(questions, pairs, strict=True)
            if question not in found
        }
        worth = self._worth([*asked.values()])
        asked = {q: pair for (q, pair), ask in zip(asked.items(), worth, strict=True) if ask}
        answers = self._engine.compare([*asked.values()])
        fresh = dict(zip(asked, answers, strict=True))
        self._remember(fresh)
        found |= fresh
        return [found.get(question, _APART) for question in questions]

    def _worth(self, pairs: Sequence[ClaimPair]) -> list[bool]:
        """Whether each of these pairs is worth a question."""
        apart = [pair for pair in pairs if pair.left.about != pair.right.about]
        statements = list(dict.fromkeys(c.statement for pair in apart for c in pair.claims))
        vectors = dict(zip(statements, self._embedder.embed(statements), strict=True))
        return [
            pair.left.about == pair.right.about
            or _cosine(*(vectors[c.statement] for c in pair.claims)) >= _bar(pair)
            or self._judge.compare([pair])[0].verdict is not Verdict.UNRELATED
            for pair in pairs
        ]

    def _known(self, questions: Sequence[_Question]) -> dict[_Question, Judgement]:
        with self._lock:
            return {q: self._answers[q] for q in questions if q in self._answers}

    def _remember(self, answers: dict[_Question, Judgement]) -> None:
        with self._lock:
            self._answers.update((q, said) for q, said in answers.items() if not said.problem)
            while len(self._answers) > _KNOWN_ANSWERS:
                self._answers.popitem(last=False)


def _question(pair: ClaimPair) -> _Question:
    """All that an answer depends on: the key of a pair is the asker's own."""
    return pair.left.model_dump_json(), pair.right.model_dump_json()


def _bar(pair: ClaimPair) -> float:
    """The cosine from which on a pair about different things is worth a question."""
    left, right = pair.claims
    near = left.about.items() & right.about.items() or _names(left, right) or _names(right, left)
    return NEAR if near else NEAR_ELSEWHERE


def _names(claim: Claim, other: Claim) -> bool:
    """Whether a claim speaks of something the other is about."""
    said = set(content(claim.statement))
    return any(set(content(value)) <= said for value in other.about.values())


def _cosine(left: bytes, right: bytes) -> float:
    one, other = (np.frombuffer(vector, dtype="<f4") for vector in (left, right))
    return float(one @ other)


# ---------------------------------------------------------------------------- what is read


def thinned(session: SessionInput) -> SessionInput | None:
    """The session as far as it may teach something; None when no turn of a person can.

    Kept are a person's turns that may teach, the person's turn before each of them (a correction
    may start there), and what an agent said last before either.
    """
    kept = sorted(_kept(session.turns))
    if not kept:
        return None
    led_up = any(session.turns[place].role is Role.AGENT for place in kept[:1])
    return session.model_copy(
        update={
            "turns": tuple(_shortened(session.turns[place]) for place in kept),
            "context": () if led_up else _last_of_agent(session.context),
        }
    )


def _kept(turns: Sequence[Turn]) -> set[int]:
    spoken = [n for n, turn in enumerate(turns) if turn.kind in _READ]
    people = [n for n in spoken if turns[n].role is Role.HUMAN]
    kept: set[int] = set()
    for place, number in enumerate(people):
        if may_teach(turns[number]):
            kept |= {number, *people[max(place - 1, 0) : place]}
    for number in sorted(kept):
        before = next((n for n in reversed(spoken) if n < number), None)
        if before is not None and turns[before].role is Role.AGENT:
            kept.add(before)
    return kept


def _last_of_agent(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    said = [turn for turn in turns if turn.role is Role.AGENT and turn.kind in _READ]
    return tuple(said[-1:])


def may_teach(turn: Turn) -> bool:
    """False for a person's turn that certainly teaches nothing: thanks, questions, small talk.

    What was filed as a correction, and what says in so many words that it lasts, always may.
    """
    own = prose(turn.text) or turn.text.strip()
    if not own or cues.is_acknowledgement(own):
        return False
    if turn.kind is EventKind.CORRECTION or cues.read(own).standing:
        return True
    return any(_may_teach(piece) for piece in pieces_of(own))


def _may_teach(text: str) -> bool:
    return cues.finds_fault(text) or (
        read_intent(text, correction=False).scores["nothing"] < NOTHING_FROM
    )


def _shortened(turn: Turn) -> Turn:
    if turn.role is not Role.HUMAN or len(turn.text) <= LONG_CHARS:
        return turn
    own = prose(turn.text)
    return turn.model_copy(update={"text": own}) if own else turn
