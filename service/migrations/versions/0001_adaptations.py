"""What the service kept before its tables had a history."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_Position = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _owner() -> "sa.Column[str]":
    return sa.Column("adaptation", sa.String, sa.ForeignKey("adaptations.id", ondelete="CASCADE"), nullable=False)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "models",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("bundle", sa.String, nullable=False),
        sa.Column("registered_at", sa.Float, nullable=False),
        sa.UniqueConstraint("name", "bundle"),
    )
    op.create_table(
        "adaptations",
        sa.Column("position", _Position, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String, nullable=False, unique=True),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("model_version", sa.Integer, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False, index=True),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "versions",
        _owner(),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("n_demos", sa.Integer, nullable=False),
        sa.Column("n_trials", sa.Integer, nullable=False),
        sa.Column("scored", sa.Boolean, nullable=False),
        sa.UniqueConstraint("adaptation", "version"),
    )
    op.create_table(
        "members",
        sa.Column("position", _Position, primary_key=True, autoincrement=True),
        _owner(),
        sa.Column("since", sa.Integer, nullable=False),
        sa.Column("role", sa.String, nullable=False),
        sa.Column("digest", sa.String, nullable=False, index=True),
        sa.Index("members_of_version", "adaptation", "since"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "recordings",
        sa.Column("id", sa.String, primary_key=True),
        _owner(),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("explore", sa.Boolean, nullable=False),
        sa.Column("hypothesis", sa.Integer, nullable=False),
        sa.Column("finished_as", sa.Integer, nullable=True),
        sa.Index("recordings_of_adaptation", "adaptation"),
    )
    op.create_table(
        "requests",
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("fingerprint", sa.String, nullable=False),
        _owner(),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("recording", sa.String, nullable=True),
        sa.Index("requests_of_adaptation", "adaptation"),
    )
