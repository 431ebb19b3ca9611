"""The fence around context we hand out, by which the Generator knows its own words again."""

from __future__ import annotations

import re
import unicodedata

from sleep_runtime.core.lookalikes import forms_of, plain_letters

OPEN = "<sleep-context>"
CLOSE = "</sleep-context>"
_FENCED = re.compile(
    r"<\s*sleep-context\s*>(.*?)(?:<\s*/\s*sleep-context\s*>|\Z)", re.DOTALL | re.IGNORECASE
)
# A mark as a model may read it: in any bracket, escaped, with attributes, not closed, misspelt.
_LEFT = r"(?:[<\[{]|&(?:amp;)*(?:lt|#0*60|#x0*3c);?|\\u003c|\\x3c|%3c)"
_RIGHT = r"(?:[>\]}]|&(?:amp;)*(?:gt|#0*62|#x0*3e);?|\\u003e|\\x3e|%3e)"
_MARK = re.compile(
    rf"{_LEFT}[\s/\\|!?%2fF]*[s5$][\s\W_]{{0,3}}?[l1i|][\s\W_]{{0,3}}?[e3][\s\W_]{{0,3}}?[e3]"
    rf"[\s\W_]{{0,3}}?p[\s\W_]{{0,6}}c[\s\W_]{{0,3}}?[o0][\s\W_]{{0,3}}?n[\s\W_]{{0,3}}?t"
    rf"[\s\W_]{{0,3}}?[e3][\s\W_]{{0,3}}?x[\s\W_]{{0,3}}?t(?:[^<>\n]{{0,60}}?{_RIGHT})?"
)

_LEFTS = forms_of("<[{&\\%")
"""What a mark may begin with: most texts have none of them, and need no closer look."""


def fence(text: str) -> str:
    """Wrap compiled context. Fence marks inside the text are taken out, so it cannot break out."""
    return f"{OPEN}\n{without_marks(text)}\n{CLOSE}"


def without_marks(text: str) -> str:
    """The text without fence marks, also those that only stand once others are taken out.

    A mark is one however it is spelt: in look-alike letters or brackets, with characters between
    that nobody sees, escaped for HTML, JSON or a URL, with attributes, or left open.
    """
    while not _LEFTS.isdisjoint(text) and _MARK.search(_flat(text)):
        text = _cut(text)
    return text


def strip_fenced(text: str) -> str:
    """The text without anything that stands inside a fence, closed or not."""
    return _FENCED.sub("", text)


def inside_fences(text: str) -> list[str]:
    """What stands inside each fence of the text, closed or not."""
    return _FENCED.findall(text)


def _flat(text: str) -> str:
    if text.isascii():
        return text.lower()
    return plain_letters(unicodedata.normalize("NFKD", text))


def _cut(text: str) -> str:
    """The text without every mark that is found in how it reads."""
    pieces = [_flat(char) for char in text]
    at = [place for place, piece in enumerate(pieces) for _ in piece]
    kept: list[str] = []
    start = 0
    flat = "".join(pieces)
    for found in _MARK.finditer(flat):
        kept.append(text[start : at[found.start()]])
        start = at[found.end() - 1] + 1
    kept.append(text[start:])
    return "".join(kept)
