"""The oracle: what must not be found after an erasure, worked out apart from the erasure itself.

It reads the journal as it was before. Whatever an erased event says or is called, and no other
event does, is looked for: texts in every window of so many characters, not only where the erasure
itself cuts them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sleep_runtime.stores.scan import Finder, scan

WINDOW, STRIDE = 24, 7
LEAST = 12
LEAST_NAME = 8

Event = Mapping[str, Any]


def path_of(event: Event) -> str:
    """The scope of an event as it was captured, as a path."""
    scope = event["scope"]
    if isinstance(scope, str):
        return scope
    return "/".join(scope[part] for part in ("org", "team", "user") if scope.get(part))


def goes(event: Event, target: Mapping[str, str]) -> bool:
    """Whether an erasure of ``target`` means this event."""
    path = path_of(event)
    if path != target["scope"] and not path.startswith(target["scope"] + "/"):
        return False
    if target.get("session"):
        return bool(event["session"] == target["session"])
    return not target.get("event") or bool(event["id"] == target["event"])


class Found(NamedTuple):
    """How many needles there were, and where any of them is."""

    needles: int
    hits: tuple[str, ...]


def needles(trail: Sequence[Event], target: Mapping[str, str]) -> list[str]:
    """What only the erased events say."""
    erased = [event for event in trail if goes(event, target)]
    kept = "\n".join(
        json.dumps(event, ensure_ascii=False) + str(event["text"])
        for event in trail
        if not goes(event, target)
    )
    plain = " ".join(kept.casefold().split())
    found: dict[str, None] = {}
    for event in erased:
        for name in (event["id"], event["session"]):
            if len(name) >= LEAST_NAME and name not in kept:
                found[name] = None
        for window in _windows(event["text"]):
            if " ".join(window.casefold().split()) not in plain:
                found[window] = None
    return list(found)


def _windows(text: str) -> list[str]:
    text = text.strip()
    if len(text) <= WINDOW:
        return [text] if len(text) >= LEAST else []
    return [text[at : at + WINDOW] for at in range(0, len(text) - WINDOW + 1, STRIDE)]


def look(root: Path, wanted: Sequence[str]) -> Found:
    """Look through every file below ``root``."""
    found = scan(root, Finder(wanted))
    hits = [f"{hit.file}:{hit.at}" for hit in found.hits]
    raw = [needle.encode() for needle in wanted]
    for path in sorted(root.rglob("*")):  # once more, without the scanner's own code
        if path.is_file():
            data = path.read_bytes()
            hits += [f"{path.relative_to(root)}:raw" for needle in raw if needle in data]
    return Found(len(wanted), tuple(hits))
