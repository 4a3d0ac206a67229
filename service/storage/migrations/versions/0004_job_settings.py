"""Training jobs with other settings than those of their experiment, and with a number of minutes."""

import sqlalchemy as sa
from alembic import op

revision = "0004_job_settings"
down_revision = "0003_datasets"


def upgrade() -> None:
    """Add the columns; the settings are JSON."""
    op.add_column("training_jobs", sa.Column("minutes", sa.Float(), nullable=True))
    op.add_column("training_jobs", sa.Column("settings", sa.String(), nullable=True))
