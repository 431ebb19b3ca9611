"""Data directories as older versions left them; ``scripts/make_upgrade_fixture.py`` made them."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sleep_runtime.stores.datadir import DataDir

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "upgrades"

Tables = dict[str, tuple[list[str], list[tuple[Any, ...]]]]


@dataclass(frozen=True)
class OldData:
    """One fixture: what a version wrote, and what it said of it."""

    name: str
    facts: dict[str, Any]

    @property
    def now(self) -> datetime:
        """The last instant of that life."""
        return datetime.fromisoformat(self.facts["now"])

    def unpack(self, to: Path) -> DataDir:
        """A data directory with these databases in it."""
        paths = DataDir(to).ensure()
        for path in (paths.ledger_path, paths.journal_path):
            packed = FIXTURES / self.name / f"{path.name}.gz"
            path.write_bytes(gzip.decompress(packed.read_bytes()))
        return paths


def fixtures() -> list[OldData]:
    """Every fixture, the oldest first."""
    found = sorted(path.parent for path in FIXTURES.glob("*/facts.json"))
    return [OldData(each.name, json.loads((each / "facts.json").read_text())) for each in found]


def tables(path: Path) -> Tables:
    """Every table of a file: its columns and its rows, in order."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        names = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
        return {name: _rows(connection, name) for (name,) in connection.execute(names).fetchall()}


def _rows(connection: sqlite3.Connection, table: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    found = connection.execute(f'SELECT * FROM "{table}"')
    return [column[0] for column in found.description], sorted(found.fetchall(), key=repr)


def lost(before: Tables, after: Tables) -> Iterator[str]:
    """What was in ``before`` and is not in ``after``: tables, columns, and rows by their values."""
    for table, (columns, rows) in before.items():
        if table == "alembic_version":
            continue
        if table not in after:
            yield f"table {table}"
            continue
        now, later = after[table]
        if missing := [column for column in columns if column not in now]:
            yield f"{table}: columns {missing}"
            continue
        places = [now.index(column) for column in columns]
        if rows != sorted((tuple(row[p] for p in places) for row in later), key=repr):
            yield f"{table}: its rows"
