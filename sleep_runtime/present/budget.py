"""The ``budget`` compiler: the most that a few tokens can say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sleep_runtime.core.note import Note
from sleep_runtime.core.ports import Compiled, ScoredNote
from sleep_runtime.present.fold import Wording, says_the_same, wording
from sleep_runtime.present.lines import frame, sentence, wrap
from sleep_runtime.present.tokens import EstimatedTokens, TokenCounter

_LEAST_VALUE = 1e-3


class _Line(NamedTuple):
    place: int
    note: Note
    text: str
    tokens: int
    density: float
    said: Wording


class BudgetCompiler:
    """One terse sentence a note, chosen greedily by score x confidence per token.

    Near-duplicates are folded: of two sentences that say the same, one adding at most a few words,
    only the better one is shown. ``budget_tokens`` is never exceeded by the counter's count,
    fence included; with nothing to say, or no room to say it, the text is empty. Sentences stand
    in the order given, best first. Stateless: any thread.
    """

    name = "budget"

    def __init__(self, counter: TokenCounter | None = None) -> None:
        self._counter = counter or EstimatedTokens()

    def compile(self, notes: Sequence[ScoredNote], *, query: str, budget_tokens: int) -> Compiled:  # noqa: ARG002
        """Part of the port; ``query`` is not used: the scores say how well each note answers it."""
        chosen = self._choose(notes, budget_tokens)
        while True:
            shown = sorted(chosen)
            compiled = wrap(
                "\n".join(line.text for line in shown),
                [line.note.id for line in shown],
                compiler=self.name,
                counter=self._counter,
            )
            if compiled.tokens <= budget_tokens or not chosen:
                return compiled
            chosen.pop()

    def _choose(self, notes: Sequence[ScoredNote], budget_tokens: int) -> list[_Line]:
        """The best value first. Adds lines up; the caller checks the whole."""
        left = budget_tokens - frame(self._counter)
        lines = [self._line(place, scored) for place, scored in enumerate(notes)]
        chosen: list[_Line] = []
        for line in sorted(lines, key=lambda item: (-item.density, item.place)):
            if line.tokens <= left and not any(says_the_same(line.said, o.said) for o in chosen):
                left -= line.tokens
                chosen.append(line)
        return chosen

    def _line(self, place: int, scored: ScoredNote) -> _Line:
        text = f"- {sentence(scored.note)}"
        tokens = max(1, self._counter.count(f"{text}\n"))
        value = max(scored.score, _LEAST_VALUE) * max(scored.note.confidence, _LEAST_VALUE)
        return _Line(place, scored.note, text, tokens, value / tokens, wording(scored.note))
