"""Erasing in a directory that no runtime has open: a backup, a copy, a store that was restored.

Works on any directory that holds ``journal.sqlite`` and ``ledger.sqlite``. The vector index, if
there is one, is removed: it is filled again from the ledger by whoever opens it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sleep_runtime.core.erasure import Erasure, Target, public
from sleep_runtime.core.errors import StoreError
from sleep_runtime.core.policy import Policy
from sleep_runtime.core.ports import Clock, Embedder
from sleep_runtime.stores.backup.make import seal
from sleep_runtime.stores.backup.manifest import (
    DATABASES,
    LOGS,
    MANIFEST,
    manifest_digest,
    read_manifest,
)
from sleep_runtime.stores.backup.register import Registered, register
from sleep_runtime.stores.backup.verify import verify
from sleep_runtime.stores.datadir import DataDir
from sleep_runtime.stores.eraser import Eraser, EraserParts
from sleep_runtime.stores.journal import SqliteJournal
from sleep_runtime.stores.journal_erasing import view
from sleep_runtime.stores.ledger import SqliteLedger
from sleep_runtime.stores.sqlite import connect_writer, store_errors
from sleep_runtime.telemetry.clock import SystemClock


def erase_in(
    directory: Path,
    target: Target,
    *,
    like: Erasure | None = None,
    policy: Policy | None = None,
    embedder: Embedder | None = None,
    clock: Clock | None = None,
) -> dict[str, Any]:
    """Erase in a directory at rest; returns the receipt. A crash is mended by doing it again.

    Raises ``StoreBusy`` when a runtime has it open, and ``StoreError`` when it is no store.
    """
    with _offline(directory, policy, embedder, clock) as eraser:
        eraser.resume()
        return public(eraser.finish(eraser.request(target, like=like).id))


def mend_backup(paths: DataDir, path: Path, erasure: Erasure) -> Mapping[str, Any]:
    """Do an erasure in a backup of ``paths`` too; what the receipt says of it.

    See ``eraser.MendBackup``. Hold the directory's lock of backups. Raises ``StoreError`` for one
    that is damaged: it is not sealed over. A crash is mended by doing it again.
    """
    sealed = (path / MANIFEST).is_file()
    if sealed and not _no_part(path):
        verify(path)
    found = reapply(path, [erasure])
    if sealed:
        _seal_again(paths, path)
    told = ("digests_after", "scan", "removed")
    return {"erasures": [{name: one[name] for name in told} for one in found]}


def _seal_again(paths: DataDir, path: Path) -> None:
    """Let the databases stand alone again, and say anew what they hold."""
    for name in DATABASES:
        if (path / name).is_file():
            with closing(connect_writer(path / name)) as connection, store_errors(path / name):
                connection.execute("PRAGMA journal_mode=DELETE")
    made_at = read_manifest(path).made_at
    seal(path, made_at=made_at)
    register(paths, Registered(path=path, made_at=made_at, digest=manifest_digest(path)))
    # Last: while they are there, whoever comes next knows that this is not finished.
    for one in _no_part(path):
        one.unlink()


def _no_part(path: Path) -> list[Path]:
    """What opening a backup as a store leaves beside its databases."""
    parts = (*DATABASES, *LOGS, MANIFEST)
    return [one for one in path.iterdir() if one.is_file() and one.name not in parts]


def erased(directory: Path) -> list[Erasure]:
    """The durable list of what was erased in a store, oldest first."""
    with closing(SqliteLedger(_ledger(directory), triggers=Policy().triggers)) as ledger:
        return ledger.reader.erasures()


def reapply(directory: Path, erasures: Iterable[Erasure], **how: Any) -> list[dict[str, Any]]:
    """Do again, in a restored store, what was erased after its backup was made; the receipts.

    A session and an event are known by their salted hash alone: each name in the journal is
    compared with it. Whoever restores calls this before anything is served.
    """
    # One that died here may have removed every name by which it would be found again.
    with _offline(directory, how.get("policy"), how.get("embedder"), how.get("clock")) as eraser:
        receipts = [public(one) for one in eraser.resume()]
    for erasure in erasures:
        with view(DataDir(directory).journal_path) as journal:
            targets = journal.named(erasure)
        receipts += [erase_in(directory, target, like=erasure, **how) for target in targets]
    return receipts


@contextmanager
def _offline(
    directory: Path, policy: Policy | None, embedder: Embedder | None, clock: Clock | None
) -> Iterator[Eraser]:
    paths, policy = DataDir(directory), policy or Policy()
    ledger_path = _ledger(directory)
    with (
        paths.lock("runtime"),
        paths.lock("ledger"),
        closing(SqliteJournal(paths.journal_path)) as journal,
        SqliteLedger(ledger_path, triggers=policy.triggers) as ledger,
    ):
        yield Eraser(
            EraserParts(
                directory=paths.path,
                journal=journal,
                ledger=ledger.reader,
                writer=ledger,
                purge_index=lambda: _remove_index(paths),
                mend_backup=partial(mend_backup, paths),
                clock=clock or SystemClock(),
                policy=policy,
                embedder=embedder,
            )
        )


def _ledger(directory: Path) -> Path:
    paths = DataDir(directory)
    for path in (paths.journal_path, paths.ledger_path):
        if not path.is_file():
            raise StoreError(
                f"{path} does not exist", field="--in", mend="name a directory with both stores"
            )
    return paths.ledger_path


def _remove_index(paths: DataDir) -> None:
    for name in (paths.index_path.name, f"{paths.index_path.name}.broken"):
        if (paths.path / name).exists():
            shutil.rmtree(paths.path / name)
