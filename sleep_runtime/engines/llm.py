"""LlmEngine: answers the roles' questions by asking a writing model, one narrow question at a time.

Per part of a session: what do these lines state that lasts? Per pair: same, excludes, unrelated?
Everything a call shares with others (system text, worked examples) comes first and is the same
for every tenant; what follows is one delimited piece of data.

What is not usable is not learned: an invalid answer is a ``problem`` in its place. Of a valid
answer, items without a true quote are dropped. ``Distillation`` has no field for them, so: when
nothing is left, ``problem`` says what was dropped; otherwise the first draft's ``why`` does.
"""

from __future__ import annotations

import copy
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from sleep_runtime.consolidation.generate import session_key
from sleep_runtime.consolidation.reflect import judgement_key
from sleep_runtime.core.errors import EngineUnavailable
from sleep_runtime.core.ids import canonical_json, digest
from sleep_runtime.core.observation import (
    Claim,
    Distillation,
    Draft,
    SessionInput,
    Usage,
)
from sleep_runtime.core.ports import ChatAnswer, ChatModel, ChatRequest, Interruptible, Loading
from sleep_runtime.core.proposal import ClaimPair, Judgement, Verdict
from sleep_runtime.engines.json_schema import schema_of
from sleep_runtime.engines.llm_answers import CompareAnswer, DistilAnswer, drafts_of
from sleep_runtime.engines.llm_lines import Part, parts_of, show, unshow
from sleep_runtime.engines.prompt import load_prompt

# Raise it when the text around the data changes: answers pinned before keep their name.
RENDERING = "1"
_MAX_WHY_CHARS = 400
_MAX_PROBLEM_CHARS = 400
Parsed = TypeVar("Parsed", bound=BaseModel)


@dataclass
class _Read:
    """What the parts of one session gave."""

    drafts: list[Draft] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)


class LlmEngine:
    """An ``Engine`` over any ``ChatModel``. Thread-safe if the model is.

    A question is named by the key its answer is pinned under, so that a model can tell that it is
    asked the same again: ``<key>/<part>`` of a session, ``<key>`` of a pair.

    A session is read in parts of at most ``max_session_chars``; ``max_batch`` questions go to the
    model at a time. Raises ``EngineUnavailable`` when the model cannot be reached: the answers of
    that call are then lost, so ask for as many sessions or pairs as may be asked again.
    """

    def __init__(
        self,
        chat: ChatModel,
        *,
        max_session_chars: int = 6000,
        max_output_tokens: int = 1024,
        max_batch: int = 64,
    ) -> None:
        if min(max_session_chars, max_output_tokens, max_batch) < 1:
            raise ValueError("limits must be positive")
        self._chat = chat
        self._max_session_chars = max_session_chars
        self._max_output_tokens = max_output_tokens
        self._max_batch = max_batch
        self._distil_prompt = load_prompt("distil")
        self._compare_prompt = load_prompt("compare")
        self._distil_schema = schema_of(DistilAnswer)
        self._compare_schema = schema_of(CompareAnswer)
        self._usage = Usage()
        self._lock = threading.Lock()

    @cached_property
    def name(self) -> str:
        """``llm:<model>:<version>``, the version a hash of prompts, schemas and limits."""
        version = digest(
            RENDERING,
            canonical_json([self._distil_prompt, self._compare_prompt]),
            # Not canonical: the order of the keys is the order of the answer.
            repr([self._distil_schema, self._compare_schema]),
            f"{self._max_session_chars} {self._max_output_tokens}",
        )
        return f"llm:{self._chat.name}:{version[:12]}"

    @property
    def usage(self) -> Usage:
        with self._lock:
            return self._usage

    # -- the model's life

    def fork(self) -> LlmEngine:
        """An engine over the same model, whose ``usage`` starts at nothing."""
        other = copy.copy(self)
        other._usage, other._lock = Usage(), threading.Lock()  # noqa: SLF001 - one of our own
        return other

    def load(self) -> None:
        """Load the model now, where it is one of this process. Raises ``EngineUnavailable``."""
        if isinstance(self._chat, Loading):
            self._chat.load()

    def abort(self, reason: str) -> None:
        """End what is in flight, where the model can: its callers get ``EngineUnavailable``."""
        if isinstance(self._chat, Interruptible):
            self._chat.abort(reason)

    def pause(self) -> None:
        """Refuse questions and let go of memory, where the model can."""
        if isinstance(self._chat, Interruptible):
            self._chat.pause()

    def resume(self) -> None:
        """Take questions again."""
        if isinstance(self._chat, Interruptible):
            self._chat.resume()

    # -- distil

    def distil(self, sessions: Sequence[SessionInput]) -> list[Distillation]:
        """One distillation for each session, in order. A session without spoken lines costs none.

        A part without a usable answer leaves the other parts' drafts standing.
        """
        asked = [
            (place, part, f"{session_key(session, self.name)}/{number}")
            for place, session in enumerate(sessions)
            for number, part in enumerate(parts_of(session, max_chars=self._max_session_chars))
        ]
        answers = self._ask([self._distil_request(part, key) for _, part, key in asked])
        reads = [_Read() for _ in sessions]
        for (place, part, _), answer in zip(asked, answers, strict=True):
            _read(reads[place], part, answer)
        return [_distillation(read) for read in reads]

    def _distil_request(self, part: Part, key: str) -> ChatRequest:
        return ChatRequest(
            id=key,
            messages=(*self._distil_prompt, ("user", part.render())),
            json_schema=self._distil_schema,
            max_output_tokens=self._max_output_tokens,
        )

    # -- compare

    def compare(self, pairs: Sequence[ClaimPair]) -> list[Judgement]:
        """One judgement for each pair, in order. ``score`` is 1 for same and excludes, else 0."""
        answers = self._ask([self._compare_request(pair) for pair in pairs])
        return [_judgement(answer) for answer in answers]

    def _compare_request(self, pair: ClaimPair) -> ChatRequest:
        notes = f"<notes>\nA: {_claim(pair.left)}\nB: {_claim(pair.right)}\n</notes>"
        return ChatRequest(
            id=judgement_key(pair, self.name),
            messages=(*self._compare_prompt, ("user", notes)),
            json_schema=self._compare_schema,
            max_output_tokens=min(self._max_output_tokens, 256),
        )

    # -- both

    def _ask(self, requests: Sequence[ChatRequest]) -> list[ChatAnswer]:
        answers: list[ChatAnswer] = []
        for start in range(0, len(requests), self._max_batch):
            answers += self._ask_some(requests[start : start + self._max_batch])
        return answers

    def _ask_some(self, requests: Sequence[ChatRequest]) -> list[ChatAnswer]:
        try:
            answers = self._chat.chat(requests)
        except EngineUnavailable as error:
            spent = getattr(error, "usage", None)
            self._spend(spent if isinstance(spent, Usage) else Usage())
            raise
        self._spend(sum((answer.usage for answer in answers), Usage()))
        if len(answers) != len(requests):
            problem = f"{len(answers)} answers to {len(requests)} questions"
            return [ChatAnswer(problem=problem)] * len(requests)
        return answers

    def _spend(self, usage: Usage) -> None:
        with self._lock:
            self._usage += usage


