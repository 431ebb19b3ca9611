"""Right: a model that answers as a right answer would be, so that answers have their real length.

No large model is asked here. What a turn teaches and how two notes relate is what the built-in
engine says; it is put into the schema of the writing model's answers. One lesson has one answer,
whoever asks, so that the ways of learning differ by what they ask and not by what they are told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.economy.counting import Meter
from sleep_runtime.core.observation import Distillation, Draft, Durability, SessionInput, Usage
from sleep_runtime.core.ports import ChatAnswer, ChatRequest, Engine
from sleep_runtime.core.proposal import ClaimPair, Judgement, Verdict
from sleep_runtime.engines.llm import LlmEngine
from sleep_runtime.engines.llm_lines import MAX_LINE_CHARS, show
from sleep_runtime.engines.llm_sheets import claim_line, note_line

MAX_ITEMS = 8
QUOTE_WORDS = 12
_LINE = re.compile(r"^([HA]\d+): (.*)$", re.MULTILINE)
_NOTE = re.compile(r"^(\w+): (.*)$", re.MULTILINE)
_PAIRS = re.compile(r"<pairs>(.*)</pairs>")


def item(draft: Draft, labels: Sequence[str], quote: str) -> dict[str, Any]:
    """A lesson as an item of an answer."""
    claim = draft.claim
    doubtful = draft.durability is Durability.DOUBTFUL
    return {
        "lines": list(labels)[:4],
        "quote": quote,
        "statement": claim.statement[:240],
        "kind": claim.kind.value,
        "subject": claim.subject[:80],
        "aspect": claim.aspect[:80],
        "value": claim.value[:120],
        "applies_when": claim.applies_when[:120],
        "durability": Durability.UNCLEAR.value if doubtful else draft.durability.value,
    }


def distilled(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The answer with these items, its reasoning a sentence for each."""
    said = [f"{one['lines'][0]} states what is to be done, {one['durability']}." for one in items]
    reasoning = " ".join(said) or "Nothing in these lines lasts beyond the work at hand."
    return {"reasoning": reasoning[:400], "items": list(items)}


def quote_of(line: str) -> str:
    """The first words of a line, as it stands there."""
    return " ".join(line.split(" ")[:QUOTE_WORDS])[:200]


class RightModel:
    """A ``ChatModel``. It knows the answers that ``Asking`` has put down for it."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.lessons: dict[str, list[Draft]] = {}
        self.relations: dict[frozenset[str], Verdict] = {}
        self.by_kind: dict[str, Usage] = {}

    @property
    def name(self) -> str:
        return "right"

    def chat(self, requests: Sequence[ChatRequest]) -> list[ChatAnswer]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: ChatRequest) -> ChatAnswer:
        asked = request.messages[-1][1]
        kind = "compare" if asked.startswith("<notes>") else "distil"
        answer = self._compared(asked) if kind == "compare" else self._distilled(asked)
        cost = self.meter.call(request.messages, answer)
        self.by_kind[kind] = self.by_kind.get(kind, Usage()) + cost
        return ChatAnswer(object=answer, usage=cost)

    def _distilled(self, asked: str) -> dict[str, Any]:
        found: dict[int, tuple[Draft, list[str], str]] = {}
        for label, line in _LINE.findall(asked):
            for draft in self.lessons.get(line, ()):
                found.setdefault(id(draft), (draft, [], quote_of(line)))[1].append(label)
        return distilled([item(*each) for each in found.values()][:MAX_ITEMS])

    def _compared(self, asked: str) -> dict[str, Any]:
        notes = dict(_NOTE.findall(asked))
        pairs = _PAIRS.search(asked)
        if pairs is None:
            verdict = self._relation(notes["A"], notes["B"])
            return {"reasoning": _why([("A", "B", verdict)]), "verdict": verdict.value}
        named = [tuple(name.split("-")) for name in pairs[1].split(", ")]
        judged = [(a, b, self._relation(notes[a], notes[b])) for a, b in named]
        related = [each for each in judged if each[2] is not Verdict.UNRELATED]
        return {
            "reasoning": _why(related),
            "related": [{"pair": f"{a}-{b}", "verdict": v.value} for a, b, v in related],
        }

    def _relation(self, left: str, right: str) -> Verdict:
        return self.relations[frozenset((left, right))]


def _why(judged: Iterable[tuple[str, str, Verdict]]) -> str:
    said = {
        Verdict.SAME: "{} and {} give one thing the same value.",
        Verdict.EXCLUDES: "{} and {} give one thing two values.",
        Verdict.UNRELATED: "{} and {} are about different things.",
    }
    words = " ".join(said[verdict].format(a, b) for a, b, verdict in judged)
    return words[:400] or "The notes are about different things, so that all can be followed."


class Asking:
    """The ``Engine`` that is measured: ``LlmEngine``, whose model is told the right answers."""

    def __init__(self, engine: LlmEngine, model: RightModel, knows: Engine) -> None:
        self._engine, self._model, self._knows = engine, model, knows

    @property
    def name(self) -> str:
        return self._engine.name

    @property
    def usage(self) -> Usage:
        return self._engine.usage

    def distil(self, sessions: Sequence[SessionInput]) -> list[Distillation]:
        lines = {
            turn.event_id: show(turn.text)[:MAX_LINE_CHARS]
            for session in sessions
            for turn in session.turns
        }
        self._model.lessons = by_line(self._knows.distil(sessions), lines)
        return self._engine.distil(sessions)

    def compare(self, pairs: Sequence[ClaimPair]) -> list[Judgement]:
        judged = zip(pairs, self._knows.compare(pairs), strict=True)
        self._model.relations = {
            frozenset(map(line, pair.claims)): said.verdict
            for pair, said in judged
            for line in (claim_line, note_line)
        }
        return self._engine.compare(pairs)


def by_line(answers: Iterable[Distillation], lines: Mapping[str, str]) -> dict[str, list[Draft]]:
    """The drafts by the lines they rest on."""
    found: dict[str, list[Draft]] = {}
    for draft in (draft for answer in answers for draft in answer.drafts):
        for event in draft.evidence:
            found.setdefault(lines[event], []).append(draft)
    return found
