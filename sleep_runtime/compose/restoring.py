"""What has to happen to data that came back from a backup, before any runtime opens it."""

from __future__ import annotations

from sleep_runtime.stores.backup.restore import AfterRestore

AFTER_RESTORE: tuple[AfterRestore, ...] = ()
"""Called in this order, with the restored directory, which is nobody else's meanwhile."""
