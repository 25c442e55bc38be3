"""Which outcomes were told to who asked for them, and which devices are equal, become rows.

What was finished before counts as told.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add two tables."""
    op.create_table(
        "reports",
        sa.Column("benchmark", sa.Integer, sa.ForeignKey("benchmarks.id"), primary_key=True),
        sa.Column("reported_at", sa.Text, nullable=False),
    )
    op.execute("INSERT INTO reports SELECT benchmark, finished_at FROM outcomes")
    op.create_table(
        "equivalences",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("tested_at", sa.Text, nullable=False),
        sa.Column("a_key", sa.Text, nullable=False, index=True),
        sa.Column("b_key", sa.Text, nullable=False),
        sa.Column("within", sa.Float, nullable=False),
        sa.Column("farthest", sa.Float, nullable=False),
        sa.Column("equal", sa.Boolean, nullable=False),
    )
