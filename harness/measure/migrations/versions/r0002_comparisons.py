"""Comparisons, failed conversions and A/A tests become rows.

The spreads stored before go: the settings that they were found under are not known. The samples that they were derived from stay.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add three tables, drop one."""
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
    op.create_table(
        "aa_tests",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("ended_at", sa.Text, nullable=False),
        sa.Column("settings_key", sa.Text, nullable=False, index=True),
        sa.Column("subject_key", sa.Text, nullable=False),
        sa.Column("relative_sd", sa.Float),
        sa.Column("visits", sa.Integer, nullable=False),
    )
    op.drop_table("spreads")
