"""A store that lived for some days, with an export and a backup, and processes that erase in it.

A process is forked from one that has everything imported, so that killing it costs little. What it
holds is gone, as after a power cut of the process.
"""

from __future__ import annotations

import json
import multiprocessing
import shutil
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from sleep_runtime.capture.limits import CaptureLimits
from sleep_runtime.capture.native import parse_events
from sleep_runtime.compose.embedded import Embedded
from sleep_runtime.config import Settings, load
from sleep_runtime.core.erasure import Target
from sleep_runtime.core.note import NoteStatus
from sleep_runtime.stores.backup import back_up
from sleep_runtime.stores.backup.manifest import manifest_digest
from sleep_runtime.stores.backup.register import FILE as BACKUPS
from sleep_runtime.stores.backup.register import Registered, register
from sleep_runtime.stores.context_dir import export
from sleep_runtime.stores.datadir import DataDir
from sleep_runtime.stores.exports import FILE as EXPORTS
from sleep_runtime.stores.exports import remember
from sleep_runtime.stores.journal_erasing import view
from sleep_runtime.stores.ledger import SqliteLedgerReader
from sleep_runtime.telemetry.failpoint import arm
from sleep_runtime.telemetry.log import configure
from sleep_runtime.testing.clock import ManualClock

ROOT = Path(__file__).resolve().parents[2]
TRAIL = ROOT / "examples" / "earnings_deck" / "events.ndjson"
NIGHT = datetime(2026, 11, 21, 3, tzinfo=UTC)
ERASED_AT = NIGHT + timedelta(days=1)
WAIT_S = 120.0
KILLED = -9


@dataclass(frozen=True)
class Store:
    """One store with its surroundings, all below ``root``."""

    root: Path

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def export(self) -> Path:
        return self.root / "export"

    @property
    def backup(self) -> Path:
        return self.root / "backup"

    def copy(self, to: Path) -> Store:
        """The same store elsewhere; its remembered places are those beside it."""
        shutil.copytree(self.root, to)
        copied = Store(to)
        copied.remember()
        return copied

    def remember(self) -> None:
        for name in (EXPORTS, BACKUPS):
            (self.data / name).unlink(missing_ok=True)
        remember(self.data, self.export, scope="")
        digest = manifest_digest(self.backup)
        register(DataDir(self.data), Registered(path=self.backup, made_at=NIGHT, digest=digest))

    def digests(self) -> dict[str, str]:
        """What journal and ledger hold, here and in the backup."""
        found = {}
        for name, directory in (("data", self.data), ("backup", self.backup)):
            with view(directory / "journal.sqlite") as journal:
                found[f"{name}.journal"] = journal.digest()
            with SqliteLedgerReader(directory / "ledger.sqlite") as ledger:
                found[f"{name}.ledger"] = ledger.digest()
        return found


def settings(data: Path) -> Settings:
    return load(overrides={"data_dir": str(data), "log.level": "error"}, environ={}).settings


def build(root: Path, *, events: int) -> Store:
    """Live through the first ``events`` of the earnings deck, then export and back up."""
    configure("error", "json")
    store = Store(root)
    store.data.mkdir(parents=True)
    lines = TRAIL.read_bytes().splitlines(keepends=True)[:events]
    with Embedded(settings(store.data), clock=ManualClock(NIGHT)) as running:
        half = len(lines) // 2
        for part in (lines[:half], lines[half:]):  # two nights: revisions, folds and promotions
            parsed = parse_events(
                b"".join(part),
                content_type="application/x-ndjson",
                content_encoding="",
                now=NIGHT,
                limits=CaptureLimits(),
            )
            running.journal.append(parsed.rows)
            running.nights()
        export(running.ledger.notes(statuses=[NoteStatus.ACTIVE]), store.export)
    back_up(DataDir(store.data), store.backup, clock=ManualClock(NIGHT))
    store.remember()
    return store


def erase(data: Path, target: Mapping[str, str] | None, failpoints: str = "") -> int:
    """Open the store in a process of its own and erase; None: only go on with what is open.

    Returns the exit code of the process: ``KILLED`` when a fail point ended it.
    """
    process = _context().Process(target=_erase, args=(str(data), target, failpoints))
    process.start()
    process.join(WAIT_S)
    if process.is_alive():
        process.kill()
        process.join()
        raise TimeoutError(f"no end of an erasure within {WAIT_S:g} s")
    return process.exitcode if process.exitcode is not None else 1


def _erase(data: str, target: Mapping[str, str] | None, failpoints: str) -> None:
    configure("error", "json")
    arm(failpoints)
    with Embedded(settings(Path(data)), clock=ManualClock(ERASED_AT)) as running:
        if target is not None:
            asked = Target.model_validate(target)
            running.erase(asked.scope, session=asked.session, event=asked.event)


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "chromadb"])
    return context


def receipts(data: Path) -> list[dict[str, Any]]:
    """The receipts that the ledger keeps."""
    with SqliteLedgerReader(data / "ledger.sqlite") as ledger:
        return [
            {**one.receipt, "done": one.over, "counts": one.counts} for one in ledger.erasures()
        ]


def trail_of(data: Path) -> list[dict[str, Any]]:
    """Every event of the journal as it was captured."""
    import sqlite3

    with closing(
        sqlite3.connect(f"file:{data / 'journal.sqlite'}?mode=ro", uri=True)
    ) as connection:
        rows = connection.execute("SELECT body FROM events ORDER BY seq").fetchall()
    return [json.loads(body) for (body,) in rows]
