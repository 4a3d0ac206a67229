"""Uploaded data sets, and training jobs on them and on families of one's own."""

import sqlalchemy as sa
from alembic import op

revision = "0003_datasets"
down_revision = "0002_clocks"
_POSITION = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the table and the columns."""
    op.create_table(
        "datasets",
        sa.Column("position", _POSITION, autoincrement=True, nullable=False),
        sa.Column("uid", sa.String(), nullable=False),
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("parts", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("position"),
        sa.UniqueConstraint("uid"),
        sa.UniqueConstraint("tenant", "name"),
        sqlite_autoincrement=True,
    )
    op.add_column("training_jobs", sa.Column("dataset", sa.String(), nullable=True))
    op.add_column("training_jobs", sa.Column("family", sa.String(), nullable=True))
