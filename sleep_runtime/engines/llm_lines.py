"""What a writing model gets to see of a session: numbered lines of people and agents, nothing else.

Tool output, retrieved text and harness text are left out: untrusted text never stands beside the
text we learn from. Every turn is flattened to one line and loses its angle brackets, so that no
text can pose as another line, close our delimiters, or spell a control token of a chat template.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sleep_runtime.core.event import EventKind, Role, Trust
from sleep_runtime.core.observation import SessionInput, Turn

MAX_LINE_CHARS = 1500
MAX_AGENT_CHARS = 400
_MAX_BEFORE_CHARS = 240
_BEFORE_TURNS = 3
_SPEAKERS = {Role.HUMAN: "H", Role.AGENT: "A"}
_SPOKEN = frozenset({EventKind.MESSAGE, EventKind.CORRECTION})
_JOINERS = "\u200c\u200d"
_ANGLE_QUOTES = "\u2039\u203a"
_BRACKETS = str.maketrans("<>", _ANGLE_QUOTES)
_BRACKETS_BACK = str.maketrans(_ANGLE_QUOTES, "<>")


@dataclass(frozen=True)
class Line:
    """One numbered line, such as ``H2``. ``shown`` is its text exactly as the model reads it."""

    label: str
    shown: str
    turn: Turn


@dataclass(frozen=True)
class Part:
    """As much of a session as one question holds. ``before`` is read along and cannot be cited."""

    lines: tuple[Line, ...]
    before: tuple[str, ...] = ()

    def render(self) -> str:
        """The user message: delimited data, nothing else."""
        said = [f"{line.label}: {line.shown}" for line in self.lines]
        earlier = ["<before>", *self.before, "</before>"] if self.before else []
        return "\n".join([*earlier, "<lines>", *said, "</lines>"])


def parts_of(session: SessionInput, *, max_chars: int) -> list[Part]:
    """The session's spoken lines in parts of at most ``max_chars`` (at least one line each)."""
    before = _before(session.context)
    parts: list[Part] = []
    for pieces in _fill(_pieces(session.turns, max_chars), max_chars):
        lines = tuple(
            Line(f"{_SPEAKERS[turn.role]}{number}", shown, turn)
            for number, (turn, shown) in enumerate(pieces, start=1)
        )
        parts.append(Part(lines, before))
        before = _before([line.turn for line in lines])
    return parts


def one_line(text: str) -> str:
    """The text without control, format and private characters, white space runs made one space."""
    if not text.isprintable():
        text = "".join(_kept(char) for char in text)
    return " ".join(text.split())


def show(text: str) -> str:
    """Text as a model may read it: one line, no angle brackets, no bracketed template tokens."""
    line = one_line(text).translate(_BRACKETS)
    return line.replace("[INST]", "(INST)").replace("[/INST]", "(/INST)")


def unshow(text: str) -> str:
    """A model's words with the angle brackets back, cleaned to one line."""
    return one_line(text).translate(_BRACKETS_BACK)


def _kept(char: str) -> str:
    category = unicodedata.category(char)
    if category == "Cf":
        return char if char in _JOINERS else ""
    return " " if category[0] in "CZ" else char


def _spoken(turns: Iterable[Turn]) -> Iterator[Turn]:
    for turn in turns:
        if (
            turn.role in _SPEAKERS
            and turn.kind in _SPOKEN
            and turn.trust is not Trust.UNTRUSTED
            and turn.text.strip()
        ):
            yield turn


def _pieces(turns: Iterable[Turn], max_chars: int) -> Iterator[tuple[Turn, str]]:
    """Every spoken turn as lines: a person's long turn as several, an agent's cut short."""
    size = min(MAX_LINE_CHARS, max_chars)
    for turn in _spoken(turns):
        shown = show(turn.text)
        if turn.role is Role.AGENT:
            shown = _cut(shown, min(MAX_AGENT_CHARS, size))
        for start in range(0, len(shown), size):
            yield turn, shown[start : start + size]


def _fill(
    pieces: Iterable[tuple[Turn, str]], max_chars: int
) -> Iterator[Sequence[tuple[Turn, str]]]:
    room, part = max_chars, list[tuple[Turn, str]]()
    for turn, shown in pieces:
        if part and len(shown) > room:
            yield part
            room, part = max_chars, []
        part.append((turn, shown))
        room -= len(shown)
    if part:
        yield part


def _before(turns: Sequence[Turn]) -> tuple[str, ...]:
    spoken = list(_spoken(turns))[-_BEFORE_TURNS:]
    return tuple(
        f"{turn.role.value}: {_cut(show(turn.text), _MAX_BEFORE_CHARS)}" for turn in spoken
    )


def _cut(text: str, size: int) -> str:
    return text if len(text) <= size else text[: size - 1] + "…"
