"""DataDir: where one runtime keeps what it knows, its layout, its format and its locks.

data_dir/
  FORMAT              the layout's version and who wrote it
  journal.sqlite      raw events
  ledger.sqlite       observations, notes, runs
  index/              vectors, disposable
  audit.ndjson        who did what, hash-chained
  access.sqlite       API keys, hashed
  local.key           the secret of this machine's own key, for its owner only
  runtime.json        where the running runtime listens
  backups.json        which backups were made of it
  <name>.lock         held while an owner lives, with its pid
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sleep_runtime import __version__
from sleep_runtime.core.errors import StoreBusy, StoreError, StoreTooNew
from sleep_runtime.stores.sqlite import store_errors

FORMAT = 1
_LOCK_POLL_S = 0.05


class DataDir:
    """One data directory. Making the object touches nothing; ``ensure`` creates and checks it.

    ``restoring`` is for whoever fills an empty one from a backup: until ``end_restoring`` nobody
    else may open it.
    """

    def __init__(self, path: str | os.PathLike[str], *, restoring: bool = False) -> None:
        self.path = Path(path).expanduser().absolute()
        self._restoring = restoring

    @property
    def journal_path(self) -> Path:
        return self.path / "journal.sqlite"

    @property
    def ledger_path(self) -> Path:
        return self.path / "ledger.sqlite"

    @property
    def index_path(self) -> Path:
        return self.path / "index"

    @property
    def audit_path(self) -> Path:
        return self.path / "audit.ndjson"

    @property
    def access_path(self) -> Path:
        return self.path / "access.sqlite"

    @property
    def local_key_file(self) -> Path:
        return self.path / "local.key"

    @property
    def runtime_file(self) -> Path:
        return self.path / "runtime.json"

    @property
    def format_file(self) -> Path:
        return self.path / "FORMAT"

    def ensure(self) -> DataDir:
        """Create the directory (for its owner only) or check that this version can read it.

        Raises ``StoreTooNew`` when a newer version wrote it, ``StoreError`` when it cannot be
        used, such as after a restore that did not end. Calling it again changes nothing.
        """
        with store_errors(self.path):
            made = [place for place in (self.path, *self.path.parents) if not place.exists()]
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.format_file.exists():
                self._check_format()
            else:
                _sync_names(made or [self.path])  # somebody may have died between these two
                self._write_format(restoring=self._restoring)
        return self

    def is_restoring(self) -> bool:
        """Whether a restore into this directory began and did not end."""
        return self.format_file.exists() and bool(_read_marker(self.format_file).get("restoring"))

    def end_restoring(self) -> None:
        """What was restored is whole: from now on the directory is like any other."""
        self._write_format(restoring=False)

    def _write_format(self, *, restoring: bool) -> None:
        marker: dict[str, Any] = {"format": FORMAT, "written_by": __version__}
        if restoring:
            marker["restoring"] = True
        with store_errors(self.path):
            write_atomically(self.format_file, json.dumps(marker))

    def _check_format(self) -> None:
        marker = _read_marker(self.format_file)
        if marker["format"] > FORMAT:
            raise StoreTooNew(
                f"{self.path} has format {marker['format']}, written by sleep-runtime "
                f"{marker.get('written_by', 'unknown')}; this is {__version__} and knows format "
                f"{FORMAT}",
                field="data_dir",
                mend="run the newer sleep-runtime, or choose another SLEEP_DATA_DIR",
            )
        if bool(marker.get("restoring")) is not self._restoring:
            raise StoreError(
                f"{self.path} belongs to a runtime already"
                if self._restoring
                else f"{self.path} is being restored from a backup, or that was interrupted",
                field="data_dir",
                mend="restore into an empty directory"
                if self._restoring
                else "wait for the restore to end, or run it again",
            )

    @contextmanager
    def lock(self, name: str, *, wait_s: float = 0.0) -> Iterator[Path]:
        """Be the one owner of ``name`` in this directory while the block runs.

        The lock goes with the process, however that dies. Raises ``StoreBusy``, naming the
        owner's pid, when it is still taken after ``wait_s`` seconds.
        """
        self.ensure()
        with file_lock(self.path / f"{name}.lock", wait_s=wait_s) as path:
            yield path


def _read_marker(path: Path) -> dict[str, Any]:
    try:
        marker = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError):
        marker = None
    if not isinstance(marker, dict) or not isinstance(marker.get("format"), int):
        raise StoreError(
            f"{path} does not say which format the directory has",
            field="data_dir",
            mend="choose an empty directory, or restore this file",
        )
    return marker


def write_atomically(path: Path, text: str) -> None:
    """Replace a small file so that a reader, or a crash, sees the old text or the new one."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    with scratch.open("w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
    sync_directory(path.parent)


def _sync_names(made: list[Path]) -> None:
    """Make the names of these directories durable: with its name a directory loses all it holds."""
    for place in made:
        with suppress(PermissionError):  # whose parent may not be read, cannot sync it
            sync_directory(place.parent)


def sync_directory(path: Path) -> None:
    """Make names created in ``path`` durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def file_lock(path: Path, *, wait_s: float = 0.0) -> Iterator[Path]:
    """Hold an exclusive ``flock`` on ``path`` with our pid in it; ``StoreBusy`` if it is taken.

    The file stays behind when the lock is released: removing it would let two owners in.
    """
    with store_errors(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _acquire(handle, path, time.monotonic() + wait_s)
        with store_errors(path):
            # One fixed-width write: whoever reads it meanwhile sees a whole pid.
            os.pwrite(handle, f"{os.getpid():<20}\n".encode(), 0)
        yield path
    finally:
        os.close(handle)


def _acquire(handle: int, path: Path, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise _busy(handle, path) from None
            time.sleep(_LOCK_POLL_S)
        else:
            return


def _busy(handle: int, path: Path) -> StoreBusy:
    pid = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
    owner = f"process {pid}" if pid else "another process"
    return StoreBusy(
        f"{path.parent} is in use by {owner}, which holds {path.name}",
        field="data_dir",
        mend="stop that runtime, or choose another SLEEP_DATA_DIR",
    )
