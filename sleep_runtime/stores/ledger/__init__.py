"""The ledger: observations, pins, notes, runs, leases, schedules and the outbox, in SQLite."""

from sleep_runtime.stores.ledger.reader import SqliteLedgerReader
from sleep_runtime.stores.ledger.writer import SqliteLedger

__all__ = ["SqliteLedger", "SqliteLedgerReader"]
