"""The ``markdown`` compiler: notes by scope and subject, each with what speaks for it."""

from __future__ import annotations

from collections.abc import Sequence

from sleep_runtime.core.note import Note
from sleep_runtime.core.ports import Compiled, ScoredNote
from sleep_runtime.core.text import quoted_line
from sleep_runtime.present.lines import frame, sentence, wrap
from sleep_runtime.present.tokens import EstimatedTokens, TokenCounter


class MarkdownCompiler:
    """Grouped by scope (the nearest first) and subject, one bullet a note, with its provenance.

    Takes notes in the order given, best first, as long as they fit into ``budget_tokens``; one
    that does not fit is passed over. Headings and the fence are part of the budget. With nothing
    to say, or no room to say it, the text is empty. Stateless: any thread.
    """

    name = "markdown"

    def __init__(self, counter: TokenCounter | None = None) -> None:
        self._counter = counter or EstimatedTokens()

    def compile(self, notes: Sequence[ScoredNote], *, query: str, budget_tokens: int) -> Compiled:  # noqa: ARG002
        """Part of the port; ``query`` is not used: the order of ``notes`` says what answers it."""
        chosen = self._choose([scored.note for scored in notes], budget_tokens)
        while True:
            compiled = wrap(
                _render(chosen),
                [note.id for note in _grouped(chosen)],
                compiler=self.name,
                counter=self._counter,
            )
            if compiled.tokens <= budget_tokens or not chosen:
                return compiled
            chosen.pop()

    def _choose(self, notes: Sequence[Note], budget_tokens: int) -> list[Note]:
        """Add up lines, headings when they are first needed. The caller checks the whole."""
        left = budget_tokens - frame(self._counter)
        chosen: list[Note] = []
        opened: set[tuple[str, str]] = set()
        for note in notes:
            headings = _headings(note)
            lines = [line for key, line in headings.items() if key not in opened]
            cost = sum(self._counter.count(f"{line}\n") for line in (*lines, _bullet(note)))
            if cost <= left:
                left -= cost
                chosen.append(note)
                opened.update(headings)
        return chosen


def _grouped(notes: Sequence[Note]) -> list[Note]:
    """Nearest scope first, then by subject; within one the given order stays."""
    return sorted(notes, key=lambda n: (-n.scope.tier, n.scope, _subject(n)))


def _render(notes: Sequence[Note]) -> str:
    lines: list[str] = []
    opened: set[tuple[str, str]] = set()
    for note in _grouped(notes):
        headings = _headings(note)
        lines += [line for key, line in headings.items() if key not in opened]
        opened.update(headings)
        lines.append(_bullet(note))
    return "\n".join(lines)


def _headings(note: Note) -> dict[tuple[str, str], str]:
    """The headings a note stands under: its scope and, if it has one, its subject."""
    headings = {(str(note.scope), ""): f"## {note.scope}"}
    if subject := _subject(note):
        headings[str(note.scope), subject] = f"### {subject}"
    return headings


def _subject(note: Note) -> str:
    return quoted_line(note.claim.subject)


def _bullet(note: Note) -> str:
    return f"- {sentence(note)} ({provenance(note)})"


def provenance(note: Note) -> str:
    """Who stands behind a note, for a reader: ``3 people, 5 sessions, 0.93``."""
    support = note.support
    people = _counted(support.people, "person", "people")
    return f"{people}, {_counted(support.sessions, 'session', 'sessions')}, {note.confidence:.2f}"


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
