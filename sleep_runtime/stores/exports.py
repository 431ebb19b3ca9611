"""The exports of a data directory, in its ``exports.json``.

They are written where somebody asked for them. An erasure makes them again, so their paths are
kept, as those of backups are in ``backup/register.py``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sleep_runtime.core.errors import StoreError
from sleep_runtime.stores.datadir import write_atomically

FILE = "exports.json"
_KEY = "exports"


def remember(directory: Path, path: Path, *, scope: str) -> None:
    """Keep where an export of a scope (empty: of everything) lies; once, however often told."""
    entry = {"path": str(path.expanduser().absolute()), "scope": scope}
    found = known(directory)
    if entry not in found:
        text = json.dumps({_KEY: [*found, entry]}, ensure_ascii=False, indent=1)
        write_atomically(directory / FILE, text)


def known(directory: Path) -> list[dict[str, Any]]:
    """Every remembered export. Raises ``StoreError`` when the file cannot be read."""
    file = directory / FILE
    try:
        found = json.loads(file.read_text("utf-8"))[_KEY]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError):
        found = None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise StoreError(
            f"{file} cannot be read", field="data_dir", mend="restore it, or write it anew"
        )
    return found