def _read(read: _Read, part: Part, answer: ChatAnswer) -> None:
    read.usage += answer.usage
    parsed = _parse(answer, DistilAnswer)
    if isinstance(parsed, str):
        read.problems.append(parsed)
        return
    drafts, dropped = drafts_of(parsed.items, part.lines)
    read.drafts += drafts
    read.dropped += dropped


def _parse(answer: ChatAnswer, model: type[Parsed]) -> Parsed | str:
    """The answer as its model, or the problem with it. The model's values are not repeated."""
    if answer.problem or answer.object is None:
        return answer.problem or "no answer"
    try:
        return model.model_validate(answer.object)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        at = ".".join(str(step) for step in first["loc"] if isinstance(step, int) or step.isascii())
        return f"outside its schema: {at[:80]} {first['type']}"


def _distillation(read: _Read) -> Distillation:
    missing = "; ".join(_missing(read))
    if not read.drafts:
        return Distillation(problem=missing[:_MAX_PROBLEM_CHARS], usage=read.usage)
    if not missing:
        return Distillation(drafts=tuple(read.drafts), usage=read.usage)
    first = read.drafts[0]
    why = f"{first.why}; beside it: {missing}"[:_MAX_WHY_CHARS]
    noted = first.model_copy(update={"why": why})
    return Distillation(drafts=(noted, *read.drafts[1:]), usage=read.usage)


def _missing(read: _Read) -> Iterator[str]:
    """What the answers lacked, in words; nothing when there was simply nothing to learn."""
    if read.problems:
        yield f"{len(read.problems)} parts without a usable answer, the first: {read.problems[0]}"
    if read.dropped:
        codes = ", ".join(f"{code} {count}" for code, count in sorted(read.dropped.items()))
        yield f"items dropped: {codes}"


def _judgement(answer: ChatAnswer) -> Judgement:
    parsed = _parse(answer, CompareAnswer)
    if isinstance(parsed, str):
        return Judgement(problem=parsed[:_MAX_PROBLEM_CHARS])
    score = 0.0 if parsed.verdict is Verdict.UNRELATED else 1.0
    return Judgement(verdict=parsed.verdict, reason=unshow(parsed.reasoning), score=score)


def _claim(claim: Claim) -> str:
    """A claim on one line, as in the worked examples. Empty slots are left out."""
    slots = {
        "subject": claim.subject,
        "aspect": claim.aspect,
        "value": claim.value,
        "applies when": claim.applies_when,
        "about": ", ".join(f"{key}={value}" for key, value in sorted(claim.about.items())),
    }
    said = [claim.statement, *(f"{name}: {text}" for name, text in slots.items() if text)]
    return " | ".join(show(text) for text in said)
