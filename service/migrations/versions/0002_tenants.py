"""Tenants, keys, the audit log; steps of recorded episodes in the database; idempotency for everything.

What was there belongs to the tenant `default`. Its episodes count no bytes: nobody noted how large they were.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_Position = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Change what there is, and make what is new."""
    _owned_by_tenants()
    _requests()
    _new_tables()


def _owned_by_tenants() -> None:
    for name in ("adaptations", "members"):
        with op.batch_alter_table(name) as table:
            table.add_column(sa.Column("tenant", sa.String, nullable=False, server_default="default"))
    op.drop_index("ix_members_digest", "members")
    with op.batch_alter_table("versions") as table:
        table.add_column(sa.Column("created_at", sa.Float, nullable=False, server_default="0"))
    op.execute("UPDATE versions SET created_at = (SELECT created_at FROM adaptations WHERE id = versions.adaptation)")
    for name, column in (("adaptations", "tenant"), ("members", "tenant"), ("versions", "created_at")):
        with op.batch_alter_table(name, table_kwargs=_kept(name)) as table:
            table.alter_column(column, server_default=None)
    op.create_index("adaptations_of_tenant", "adaptations", ["tenant", "position"])
    op.create_index("adaptations_ending", "adaptations", ["tenant", "expires_at"])
    op.create_index("members_with_digest", "members", ["digest", "tenant"])


def _kept(table: str) -> dict[str, bool]:
    """What SQLite does not tell when it is asked about a table that is rebuilt."""
    return {} if table == "versions" else {"sqlite_autoincrement": True}


def _requests() -> None:
    old = sa.table("requests", *map(sa.column, ("key", "fingerprint", "adaptation", "version", "recording")))
    rows = op.get_bind().execute(sa.select(old)).all()
    op.drop_table("requests")
    new = op.create_table(
        "requests",
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("fingerprint", sa.String, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("adaptation", sa.String, sa.ForeignKey("adaptations.id", ondelete="CASCADE"), nullable=True),
        sa.Column("made", sa.JSON, nullable=False),
        sa.Index("requests_of_adaptation", "adaptation"),
    )
    kept = [
        {
            "tenant": "default",
            "key": row.key,
            "fingerprint": row.fingerprint,
            "created_at": 0.0,
            "adaptation": row.adaptation,
            "made": {"adaptation": row.adaptation, "version": row.version, "recording": row.recording},
        }
        for row in rows
    ]
    if kept:
        op.bulk_insert(new, kept)


def _new_tables() -> None:
    op.create_table(
        "tenants",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("n_adaptations", sa.BigInteger, nullable=False),
        sa.Column("n_bytes", sa.BigInteger, nullable=False),
    )
    op.execute("INSERT INTO tenants SELECT 'default', count(*), 0 FROM adaptations")
    op.create_table(
        "blobs",
        sa.Column("digest", sa.String, primary_key=True),
        sa.Column("n_bytes", sa.BigInteger, nullable=False),
    )
    op.execute("INSERT INTO blobs SELECT DISTINCT digest, 0 FROM members")
    op.create_table(
        "steps",
        sa.Column("recording", sa.String, sa.ForeignKey("recordings.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("step", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "keys",
        sa.Column("prefix", sa.String, primary_key=True),
        sa.Column("hash", sa.String, nullable=False, unique=True),
        sa.Column("tenant", sa.String, nullable=False),
        sa.Column("label", sa.String, nullable=False),
        sa.Column("scopes", sa.String, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=True),
        sa.Column("revoked_at", sa.Float, nullable=True),
    )
    op.create_table(
        "audit",
        sa.Column("position", _Position, primary_key=True, autoincrement=True),
        sa.Column("at", sa.Float, nullable=False, index=True),
        sa.Column("tenant", sa.String, nullable=True),
        sa.Column("key", sa.String, nullable=True),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("request", sa.String, nullable=True),
        sqlite_autoincrement=True,
    )
