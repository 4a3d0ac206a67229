"""What an adaptation was forked from."""

import sqlalchemy as sa
from alembic import op

revision = "0005_origins"
down_revision = "0004_job_settings"


def upgrade() -> None:
    """Add the columns; of earlier forks nobody knows the origin."""
    op.add_column("adaptations", sa.Column("origin", sa.String(), nullable=True))
    op.add_column("adaptations", sa.Column("origin_version", sa.Integer(), nullable=True))
    op.create_index("adaptations_of_origin", "adaptations", ["origin"])
