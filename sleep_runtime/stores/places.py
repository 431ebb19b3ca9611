"""Places outside the data directory that hold copies of what is in it, remembered beside it.

Exports and backups are written where somebody asked for them. An erasure has to reach them, so
their paths are kept in ``exports.json`` and ``backups.json``.
"""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Any

from sleep_runtime.core.errors import StoreError
from sleep_runtime.stores.datadir import write_atomically


class Place(StrEnum):
    """What sort of copy."""

    EXPORTS = "exports"
    BACKUPS = "backups"


def remember(directory: Path, kind: Place, path: Path, **told: Any) -> None:
    """Keep a path, with what else is told of it; once, however often it is told."""
    entry = {"path": str(path.expanduser().absolute()), **told}
    found = known(directory, kind)
    if entry not in found:
        _write(directory, kind, [*found, entry])


def known(directory: Path, kind: Place) -> list[dict[str, Any]]:
    """Every remembered place of a kind. Raises ``StoreError`` when the file cannot be read."""
    file = directory / f"{kind.value}.json"
    try:
        found = json.loads(file.read_text("utf-8"))[kind.value]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError):
        found = None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise StoreError(
            f"{file} cannot be read", field="data_dir", mend="restore it, or write it anew"
        )
    return found


def _write(directory: Path, kind: Place, entries: list[dict[str, Any]]) -> None:
    text = json.dumps({kind.value: entries}, ensure_ascii=False, indent=1)
    write_atomically(directory / f"{kind.value}.json", text)
