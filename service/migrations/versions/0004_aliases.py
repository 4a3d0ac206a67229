"""Aliases of models: what each name has meant, and when."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_Position = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table; what a name alone means is its newest version, until a server finds another one in its folder."""
    op.create_table(
        "aliases",
        sa.Column("position", _Position, primary_key=True, autoincrement=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("alias", sa.String, nullable=False),
        sa.Column("version", sa.Integer, nullable=True),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("before", sa.BigInteger, nullable=True),
        sa.Column("at", sa.Float, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("aliases_of_model", "aliases", ["name", "alias", "position"])
    op.execute(
        "INSERT INTO aliases (name, alias, version, action, at) "
        "SELECT name, 'current', MAX(version), 'registered', MAX(registered_at) FROM models GROUP BY name"
    )
