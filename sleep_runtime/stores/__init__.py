"""Journal, ledger and index on disk."""
