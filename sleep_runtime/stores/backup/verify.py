"""``verify``: does a backup still hold what its manifest says?"""

from __future__ import annotations

from pathlib import Path

from sleep_runtime.core.errors import StoreError
from sleep_runtime.stores.backup.contents import (
    file_facts,
    journal_facts,
    ledger_facts,
    sha256_of,
)
from sleep_runtime.stores.backup.manifest import (
    JOURNAL,
    LEDGER,
    MANIFEST,
    Manifest,
    read_manifest,
)
from sleep_runtime.stores.ledger.revision import HEAD
from sleep_runtime.stores.sqlite import store_errors


def verify(directory: Path) -> Manifest:
    """Compare a whole backup with its manifest and return that. Reads every byte; writes nothing.

    Raises ``StoreError``, naming the file, for the first difference, and ``StoreTooNew`` for a
    backup of a newer version.
    """
    directory = Path(directory).expanduser().absolute()
    manifest = read_manifest(directory)
    with store_errors(directory):
        strange = {each.name for each in directory.iterdir()} - {*manifest.files, MANIFEST}
    if strange:
        raise _differs(directory / min(strange), "is no part of the backup")
    for name, facts in manifest.files.items():
        check_bytes(directory / name, facts.sha256)
    check_contents(directory, manifest)
    return manifest


def check_bytes(path: Path, sha256: str) -> None:
    """Raise ``StoreError`` unless the file is there with exactly these bytes."""
    if not path.is_file():
        raise _differs(path, "is not there")
    if sha256_of(path) != sha256:
        raise _differs(path, "has other bytes than the manifest says")


def check_contents(directory: Path, manifest: Manifest) -> None:
    """Raise ``StoreError`` unless the databases hold what the manifest says.

    A ledger of an older version is not compared: its digest was that of another schema.
    """
    for name, facts in manifest.files.items():
        if file_facts(directory / name) != facts:
            raise _differs(directory / name, "is another file than the manifest says")
    ledger = ledger_facts(directory / LEDGER, manifest.files[LEDGER].schema_version)
    if is_compared(manifest) and ledger != manifest.ledger:
        raise _differs(directory / LEDGER, "holds something else than the manifest says")
    journal = journal_facts(directory / JOURNAL, manifest.files[JOURNAL].schema_version)
    if journal != manifest.journal:
        raise _differs(directory / JOURNAL, "holds something else than the manifest says")


def is_compared(manifest: Manifest) -> bool:
    """Whether this version can compute the digest of the backup's ledger that was written down."""
    return manifest.ledger is not None and manifest.files[LEDGER].schema_version == HEAD


def _differs(path: Path, how: str) -> StoreError:
    return StoreError(f"{path} {how}", field="backup", mend="use another backup")
