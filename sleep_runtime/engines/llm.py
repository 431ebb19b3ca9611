"""LlmEngine: answers the roles' questions by asking a writing model, one narrow question at a time.

Per part of a session: what do these lines state that lasts? Per pair: same, excludes, unrelated?
Short parts of one scope share a question (``llm_packs``), and so do pairs (``llm_sheets``).
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
    Distillation,
    Draft,
    SessionInput,
    Usage,
)
from sleep_runtime.core.ports import ChatAnswer, ChatModel, ChatRequest, Interruptible, Loading
from sleep_runtime.core.proposal import ClaimPair, Judgement, Verdict
from sleep_runtime.engines.json_schema import schema_of
from sleep_runtime.engines.llm_answers import CompareAnswer, DistilAnswer, drafts_of
from sleep_runtime.engines.llm_lines import parts_of, unshow
from sleep_runtime.engines.llm_packs import Member, Pack, packs_of
from sleep_runtime.engines.llm_sheets import Sheet, SheetAnswer, claim_line, sheets_of
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
    asked the same again: ``<key>/<part>`` of a session, ``<key>`` of a pair, a hash of the keys of
    all that share it.

    A session is read in parts of at most ``max_session_chars``; up to ``max_parts`` short ones of
    one scope share a question, and so do up to ``max_pairs`` pairs of one ``compare``, all of which
    are seen by one scope. ``max_batch`` questions go to the model at a time. Raises
    ``EngineUnavailable`` when the model cannot be reached: the answers of that call are then lost,
    so ask for as many sessions or pairs as may be asked again.
    """

    def __init__(
        self,
        chat: ChatModel,
        *,
        max_session_chars: int = 6000,
        max_output_tokens: int = 1024,
        max_batch: int = 64,
        max_parts: int = 1,
        max_pairs: int = 1,
    ) -> None:
        if min(max_session_chars, max_output_tokens, max_batch, max_parts, max_pairs) < 1:
            raise ValueError("limits must be positive")
        self._chat = chat
        self._max_session_chars = max_session_chars
        self._max_output_tokens = max_output_tokens
        self._max_batch = max_batch
        self._max_parts = max_parts
        self._max_pairs = max_pairs
        self._distil_prompt = load_prompt("distil")
        self._compare_prompt = load_prompt("compare")
        self._sheet_prompt = load_prompt("compare_sheet")
        self._distil_schema = schema_of(DistilAnswer)
        self._compare_schema = schema_of(CompareAnswer)
        self._sheet_schema = schema_of(SheetAnswer)
        self._usage = Usage()
        self._lock = threading.Lock()

    @cached_property
    def name(self) -> str:
        """``llm:<model>:<version>``, the version a hash of prompts, schemas and limits."""
        version = digest(
            RENDERING,
            canonical_json([self._distil_prompt, self._compare_prompt, self._sheet_prompt]),
            # Not canonical: the order of the keys is the order of the answer.
            repr([self._distil_schema, self._compare_schema, self._sheet_schema]),
            f"{self._max_session_chars} {self._max_output_tokens}",
            f"{self._max_parts} {self._max_pairs}",
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

        A part without a usable answer leaves the other parts' drafts standing. What a question for
        several sessions cost counts with the first of them.
        """
        parts = [
            Member(place, session.scope, part, f"{session_key(session, self.name)}/{number}")
            for place, session in enumerate(sessions)
            for number, part in enumerate(parts_of(session, max_chars=self._max_session_chars))
        ]
        packs = packs_of(parts, max_chars=self._max_session_chars, max_parts=self._max_parts)
        answers = self._ask([self._distil_request(pack) for pack in packs])
        reads = [_Read() for _ in sessions]
        for pack, answer in zip(packs, answers, strict=True):
            _read(reads, pack, answer)
        return [_distillation(read) for read in reads]

    def _distil_request(self, pack: Pack) -> ChatRequest:
        return ChatRequest(
            id=pack.key,
            messages=(*self._distil_prompt, ("user", pack.render())),
            json_schema=self._distil_schema,
            max_output_tokens=self._max_output_tokens,
        )

    # -- compare

    def compare(self, pairs: Sequence[ClaimPair]) -> list[Judgement]:
        """One judgement for each pair, in order. ``score`` is 1 for same and excludes, else 0."""
        if self._max_pairs == 1:
            alone = [self._compare_request(pair) for pair in pairs]
            return [_judgement(answer) for answer in self._ask(alone)]
        sheets = sheets_of(pairs, max_pairs=self._max_pairs)
        answers = self._ask([self._sheet_request(sheet) for sheet in sheets])
        judged: dict[int, Judgement] = {}
        for sheet, answer in zip(sheets, answers, strict=True):
            judged |= zip(sheet.places, _judgements(sheet, answer), strict=True)
        return [judged[place] for place in range(len(pairs))]

    def _sheet_request(self, sheet: Sheet) -> ChatRequest:
        return ChatRequest(
            id=sheet.key(self.name),
            messages=(*self._sheet_prompt, ("user", sheet.render())),
            json_schema=self._sheet_schema,
            max_output_tokens=min(self._max_output_tokens, 512),
        )

    def _compare_request(self, pair: ClaimPair) -> ChatRequest:
        notes = f"<notes>\nA: {claim_line(pair.left)}\nB: {claim_line(pair.right)}\n</notes>"
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


def _read(reads: Sequence[_Read], pack: Pack, answer: ChatAnswer) -> None:
    reads[pack.members[0].place].usage += answer.usage
    parsed = _parse(answer, DistilAnswer)
    if isinstance(parsed, str):
        for member in pack.members:
            reads[member.place].problems.append(parsed)
        return
    for member, items in pack.shared(parsed.items):
        drafts, dropped = drafts_of(items, member.part.lines)
        reads[member.place].drafts += drafts
        reads[member.place].dropped += dropped


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


def _judgements(sheet: Sheet, answer: ChatAnswer) -> list[Judgement]:
    parsed = _parse(answer, SheetAnswer)
    if isinstance(parsed, str):
        return [Judgement(problem=parsed[:_MAX_PROBLEM_CHARS])] * len(sheet.pairs)
    return [_said(verdict, parsed.reasoning) for verdict in sheet.verdicts(parsed)]


def _said(verdict: Verdict | None, reasoning: str) -> Judgement:
    if verdict is None:
        return Judgement(problem="two verdicts for one pair")
    score = 0.0 if verdict is Verdict.UNRELATED else 1.0
    return Judgement(verdict=verdict, reason=unshow(reasoning), score=score)


def _judgement(answer: ChatAnswer) -> Judgement:
    parsed = _parse(answer, CompareAnswer)
    if isinstance(parsed, str):
        return Judgement(problem=parsed[:_MAX_PROBLEM_CHARS])
    return _said(parsed.verdict, parsed.reasoning)
