"""The tables, and a connection to them that does not lose what it acknowledged."""

from pathlib import Path
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Engine,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    create_engine,
    event,
)

_metadata = MetaData()


def _owner() -> Column[Any]:
    """What is deleted together with its adaptation."""
    return Column("adaptation", ForeignKey("adaptations.id", ondelete="CASCADE"), nullable=False)


models = Table(
    "models",
    _metadata,
    Column("name", String, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("bundle", String, nullable=False),
    Column("registered_at", Float, nullable=False),
    UniqueConstraint("name", "bundle"),
)

# `position` orders pages; `version` is the newest one.
adaptations = Table(
    "adaptations",
    _metadata,
    Column("position", Integer, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False, unique=True),
    Column("model", String, nullable=False),
    Column("model_version", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
    sqlite_autoincrement=True,
)

versions = Table(
    "versions",
    _metadata,
    _owner(),
    Column("version", Integer, nullable=False),
    Column("n_demos", Integer, nullable=False),
    Column("n_trials", Integer, nullable=False),
    Column("scored", Boolean, nullable=False),
    UniqueConstraint("adaptation", "version"),
)

# An episode belongs to every version from `since` on: versions share what they have in common.
members = Table(
    "members",
    _metadata,
    Column("position", Integer, primary_key=True, autoincrement=True),
    _owner(),
    Column("since", Integer, nullable=False),
    Column("role", String, nullable=False),
    Column("digest", String, nullable=False, index=True),
    Index("members_of_version", "adaptation", "since"),
    sqlite_autoincrement=True,
)

recordings = Table(
    "recordings",
    _metadata,
    Column("id", String, primary_key=True),
    _owner(),
    Column("version", Integer, nullable=False),
    Column("explore", Boolean, nullable=False),
    Column("hypothesis", Integer, nullable=False),
    Column("finished_as", Integer, nullable=True),
    Index("recordings_of_adaptation", "adaptation"),
)

# What a POST with an Idempotency-Key made, so that the same POST again makes nothing.
requests = Table(
    "requests",
    _metadata,
    Column("key", String, primary_key=True),
    Column("fingerprint", String, nullable=False),
    _owner(),
    Column("version", Integer, nullable=False),
    Column("recording", String, nullable=True),
    Index("requests_of_adaptation", "adaptation"),
)


def connect(file: Path) -> Engine:
    """A SQLite database whose commits are on the disk when they return; its tables are made if absent."""
    engine = create_engine(
        f"sqlite:///{file}", connect_args={"timeout": 30, "isolation_level": None}, pool_size=8, max_overflow=64
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # The driver's own transactions start lazily, as readers, and then fail when they turn to writing.
        connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))

    _metadata.create_all(engine)
    return engine
