"""The ledger's schema: made by migrations alone, checked at opening, never left half done."""

from __future__ import annotations

import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import sleep_runtime
from sleep_runtime.core.errors import StoreError, StoreTooNew
from sleep_runtime.core.observation import Usage
from sleep_runtime.core.policy import TriggerPolicy
from sleep_runtime.core.spending import NO_COST, Cost
from sleep_runtime.stores.ledger import SqliteLedger, SqliteLedgerReader, revision
from sleep_runtime.stores.ledger.schema import metadata
from sleep_runtime.stores.sqlite import writer_engine


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def _make(path: Path) -> None:
    SqliteLedger(path, triggers=TriggerPolicy()).close()


def _tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {name for (name,) in found if not name.startswith("sqlite_")}


def _set_revision(path: Path, value: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (value,))


def test_migrations_make_exactly_the_schema_of_the_code(path: Path) -> None:
    with SqliteLedger(path, triggers=TriggerPolicy()) as ledger, ledger._write() as tx:
        context = MigrationContext.configure(tx, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        made = {index["name"] for t in metadata.tables for index in sa.inspect(tx).get_indexes(t)}
    named = {index.name for t in metadata.sorted_tables for index in t.indexes}
    assert named <= made


def test_head_is_the_newest_migration() -> None:
    """``HEAD`` is written down so that opening need not import Alembic."""
    scripts = Config()
    scripts.set_main_option("script_location", str(revision.MIGRATIONS))
    assert ScriptDirectory.from_config(scripts).get_heads() == [revision.HEAD]
    assert revision.HEAD in revision.known_revisions()


def test_a_file_of_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    _make(path)
    _set_revision(path, "9999")
    before = path.read_bytes()
    with pytest.raises(StoreTooNew, match=rf"9999.*{revision.HEAD}.*newer sleep-runtime"):
        SqliteLedger(path, triggers=TriggerPolicy())
    with pytest.raises(StoreTooNew, match=rf"9999.*{revision.HEAD}.*newer sleep-runtime"):
        SqliteLedgerReader(path)
    assert path.read_bytes() == before


def test_a_ledger_of_the_first_revision_keeps_its_runs(path: Path) -> None:
    """What a run had used before counts as its earlier turns: it is not spent when it goes on."""
    engine = writer_engine(path)
    with engine.begin() as tx:
        revision.upgrade(tx, "0001")
        tx.exec_driver_sql(
            "INSERT INTO runs VALUES ('r', 'acme', 1, 'cadence', '', 'yielded', 'planned', 1, 'x',"
            " 0, 0, 0, 3, 0, 0, 9, 0, 0, '{}', '{\"calls\":7,\"input_tokens\":5}', 1, '', '[]', '')"
        )
    engine.dispose()
    with SqliteLedger(path, triggers=TriggerPolicy()) as ledger:
        run = ledger.reader.run("r")
        assert run is not None
        assert run.cost == Cost(usage=Usage(calls=7, input_tokens=5))
        assert run.turn_cost == NO_COST
        assert ledger.reader.spending(since=run.planned_at) == []


def test_a_reader_does_not_migrate(path: Path) -> None:
    sqlite3.connect(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    with pytest.raises(StoreError, match=r"revision none.*opening migrates"):
        SqliteLedgerReader(path)


def test_an_interrupted_migration_leaves_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DDL is transactional: what failed in the middle is not there, and opening again works."""

    def break_off(tx: sa.Connection, cursor: object, statement: str, *_: object) -> None:
        if "ix_schedules_due_at" in statement:
            raise KeyboardInterrupt

    sa.event.listen(sa.Engine, "before_cursor_execute", break_off)
    try:
        with pytest.raises(KeyboardInterrupt):
            _make(path)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", break_off)
    assert _tables(path) == set()
    _make(path)
    assert set(metadata.tables) < _tables(path)


def test_opening_again_is_fast_and_does_not_import_alembic(path: Path) -> None:
    _make(path)
    program = (
        "import sys; from sleep_runtime.stores.ledger import SqliteLedger\n"
        "from sleep_runtime.core.policy import TriggerPolicy\n"
        "SqliteLedger(sys.argv[1], triggers=TriggerPolicy()).close()\n"
        "sys.exit('alembic' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], timeout=60, check=True)
    took = []
    for _ in range(5):
        started = time.perf_counter()
        _make(path)
        took.append(time.perf_counter() - started)
    assert statistics.median(took) < 0.05, took


def test_the_migrations_travel_with_the_package(tmp_path: Path) -> None:
    """A copy of the package somewhere else, with a % in its path, makes a ledger from there."""
    home = tmp_path / "50%off" / "site"
    shutil.copytree(
        Path(sleep_runtime.__file__).parent,
        home / "sleep_runtime",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    program = (
        "import sys, sleep_runtime; from sleep_runtime.stores.ledger import SqliteLedger\n"
        "from sleep_runtime.core.policy import TriggerPolicy\n"
        "assert sleep_runtime.__file__.startswith(sys.argv[1]), sleep_runtime.__file__\n"
        "SqliteLedger(sys.argv[2], triggers=TriggerPolicy()).close()"
    )
    made = tmp_path / "ledger.sqlite"
    done = subprocess.run(
        [sys.executable, "-c", program, str(home), str(made)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert set(metadata.tables) < _tables(made)
