"""Comparisons and failed conversions become rows; a spread between visits belongs to settings.

What spreads stored before were found with is not known: they have the settings "" and are used no more.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add two tables and a column."""
    op.create_table(
        "comparisons",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("a", sa.Integer, sa.ForeignKey("benchmarks.id"), nullable=False),
        sa.Column("b", sa.Integer, sa.ForeignKey("benchmarks.id"), nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
    )
    op.create_table(
        "unmeasured",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("failed_at", sa.Text, nullable=False),
        sa.Column("device", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("stderr_tail", sa.Text, nullable=False),
    )
    op.add_column("spreads", sa.Column("settings_key", sa.Text, nullable=False, server_default=""))
    op.create_index("ix_spreads_settings_key", "spreads", ["settings_key"])
