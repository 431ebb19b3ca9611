"""Quoted: what a person's turn repeats of a tool's or a document's text.

Who pastes a page, or repeats a sentence of it, shows it: it is not yet their word. The same lesson
in words of their own is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

RUN_WORDS = 6
"""So many words in a row that stood in foreign text are a quotation of it."""
SENTENCE_WORDS = 4
"""A whole sentence that stood there is one from so many words on."""
OMITTED = "[\u2026]"
_WORD = re.compile(r"[^\W_]+")
_BREAK = re.compile(r"[.!?;:]\s|\n")
_BLOCK = re.compile(r"(?:```|~~~).*?(?:```|~~~|\Z)|^[ \t]*>[^\n]*$", re.DOTALL | re.MULTILINE)
_MAX_CHARS = 1_000_000


class Foreign:
    """Untrusted text that was read, in a session or in a night; the first million letters."""

    def __init__(self) -> None:
        self._runs: set[int] = set()
        self._left = _MAX_CHARS
        self._all: list[str] = []

    @property
    def heard(self) -> bool:
        """True once there was any."""
        return bool(self._all)

    def hear(self, text: str) -> None:
        """Remember a text."""
        part = text[: self._left]
        self._left -= len(part)
        said = _words(part)
        self._runs.update(_runs(said))
        self._all.append(f" {' '.join(said)} ")

    def repeated_in(self, text: str) -> bool:
        """Whether any of this is said again in the text."""
        return self.without(text) != text

    def without(self, text: str) -> str:
        """The text without what it repeats; as it is when it repeats nothing."""
        if not self._all:
            return text
        spans = [*self._repeated_runs(text), *self._repeated_sentences(text)]
        return _cut(text, sorted(spans)) if spans else text

    def _repeated_runs(self, text: str) -> Iterator[tuple[int, int]]:
        found = list(_WORD.finditer(text))
        said = [word[0].casefold() for word in found]
        for place, run in enumerate(_runs(said)):
            if run in self._runs:
                yield found[place].start(), found[place + RUN_WORDS - 1].end()

    def _repeated_sentences(self, text: str) -> Iterator[tuple[int, int]]:
        start = 0
        for end in [*(found.start() for found in _BREAK.finditer(text)), len(text)]:
            said = _words(text[start:end])
            if len(said) >= SENTENCE_WORDS:
                line = f" {' '.join(said)} "
                if any(line in whole for whole in self._all):
                    yield start, end
            start = end


def own_prose(text: str) -> str:
    """The text without blocks that are marked as quoted or as code: what may carry a statement."""
    if "```" not in text and "~~~" not in text and ">" not in text:
        return text
    return _BLOCK.sub("\n", text)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _runs(said: list[str]) -> Iterator[int]:
    for place in range(len(said) - RUN_WORDS + 1):
        yield hash(tuple(said[place : place + RUN_WORDS]))


def _cut(text: str, spans: list[tuple[int, int]]) -> str:
    kept: list[str] = []
    done = 0
    for start, end in spans:
        if start > done:
            kept += [text[done:start], OMITTED]
        elif not kept:
            kept.append(OMITTED)
        done = max(done, end)
    kept.append(text[done:])
    return "".join(kept).strip()
