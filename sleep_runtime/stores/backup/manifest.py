"""Manifest: what a backup says of itself, and the file that makes a directory a backup."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from sleep_runtime.core.errors import StoreError, StoreTooNew
from sleep_runtime.stores.sqlite import store_errors

FORMAT = 1
MANIFEST = "manifest.json"
LEDGER, JOURNAL = "ledger.sqlite", "journal.sqlite"

# In the order in which they are copied: what relies on another file stands before it. The ledger
# holds positions of the journal, so the journal's copy has to be the newer one of the two.
DATABASES = (LEDGER, JOURNAL, "access.sqlite")
# Files that are only ever appended to, a line at a time.
LOGS = ("audit.ndjson",)
REQUIRED = (LEDGER, JOURNAL)
_MOST_BYTES = 1 << 20


class FileFacts(BaseModel):
    """One file of a backup: its size, the SHA-256 of its bytes, and its schema's version.

    A file that is no database has no version.
    """

    model_config = ConfigDict(frozen=True)

    bytes: int
    sha256: str
    schema_version: str


class LedgerFacts(BaseModel):
    """What the ledger's copy holds: ``LedgerReader.digest`` and ``furthest`` of it."""

    model_config = ConfigDict(frozen=True)

    digest: str
    furthest: int


class JournalFacts(BaseModel):
    """What the journal's copy holds: how many events, and a hash over them in their order."""

    model_config = ConfigDict(frozen=True)

    events: int
    last_seq: int
    digest: str


class Manifest(BaseModel):
    """A backup's manifest.

    ``ledger`` is None where the ledger had the schema of an older version: its content is then
    vouched for by the hash of its file alone.
    """

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    version: str
    made_at: datetime
    files: dict[str, FileFacts]
    ledger: LedgerFacts | None
    journal: JournalFacts


def read_manifest(directory: Path) -> Manifest:
    """The manifest of a backup.

    Raises ``StoreError`` when the directory is no whole backup and ``StoreTooNew`` when a newer
    version made it.
    """
    path = directory / MANIFEST
    if not path.is_file():
        raise StoreError(
            f"{directory} is no backup: it has no {MANIFEST}",
            field="backup",
            mend="name a directory that sleep-runtime backup --to has finished",
        )
    with store_errors(path), path.open("rb") as file:
        text = file.read(_MOST_BYTES)
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise _damaged(path, f"it does not say what it should: {where or 'no JSON'}") from None
    if manifest.format > FORMAT:
        raise StoreTooNew(
            f"{directory} has backup format {manifest.format}, made by sleep-runtime "
            f"{manifest.version}; this program knows up to {FORMAT}",
            field="backup",
            mend="restore it with the newer sleep-runtime",
        )
    _check_names(path, manifest)
    return manifest


def manifest_digest(directory: Path) -> str:
    """SHA-256 of the manifest's bytes: the name of exactly this backup."""
    with store_errors(directory):
        return hashlib.sha256((directory / MANIFEST).read_bytes()).hexdigest()


def _check_names(path: Path, manifest: Manifest) -> None:
    """A manifest is read from anywhere: it must not name a file outside its directory."""
    lacking = [name for name in REQUIRED if name not in manifest.files]
    strange = [name for name in manifest.files if Path(name).name != name or name == MANIFEST]
    if lacking or strange:
        raise _damaged(path, f"it names {strange}" if strange else f"it lacks {lacking}")


def _damaged(path: Path, why: str) -> StoreError:
    return StoreError(f"{path} is damaged: {why}", field="backup", mend="take another backup")
