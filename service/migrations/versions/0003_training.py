"""Training jobs, their events, and leases."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_Position = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "training_jobs",
        sa.Column("position", _Position, primary_key=True, autoincrement=True),
        sa.Column("uid", sa.String, nullable=False, unique=True),
        sa.Column("tenant", sa.String, nullable=False),
        sa.Column("id", sa.String, nullable=False),
        sa.Column("experiment", sa.String, nullable=False),
        sa.Column("seed", sa.Integer, nullable=True),
        sa.Column("steps", sa.Integer, nullable=True),
        sa.Column("name", sa.String, nullable=True),
        sa.Column("post_key", sa.String, nullable=True),
        sa.Column("fingerprint", sa.String, nullable=True),
        sa.Column("state", sa.String, nullable=False, index=True),
        sa.Column("backend", sa.String, nullable=False),
        sa.Column("host", sa.String, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("stop_requested", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("started_at", sa.Float, nullable=True),
        sa.Column("finished_at", sa.Float, nullable=True),
        sa.Column("read_bytes", sa.BigInteger, nullable=False),
        sa.Column("progress", sa.String, nullable=True),
        sa.Column("error", sa.String, nullable=True),
        sa.Column("model", sa.String, nullable=True),
        sa.Column("model_version", sa.Integer, nullable=True),
        sa.UniqueConstraint("tenant", "id"),
        sa.UniqueConstraint("tenant", "post_key"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "training_events",
        sa.Column("job", sa.String, sa.ForeignKey("training_jobs.uid", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("data", sa.String, nullable=False),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("holder", sa.String, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
    )
