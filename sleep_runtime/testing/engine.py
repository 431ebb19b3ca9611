"""ScriptedEngine: an engine whose answers are written down beforehand, for tests.

    engine = ScriptedEngine(
        drafts={"use adjusted EBITDA": [Draft(...)]},
        verdicts={("use tabs", "use spaces"): Verdict.EXCLUDES},
    )

A script may also be a function. Deterministic; holds no state but the record of what was asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from sleep_runtime.core.errors import EngineUnavailable
from sleep_runtime.core.observation import (
    Claim,
    Distillation,
    Draft,
    Durability,
    SessionInput,
    Usage,
)
from sleep_runtime.core.proposal import ClaimPair, Judgement, Verdict


class Line(NamedTuple):
    """What the scripted engine notes when a turn holds the text it is listed under."""

    claim: Claim
    durability: Durability = Durability.STANDING


Drafts = Mapping[str, Sequence[Line]] | Callable[[SessionInput], Distillation]
Verdicts = Mapping[tuple[str, str], Verdict] | Callable[[ClaimPair], Judgement]


class ScriptedEngine:
    """Implements the Engine port.

    ``drafts``: by a piece of text, the lines noted for every turn that holds it (case ignored; the
    turn is the evidence). ``verdicts``: by two statements in either order; pairs that are not
    listed are unrelated. ``available_calls`` bounds how many calls are answered before the engine
    raises ``EngineUnavailable``; ``asked_sessions`` and ``asked_pairs`` record the questions.
    """

    def __init__(
        self,
        drafts: Drafts | None = None,
        verdicts: Verdicts | None = None,
        *,
        name: str = "scripted",
        available_calls: int | None = None,
    ) -> None:
        self._drafts: Drafts = drafts if drafts is not None else {}
        self._verdicts: Verdicts = verdicts if verdicts is not None else {}
        self._name = name
        self._calls_left = available_calls
        self._usage = Usage()
        self.asked_sessions: list[SessionInput] = []
        self.asked_pairs: list[ClaimPair] = []

    @property
    def name(self) -> str:
        return self._name

    @property
    def usage(self) -> Usage:
        return self._usage

    def distil(self, sessions: Sequence[SessionInput]) -> list[Distillation]:
        self._count_call()
        self.asked_sessions += sessions
        return [self._distil(session) for session in sessions]

    def compare(self, pairs: Sequence[ClaimPair]) -> list[Judgement]:
        self._count_call()
        self.asked_pairs += pairs
        return [self._compare(pair) for pair in pairs]

    def _count_call(self) -> None:
        if self._calls_left is not None:
            if self._calls_left == 0:
                raise EngineUnavailable("the script has no more calls", field="engine")
            self._calls_left -= 1
        self._usage += Usage(calls=1)

    def _distil(self, session: SessionInput) -> Distillation:
        if callable(self._drafts):
            return self._drafts(session)
        return Distillation(drafts=tuple(_lines(self._drafts, session)))

    def _compare(self, pair: ClaimPair) -> Judgement:
        if callable(self._verdicts):
            return self._verdicts(pair)
        left, right = pair.left.statement, pair.right.statement
        verdict = self._verdicts.get((left, right)) or self._verdicts.get((right, left))
        if verdict is None:
            return Judgement(verdict=Verdict.UNRELATED, reason="not in the script")
        return Judgement(verdict=verdict, reason="as scripted", score=1.0)


def _lines(script: Mapping[str, Sequence[Line]], session: SessionInput) -> Iterator[Draft]:
    for turn in session.turns:
        for key in sorted(script):
            if key.casefold() in turn.text.casefold():
                for line in script[key]:
                    yield Draft(
                        claim=line.claim, durability=line.durability, evidence=(turn.event_id,)
                    )
