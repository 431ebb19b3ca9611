"""The backups a data directory knows of, in its ``backups.json``.

What is erased has to go from backups too, so whoever erases has to know where they lie. Whoever
makes a backup, or changes one, holds the directory's lock ``LOCK`` meanwhile: a backup is either
whole and registered before an erasure looks, or made of what is left after it.
"""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from sleep_runtime.core.errors import StoreError
from sleep_runtime.stores.datadir import DataDir, write_atomically
from sleep_runtime.stores.sqlite import store_errors

LOCK = "backup"
FILE = "backups.json"


class Registered(BaseModel):
    """Where a backup lies, when it was made, and the SHA-256 of its manifest.

    It may not be there any more, or not be mounted. ``digest`` is empty for one that was begun and
    did not end: what was copied lies in ``partial_of(path)``, if its process was killed.
    """

    model_config = ConfigDict(frozen=True)

    path: Path
    made_at: datetime
    digest: str


class _Register(BaseModel):
    backups: tuple[Registered, ...] = ()


def partial_of(path: Path) -> Path:
    """Where a backup lies until it is whole. Whoever erases removes what a dead one left there."""
    return path.with_name(f".{path.name}.partial")


def registered(paths: DataDir) -> tuple[Registered, ...]:
    """Every backup of this directory, oldest first. Raises ``StoreError`` for a damaged list."""
    file = paths.path / FILE
    if not file.exists():
        return ()
    with store_errors(file):
        text = file.read_bytes()
    try:
        return _Register.model_validate_json(text).backups
    except ValidationError:
        raise StoreError(
            f"{file} is damaged",
            field="data_dir",
            mend="move it away and make a new backup: erasing reaches those in the list",
        ) from None


def register(paths: DataDir, backup: Registered) -> None:
    """Add a backup, or what changed of one; there is one entry a path. Hold ``LOCK``."""
    others = [known for known in registered(paths) if known.path != backup.path]
    _write(paths, [*others, backup])


def forget(paths: DataDir, path: Path) -> None:
    """Take a backup that is gone, or never came to be, off the list. Hold ``LOCK``."""
    _write(paths, [known for known in registered(paths) if known.path != path])


def remove_leftovers(paths: DataDir) -> None:
    """Remove what was copied for backups whose process died. Hold ``LOCK``: nobody copies then."""
    for known in registered(paths):
        left = partial_of(known.path)
        if left.exists():
            with store_errors(left):
                shutil.rmtree(left)


def _write(paths: DataDir, backups: list[Registered]) -> None:
    made = sorted(backups, key=lambda one: (one.made_at, str(one.path)))
    file = paths.path / FILE
    with store_errors(file):
        write_atomically(file, _Register(backups=tuple(made)).model_dump_json(indent=2))
        file.chmod(0o600)
