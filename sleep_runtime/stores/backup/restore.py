"""``restore``: an empty data directory becomes what a backup holds, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from sleep_runtime.core.errors import StoreError
from sleep_runtime.stores.backup.manifest import Manifest, manifest_digest
from sleep_runtime.stores.backup.register import LOCK, Registered, register
from sleep_runtime.stores.backup.verify import check_bytes, check_contents, is_compared, verify
from sleep_runtime.stores.datadir import DataDir, sync_directory
from sleep_runtime.stores.sqlite import store_errors
from sleep_runtime.telemetry.failpoint import failpoint

_BLOCK = 1 << 20
# An empty file system has the one; the locks say nothing of what is in a directory.
_NOTHING = {"lost+found", "runtime.lock", f"{LOCK}.lock"}

AfterRestore = Callable[[DataDir], None]
"""What has to happen to restored data before anybody reads it. Owns the directory meanwhile."""


class Restored(NamedTuple):
    """``ledger_compared`` is False where the ledger is of an older version: opening migrates it."""

    manifest: Manifest
    ledger_compared: bool


def restore(source: Path, paths: DataDir, *, after: Sequence[AfterRestore] = ()) -> Restored:
    """Make an empty data directory hold a backup. Digests are compared before and after copying.

    Until the last step the directory says that it is being restored, and no runtime opens it;
    restoring again then begins anew. The functions of ``after`` are called in order with the
    restored files in place; when one raises, the directory stays unfinished. The backup is
    registered in the restored directory.

    Raises ``StoreError`` when the directory holds something or the backup is damaged, ``StoreBusy``
    when a runtime owns the directory and ``StoreTooNew`` for a backup of a newer version.
    """
    source = Path(source).expanduser().absolute()
    unfinished = DataDir(paths.path, restoring=True)
    _check_empty(unfinished)
    manifest = verify(source)
    with unfinished.lock("runtime"), unfinished.lock(LOCK):
        _clear(unfinished)
        for name, facts in manifest.files.items():
            _copy(source / name, paths.path / name)
            failpoint("restore.copied")
            check_bytes(paths.path / name, facts.sha256)
        check_contents(paths.path, manifest)
        digest = manifest_digest(source)
        register(unfinished, Registered(path=source, made_at=manifest.made_at, digest=digest))
        for step in after:
            step(unfinished)
        failpoint("restore.checked")
        unfinished.end_restoring()
    return Restored(manifest, ledger_compared=is_compared(manifest))


def _check_empty(paths: DataDir) -> None:
    if not paths.path.exists() or paths.is_restoring():
        return
    with store_errors(paths.path):
        held = sorted({each.name for each in paths.path.iterdir()} - _NOTHING)
    if held:
        raise StoreError(
            f"{paths.path} is not empty: it holds {held[0]}",
            field="data_dir",
            mend="name an empty directory with SLEEP_DATA_DIR, or move this one away first",
        )


def _clear(paths: DataDir) -> None:
    """Remove what a restore that died has left; nothing else was ever in the directory."""
    with store_errors(paths.path):
        for left in paths.path.iterdir():
            if left.is_file() and left != paths.format_file and left.name not in _NOTHING:
                left.unlink()


def _copy(source: Path, target: Path) -> None:
    """Copy one file, private and durable."""
    with store_errors(target):
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as copy, source.open("rb") as file:
            while block := file.read(_BLOCK):
                copy.write(block)
            copy.flush()
            os.fsync(copy.fileno())
        sync_directory(target.parent)
