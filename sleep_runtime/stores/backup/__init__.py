"""Backups: a copy of a data directory's databases with their digests, made while it is in use.

A backup is a directory: one SQLite file for each database, which needs nothing beside it, and a
``manifest.json`` that says what they hold. The index is left out: the ledger fills a new one.
"""

from sleep_runtime.stores.backup.make import back_up, seal
from sleep_runtime.stores.backup.manifest import Manifest
from sleep_runtime.stores.backup.register import (
    Registered,
    forget,
    partial_of,
    register,
    registered,
)
from sleep_runtime.stores.backup.restore import Restored, restore
from sleep_runtime.stores.backup.verify import verify

__all__ = [
    "Manifest",
    "Registered",
    "Restored",
    "back_up",
    "forget",
    "partial_of",
    "register",
    "registered",
    "restore",
    "seal",
    "verify",
]
