"""The time that servers on this database have counted."""

import sqlalchemy as sa
from alembic import op

revision = "0002_clocks"
down_revision = "0001_tables"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "clocks",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("counted_s", sa.Float(), nullable=False),
        sa.Column("wall_s", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
