"""Which revision of the schema a ledger file has, and how it gets to ours.

The usual opening compares one row with ``HEAD``; Alembic is imported only when there is work.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from sleep_runtime.core.errors import StoreError, StoreTooNew
from sleep_runtime.stores.sqlite import store_errors

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0003"
MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"

_VERSION_TABLE = "alembic_version"
# Alembic keeps the running migration in module globals: one at a time in a process.
_migrating = threading.Lock()


def stored_revision(tx: sa.Connection) -> str | None:
    """The file's revision; None when it has no ledger in it yet."""
    if not tx.dialect.has_table(tx, _VERSION_TABLE):
        return None
    value = tx.exec_driver_sql(f"SELECT version_num FROM {_VERSION_TABLE}").scalar()  # noqa: S608
    return None if value is None else str(value)


def check_at_head(tx: sa.Connection, path: Path) -> None:
    """Refuse a file that this version cannot read as it is."""
    revision = stored_revision(tx)
    if revision == HEAD:
        return
    if revision is not None and revision not in known_revisions():
        raise too_new(path, revision)
    raise StoreError(
        f"{path} has schema revision {revision or 'none'}, this program reads {HEAD}",
        field="data_dir",
        mend="start the runtime that owns it once: opening migrates it",
    )


def bring_to_head(engine: sa.Engine, path: Path) -> None:
    """Create or migrate the file, in one transaction: a crash leaves the old schema whole.

    Raises ``StoreTooNew`` when a newer version wrote the file.
    """
    with store_errors(path), engine.begin() as tx:
        revision = stored_revision(tx)
        if revision == HEAD:
            return
        if revision is not None and revision not in known_revisions():
            raise too_new(path, revision)
        upgrade(tx, HEAD)


def upgrade(tx: sa.Connection, revision: str) -> None:
    """Run the migrations up to ``revision`` inside an open transaction."""
    from alembic import command

    with _migrating:
        config = _config()
        config.attributes["connection"] = tx
        command.upgrade(config, revision)


def known_revisions() -> set[str]:
    """Every revision this version has a migration for."""
    from alembic.script import ScriptDirectory

    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    # The option is interpolated: a % in an installation path has to be doubled.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def too_new(path: Path, revision: str) -> StoreTooNew:
    """The error for a file whose revision no migration of ours knows."""
    return StoreTooNew(
        f"{path} has schema revision {revision}, this program knows up to {HEAD}",
        field="data_dir",
        mend="run the newer sleep-runtime, or choose another SLEEP_DATA_DIR",
    )
