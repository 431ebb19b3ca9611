"""Alembic migrations of the ledger. ``stores.ledger.revision`` runs them; nobody else does."""
