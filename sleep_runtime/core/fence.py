"""The fence around context we hand out, by which the Generator knows its own words again."""

from __future__ import annotations

import re

OPEN = "<sleep-context>"
CLOSE = "</sleep-context>"
_FENCED = re.compile(r"<sleep-context>.*?(?:</sleep-context>|\Z)", re.DOTALL)
_MARKER = re.compile(r"<\s*/?\s*sleep-context\s*/?\s*>", re.IGNORECASE)


def fence(text: str) -> str:
    """Wrap compiled context. Fence marks inside the text are taken out, so it cannot break out."""
    return f"{OPEN}\n{without_marks(text)}\n{CLOSE}"


def without_marks(text: str) -> str:
    """The text without fence marks, also those that only stand once others are taken out."""
    while (cleaned := _MARKER.sub("", text)) != text:
        text = cleaned
    return text


def strip_fenced(text: str) -> str:
    """The text without anything that stands inside a fence, closed or not."""
    return _FENCED.sub("", text)
