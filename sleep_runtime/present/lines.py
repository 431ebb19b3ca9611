"""Notes as lines of a prompt: nothing in a note's text can pose as structure of ours."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sleep_runtime.core.event import Trust
from sleep_runtime.core.fence import fence
from sleep_runtime.core.note import Note, NoteStatus
from sleep_runtime.core.ports import Compiled
from sleep_runtime.core.text import quoted_line
from sleep_runtime.present.tokens import TokenCounter

# What markdown reads as structure when a line begins with it.
_CONTROL = re.compile(r"[#>*+\-=_`~|<\[:!]")
_NUMBERED = re.compile(r"(\d+)([.)])")

_NOT_A_PERSONS = {Trust.AGENT: "noticed by agents", Trust.UNTRUSTED: "untrusted"}


def plain(text: str) -> str:
    """The text on one line, its beginning escaped where markdown would take it for structure."""
    line = quoted_line(text)
    if _CONTROL.match(line):
        return "\\" + line
    return _NUMBERED.sub(r"\1\\\2", line, count=1) if _NUMBERED.match(line) else line


def sentence(note: Note) -> str:
    """The statement, with when it applies, marked when not in force or not a person's word."""
    claim = note.claim
    text = plain(claim.statement)
    if when := quoted_line(claim.applies_when):
        text += f" (when: {when})"
    marks = [] if note.status is NoteStatus.ACTIVE else [note.status.value]
    if note.trust is not Trust.HUMAN:
        marks.append(_NOT_A_PERSONS[note.trust])
    return f"[{', '.join(marks)}] {text}" if marks else text


def frame(counter: TokenCounter) -> int:
    """What the fence costs beside lines that are each counted with their line break."""
    return counter.count(fence("")) - counter.count("\n")


def wrap(text: str, notes: Sequence[str], *, compiler: str, counter: TokenCounter) -> Compiled:
    """The compiled context: fenced and counted, or empty text when there is nothing to say."""
    fenced = fence(text) if notes else ""
    tokens = counter.count(fenced) if notes else 0
    return Compiled(text=fenced, notes=tuple(notes), compiler=compiler, tokens=tokens)
