"""Prompts: package data, a system text and worked examples, the same bytes for every tenant.

A file is a row of messages, each under a heading ``# system``, ``# user`` or ``# assistant``.
Whatever differs from call to call comes after them, so that a server's prefix cache serves all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import resources

Messages = tuple[tuple[str, str], ...]
_HEADING = re.compile(r"^# (system|user|assistant)\n", re.MULTILINE)


def load_prompt(name: str) -> Messages:
    """The messages of ``prompts/<name>.md``: (role, text) pairs, the system text first."""
    file = resources.files("sleep_runtime.engines") / "prompts" / f"{name}.md"
    messages = tuple(_messages(file.read_text(encoding="utf-8")))
    if not messages or messages[0][0] != "system":
        raise ValueError(f"prompt {name} does not start with its system text")
    return messages


def _messages(text: str) -> Iterator[tuple[str, str]]:
    _, *rest = _HEADING.split(text)
    for role, content in zip(rest[::2], rest[1::2], strict=True):
        yield role, content.strip()
