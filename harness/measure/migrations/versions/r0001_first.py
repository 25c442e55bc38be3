"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create all tables."""
    op.create_table(
        "sessions",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("device", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("runtime", sa.Text, nullable=False),
        sa.Column("runtime_version", sa.Text, nullable=False),
        sa.Column("agent_sha256", sa.Text, nullable=False),
        sa.Column("started_at", sa.Text, nullable=False),
        sa.Column("facts", sa.Text, nullable=False),
    )
    op.create_table(
        "benchmarks",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("session", sa.Text, sa.ForeignKey("sessions.id"), nullable=False),
        sa.Column("subject_key", sa.Text, nullable=False, index=True),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("provenance", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
    )
    op.create_table(
        "solos",
        sa.Column("benchmark", sa.Integer, sa.ForeignKey("benchmarks.id"), primary_key=True),
        sa.Column("solo", sa.LargeBinary, nullable=False),
        sa.Column("numbers", sa.Text, nullable=False),
    )
    op.create_table(
        "repetitions",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("benchmark", sa.Integer, sa.ForeignKey("benchmarks.id"), nullable=False, index=True),
        sa.Column("session", sa.Text, sa.ForeignKey("sessions.id"), nullable=False),
        sa.Column("taken_at", sa.Text, nullable=False),
        sa.Column("models", sa.Text, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "outcomes",
        sa.Column("benchmark", sa.Integer, sa.ForeignKey("benchmarks.id"), primary_key=True),
        sa.Column("finished_at", sa.Text, nullable=False),
        sa.Column("ok", sa.Boolean, nullable=False),
        sa.Column("kind", sa.Text),
        sa.Column("message", sa.Text),
        sa.Column("stderr_tail", sa.Text),
    )
    op.create_table(
        "reference_medians",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("session", sa.Text, sa.ForeignKey("sessions.id"), nullable=False),
        sa.Column("taken_at", sa.Text, nullable=False),
        sa.Column("subject_key", sa.Text, nullable=False, index=True),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("median_ns", sa.Float, nullable=False),
    )
    op.create_table(
        "spreads",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("runtime", sa.Text, nullable=False),
        sa.Column("runtime_version", sa.Text, nullable=False),
        sa.Column("relative_sd", sa.Float, nullable=False),
        sa.Column("visits", sa.Integer, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
    )
