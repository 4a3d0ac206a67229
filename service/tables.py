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

from service.stages import note_storage

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

# `id` is the client's, `uid` ours: it names the run's folder and the submission on the cluster.
training_jobs = Table(
    "training_jobs",
    _metadata,
    Column("position", Integer, primary_key=True, autoincrement=True),
    Column("uid", String, nullable=False, unique=True),
    Column("tenant", String, nullable=False),
    Column("id", String, nullable=False),
    Column("experiment", String, nullable=False),
    Column("seed", Integer, nullable=True),
    Column("steps", Integer, nullable=True),
    Column("name", String, nullable=True),
    Column("post_key", String, nullable=True),
    Column("fingerprint", String, nullable=True),
    Column("state", String, nullable=False, index=True),
    Column("backend", String, nullable=False),
    Column("host", String, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("stop_requested", Boolean, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("started_at", Float, nullable=True),
    Column("finished_at", Float, nullable=True),
    Column("read_bytes", Integer, nullable=False),
    Column("progress", String, nullable=True),
    Column("error", String, nullable=True),
    Column("model", String, nullable=True),
    Column("model_version", Integer, nullable=True),
    UniqueConstraint("tenant", "id"),
    UniqueConstraint("tenant", "post_key"),
    sqlite_autoincrement=True,
)

# What a stream of a job's events is replayed from; `data` is JSON.
training_events = Table(
    "training_events",
    _metadata,
    Column("job", ForeignKey("training_jobs.uid", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("kind", String, nullable=False),
    Column("at", Float, nullable=False),
    Column("data", String, nullable=False),
)

# Who may do what only one server process at a time should do, and until when.
leases = Table(
    "leases",
    _metadata,
    Column("name", String, primary_key=True),
    Column("holder", String, nullable=False),
    Column("expires_at", Float, nullable=False),
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
    note_storage(engine)
    return engine
