"""Masking: how a rule of redaction is written and how a list of rules is run over a text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

Replace = Callable[[re.Match[str], str], str]
"""From a match and the text it lies in to what stands there afterwards."""


class Rule(NamedTuple):
    """``pattern`` is tried only where one of ``hints`` is in the folded text (none: everywhere).

    A ``folded`` pattern is written in lower case and run over the folded text, which lets the
    matcher skip to places where a name can begin; ``replace`` gets the text as it was written,
    with every character at the same place.
    """

    pattern: re.Pattern[str]
    replace: str | Replace
    hints: tuple[str, ...] = ()
    folded: bool = False


def mask(text: str, rules: Iterable[Rule]) -> str:
    """``text`` after all rules, in order. Linear in the text where every pattern is."""
    folded = fold(text)
    for rule in rules:
        if rule.hints and not any(hint in folded for hint in rule.hints):
            continue
        masked = _apply(rule, text, folded)
        if masked != text:
            text, folded = masked, fold(masked)
    return text


def fold(text: str) -> str:
    """``text`` in lower case, never longer: character by character where Unicode would expand."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(low if len(low := char.lower()) == 1 else char for char in text)


def _apply(rule: Rule, text: str, folded: str) -> str:
    replace = rule.replace
    if isinstance(replace, str):
        return rule.pattern.sub(replace, text)
    parts: list[str] = []
    end = 0
    for match in rule.pattern.finditer(folded if rule.folded else text):
        parts += (text[end : match.start()], replace(match, text))
        end = match.end()
    parts.append(text[end:])
    return "".join(parts)
