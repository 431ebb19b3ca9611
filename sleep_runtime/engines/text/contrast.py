"""Contrast: what a clause names only to say that it is not meant ("X, not Y")."""

from __future__ import annotations

import re

_AUXILIARY_BEFORE_NOT = re.compile(
    r"(?:do|does|did|should|must|is|are|was|were|will|would|can|could|may|might|has|have|please|"
    r"or|if|why|ought|need)\s*\Z",
    re.IGNORECASE,
)
_NOT = re.compile(
    r"(?P<comma>\s*[,;(—\u2013-]\s*(?:and |but )?|\s+(?:and |but )?)(?:not|never|no longer|"
    r"no)\s+(?=\w)",
    re.IGNORECASE,
)
_INSTEAD = re.compile(
    r"[\s,(]+(?:instead of|rather than|as opposed to|in place of|"
    r"in lieu of)\s+(?P<no>[^,;)]{1,80})",
    re.IGNORECASE,
)
_INSTEAD_FIRST = re.compile(
    r"\A(?:instead of|rather than)\s+(?P<no>[^,;]{1,80}),\s*(?P<yes>.+)\Z",
    re.IGNORECASE | re.DOTALL,
)
_ADDS = re.compile(r"\s*(?:just|only|merely|simply)\b", re.IGNORECASE)
_NOT_BUT = re.compile(
    r"\A(?P<head>.*?)\bnot\s+(?P<no>[^,;]{1,60}?),?\s+but\s+(?:rather\s+)?(?P<yes>[^,;]+)",
    re.IGNORECASE | re.DOTALL,
)
_FROM_TO = re.compile(
    r"\A(?P<head>.*?)\b(?:switch|change|move|migrate|convert)(?:ed|d|"
    r"s)?\s+(?:(?P<what>[\w' -]{1,40}?)\s+)?(?:(?:over|away|"
    r"back)\s+)?from\s+(?P<no>[^,;]{1,60}?)\s+to\s+(?P<yes>[^,;]+)",
    re.IGNORECASE | re.DOTALL,
)
_REPLACE = re.compile(
    r"\A(?P<head>.*?)\b(?:replace|swap)\s+(?P<no>[^,;]{1,60}?)\s+(?:with|by|for)\s+(?P<yes>[^,;]+)",
    re.IGNORECASE | re.DOTALL,
)
_PREFER_OVER = re.compile(
    r"\b(?:prefer|prefers|favou?rs?|like|pick|choose|use)\s+(?P<yes>[^,;]{1,60}?)\s+(?:over|"
    r"to)\s+(?P<no>[^,;]{1,60})\Z",
    re.IGNORECASE,
)
_TAIL = re.compile(r"\s+(?:for|in|on|when|if|because|at|with)\s+.*\Z", re.IGNORECASE | re.DOTALL)


def contrast(text: str) -> tuple[str, str]:
    """The text without what it rejects, and what it rejects."""
    for pattern in (_INSTEAD_FIRST, _NOT_BUT, _FROM_TO, _REPLACE):
        match = pattern.search(text)
        if match is not None:
            found = match.groupdict()
            head = f"{found.get('head') or ''} {found.get('what') or ''}".strip()
            return f"{head} {found['yes']}".strip(), found["no"]
    match = _INSTEAD.search(text)
    if match is not None:
        return _cut(text, match.start(), match.end(), match["no"])
    match = _PREFER_OVER.search(text)
    if match is not None:
        return text[: match.end("yes")], match["no"]
    return _not_part(text)


def _not_part(text: str) -> tuple[str, str]:
    for match in _NOT.finditer(text):
        before = text[: match.start()]
        joint = match["comma"].strip()
        if not before.strip() or _AUXILIARY_BEFORE_NOT.search(before):
            continue
        if not joint and not match[0].strip().lower().startswith("not"):
            continue
        end = text.find(",", match.end())
        stop = end if end > 0 else len(text)
        if _ADDS.match(text, match.end()):
            return f"{before} {text[stop:]}".strip(), ""
        return _cut(text, match.start(), stop, text[match.end() : stop])
    return text, ""


def _cut(text: str, start: int, stop: int, rejected: str) -> tuple[str, str]:
    """Take out the rejected part; a phrase that follows it ("… for charts") belongs to the core."""
    tail = _TAIL.search(rejected)
    if tail is None:
        return f"{text[:start]} {text[stop:]}".strip(), rejected
    return f"{text[:start]} {tail[0]} {text[stop:]}".strip(), rejected[: tail.start()]
