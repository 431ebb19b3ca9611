"""What nights cost: by organisation and hour, and what a run's turn began with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table and the two columns. A run that is under way begins a turn."""
    op.create_table(
        "spending",
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("hour", sa.BigInteger(), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_tokens", sa.BigInteger(), nullable=False),
        sa.Column("gpu_seconds", sa.Float(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("org", "hour"),
    )
    op.create_index("ix_spending_hour", "spending", ["hour", "org"])
    op.add_column("runs", sa.Column("seconds", sa.Float(), nullable=False, server_default="0"))
    op.add_column("runs", sa.Column("spent_before", sa.Text(), nullable=False, server_default="{}"))
    op.execute("UPDATE runs SET spent_before = json_object('usage', json(usage))")
