"""Alembic's entry: migrates the connection it is given, inside that connection's transaction.

The caller owns the transaction, so a migration that is interrupted leaves nothing behind.
"""

from alembic import context

from sleep_runtime.stores.ledger.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
    transactional_ddl=True,  # every transaction is begun explicitly, so its DDL rolls back
)
with context.begin_transaction():
    context.run_migrations()
