"""Injected: what stands in a person's turn without the person having said it.

Harnesses put commands, skill bodies, notices and summaries into turns of role "human". They are
known by their markers. What is not the person's own word must never be learned as one.
"""

from __future__ import annotations

import re

_BLOCK_NAMES = (
    "command-name",
    "command-message",
    "command-args",
    "local-command-stdout",
    "local-command-stderr",
    "local-command-caveat",
    "system-reminder",
    "task-notification",
    "user-prompt-submit-hook",
    "ide_opened_file",
    "ide_selection",
    "environment_context",
    "user_instructions",
)
_NAMES = "|".join(re.escape(name) for name in _BLOCK_NAMES)
_BLOCK = re.compile(rf"<({_NAMES})(?:\s[^>]*)?>.*?(?:</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_IMAGE = re.compile(r"\[Image(?: #\d+|: [^\]]*)?\]")
_SPEAKER = re.compile(
    r"^_\*\*(?:agent|assistant|user|human|tool|system)\b[^\n]*\*\*_[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
"""The line above a turn in an exported transcript: who speaks, and when."""
_WHOLE = re.compile(
    r"""\s*(?:
        caveat:\ the\ messages\ below\ were\ generated
      | \[request\ interrupted
      | this\ session\ is\ being\ continued\ from\ a\ previous\ conversation
      | base\ directory\ for\ this\ skill:
      | (?:stop|pretooluse|posttooluse|userpromptsubmit|sessionstart|precompact)\ hook\s
      | please\ continue\ the\ conversation\ from\ where\ (?:we|you)\ left
      | continue\ from\ where\ you\ left\ off\.\s*\Z
      | the\ user\ (?:doesn't\ want\ to\ proceed|sent\ the\ following\ message|opened\ the\ file)
      | \#\#\ context\s+-\ current\ (?:git|pull\ request)\b
      | (?:<summary>|<conversation[_-]summary>|\#+\ conversation\ summary)
      | your\ task\ is\ to\ create\ a\ detailed\ summary\ of\ the\ conversation
    )""",
    re.IGNORECASE | re.VERBOSE,
)


def injected(text: str) -> bool:
    """True when the whole turn is the harness speaking."""
    return bool(_WHOLE.match(text)) or (bool(text.strip()) and not own_words(text))


def own_words(text: str) -> str:
    """The text without blocks, image references and speakers' names that a harness put into it."""
    if "<" not in text and "[Image" not in text and "_**" not in text:
        return text.strip()
    return _IMAGE.sub("", _SPEAKER.sub("", _BLOCK.sub("", text))).strip()
