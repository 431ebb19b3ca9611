"""Stable identifiers: the same content always gets the same name.

Everything the runtime derives (observations, notes, deltas, pins) is named by a hash of what it
is made of, so that doing a step again names the same thing again instead of making a twin.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(*parts: str | bytes) -> str:
    """SHA-256 over length-prefixed parts, as 64 hex digits."""
    sha = hashlib.sha256()
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        sha.update(len(raw).to_bytes(8, "big"))
        sha.update(raw)
    return sha.hexdigest()


def stable_id(prefix: str, *parts: str | bytes) -> str:
    """A short stable name, ``prefix_`` and 20 hex digits (80 bits) of the parts' digest."""
    return f"{prefix}_{digest(*parts)[:20]}"
