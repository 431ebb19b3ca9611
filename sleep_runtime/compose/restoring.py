"""What has to happen to data that came back from a backup, before any runtime opens it."""

from __future__ import annotations

from sleep_runtime.stores.backup.restore import AfterRestore
from sleep_runtime.stores.datadir import DataDir
from sleep_runtime.stores.keys import KeyStore


def _forget_local_key(paths: DataDir) -> None:
    """The secret of the other machine's own key is in no backup; this one makes its own."""
    if paths.access_path.exists():
        KeyStore(paths.access_path).forget_local()


AFTER_RESTORE: tuple[AfterRestore, ...] = (_forget_local_key,)
"""Called in this order, with the restored directory, which is nobody else's meanwhile."""
