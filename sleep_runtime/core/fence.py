"""The fence around context we hand out, by which the Generator knows its own words again."""

from __future__ import annotations

import re

OPEN = "<sleep-context>"
CLOSE = "</sleep-context>"
_FENCED = re.compile(r"<sleep-context>.*?(?:</sleep-context>|\Z)", re.DOTALL)
_MARKER = re.compile(r"</?sleep-context>")


def fence(text: str) -> str:
    """Wrap compiled context. Fence marks inside the text are taken out, so it cannot break out."""
    return f"{OPEN}\n{_MARKER.sub('', text)}\n{CLOSE}"


def strip_fenced(text: str) -> str:
    """The text without anything that stands inside a fence, closed or not."""
    return _FENCED.sub("", text)
