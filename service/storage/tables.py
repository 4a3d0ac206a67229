"""The tables of the service. A change needs a revision in `migrations/versions`; a test compares the two."""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

metadata = MetaData()
# On SQLite only an INTEGER key is generated automatically.
_Position = BigInteger().with_variant(Integer(), "sqlite")


def _owner() -> Column[Any]:
    """Make a foreign key: the row is deleted together with its adaptation."""
    return Column("adaptation", ForeignKey("adaptations.id", ondelete="CASCADE"), nullable=False)


# The row of a tenant is also the lock that serialises its writes.
tenants = Table(
    "tenants",
    metadata,
    Column("name", String, primary_key=True),
    Column("n_adaptations", BigInteger, nullable=False),
    Column("n_bytes", BigInteger, nullable=False),
)

models = Table(
    "models",
    metadata,
    Column("name", String, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("bundle", String, nullable=False),
    Column("registered_at", Float, nullable=False),
    UniqueConstraint("name", "bundle"),
)

# Rows are added and never changed. The last row of an alias has its target, or no version if it was deleted. `before`
# is the row that a rollback returns to.
aliases = Table(
    "aliases",
    metadata,
    Column("position", _Position, primary_key=True, autoincrement=True),
    Column("name", String, nullable=False),
    Column("alias", String, nullable=False),
    Column("version", Integer, nullable=True),
    Column("action", String, nullable=False),
    Column("before", BigInteger, nullable=True),
    Column("at", Float, nullable=False),
    Index("aliases_of_model", "name", "alias", "position"),
    sqlite_autoincrement=True,
)

# `position` orders pages; `version` is the newest one. A fork names its origin, which may be deleted by now.
adaptations = Table(
    "adaptations",
    metadata,
    Column("position", _Position, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False, unique=True),
    Column("tenant", String, nullable=False),
    Column("model", String, nullable=False),
    Column("model_version", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
    Column("origin", String, nullable=True),
    Column("origin_version", Integer, nullable=True),
    Index("adaptations_of_tenant", "tenant", "position"),
    Index("adaptations_of_origin", "origin"),
    Index("adaptations_ending", "tenant", "expires_at"),
    sqlite_autoincrement=True,
)

versions = Table(
    "versions",
    metadata,
    _owner(),
    Column("version", Integer, nullable=False),
    Column("n_demos", Integer, nullable=False),
    Column("n_trials", Integer, nullable=False),
    Column("scored", Boolean, nullable=False),
    Column("ask", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
    UniqueConstraint("adaptation", "version"),
)

# An episode belongs to every version from `since` on, so that versions and forks share episodes.
members = Table(
    "members",
    metadata,
    Column("position", _Position, primary_key=True, autoincrement=True),
    _owner(),
    Column("tenant", String, nullable=False),
    Column("since", Integer, nullable=False),
    Column("role", String, nullable=False),
    Column("digest", String, nullable=False),
    Index("members_of_version", "adaptation", "since"),
    Index("members_with_digest", "digest", "tenant"),
    sqlite_autoincrement=True,
)

# One row per episode file; it is the lock under which the file is written and deleted.
blobs = Table(
    "blobs",
    metadata,
    Column("digest", String, primary_key=True),
    Column("n_bytes", BigInteger, nullable=False),
)

recordings = Table(
    "recordings",
    metadata,
    Column("id", String, primary_key=True),
    _owner(),
    Column("version", Integer, nullable=False),
    Column("explore", Boolean, nullable=False),
    Column("hypothesis", Integer, nullable=False),
    Column("finished_as", Integer, nullable=True),
    Index("recordings_of_adaptation", "adaptation"),
)

# The primary key prevents two servers from recording the same step.
steps = Table(
    "steps",
    metadata,
    Column("recording", ForeignKey("recordings.id", ondelete="CASCADE"), primary_key=True),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("content", LargeBinary, nullable=False),
)

# POSTs with an Idempotency-Key; `made` has the ids of what they created. A row is deleted with its adaptation, or
# after a day if it has none.
requests = Table(
    "requests",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("fingerprint", String, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("adaptation", ForeignKey("adaptations.id", ondelete="CASCADE"), nullable=True),
    Column("made", JSON, nullable=False),
    Index("requests_of_adaptation", "adaptation"),
)

# The secret itself is not stored: `hash` is its SHA-256, `prefix` the part of it that may be shown.
keys = Table(
    "keys",
    metadata,
    Column("prefix", String, primary_key=True),
    Column("hash", String, nullable=False, unique=True),
    Column("tenant", String, nullable=False),
    Column("label", String, nullable=False),
    Column("scopes", String, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=True),
    Column("revoked_at", Float, nullable=True),
)

# Rows are added, never changed, and deleted after a time.
audit = Table(
    "audit",
    metadata,
    Column("position", _Position, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False, index=True),
    Column("tenant", String, nullable=True),
    Column("key", String, nullable=True),
    Column("action", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("outcome", String, nullable=False),
    Column("request", String, nullable=True),
    sqlite_autoincrement=True,
)

# Data sets that were uploaded to train on. The names of their files, `parts`, begin with `uid`.
datasets = Table(
    "datasets",
    metadata,
    Column("position", _Position, primary_key=True, autoincrement=True),
    Column("uid", String, nullable=False, unique=True),
    Column("tenant", String, nullable=False),
    Column("name", String, nullable=False),
    Column("spec", JSON, nullable=False),
    Column("parts", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    UniqueConstraint("tenant", "name"),
    sqlite_autoincrement=True,
)

# Clients use `id`; `uid` names the folder of the run and the submission to the cluster.
training_jobs = Table(
    "training_jobs",
    metadata,
    Column("position", _Position, primary_key=True, autoincrement=True),
    Column("uid", String, nullable=False, unique=True),
    Column("tenant", String, nullable=False),
    Column("id", String, nullable=False),
    Column("experiment", String, nullable=False),
    Column("seed", Integer, nullable=True),
    Column("steps", Integer, nullable=True),
    Column("name", String, nullable=True),
    Column("idempotency_key", String, nullable=True),
    Column("fingerprint", String, nullable=True),
    Column("state", String, nullable=False, index=True),
    Column("backend", String, nullable=False),
    Column("host", String, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("stop_requested", Boolean, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("started_at", Float, nullable=True),
    Column("finished_at", Float, nullable=True),
    Column("read_bytes", BigInteger, nullable=False),
    Column("progress", String, nullable=True),
    Column("error", String, nullable=True),
    Column("model", String, nullable=True),
    Column("model_version", Integer, nullable=True),
    Column("dataset", String, nullable=True),
    Column("family", String, nullable=True),
    Column("minutes", Float, nullable=True),
    Column("settings", String, nullable=True),
    UniqueConstraint("tenant", "id"),
    UniqueConstraint("tenant", "idempotency_key"),
    sqlite_autoincrement=True,
)

# Events of training jobs, for replay; `data` is JSON.
training_events = Table(
    "training_events",
    metadata,
    Column("job", ForeignKey("training_jobs.uid", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("kind", String, nullable=False),
    Column("at", Float, nullable=False),
    Column("data", String, nullable=False),
)

# How far the clock by which things expire has come, and what the wall clock showed then.
clocks = Table(
    "clocks",
    metadata,
    Column("name", String, primary_key=True),
    Column("counted_s", Float, nullable=False),
    Column("wall_s", Float, nullable=False),
)

# Leases on work that only one server process at a time may do.
leases = Table(
    "leases",
    metadata,
    Column("name", String, primary_key=True),
    Column("holder", String, nullable=False),
    Column("expires_at", Float, nullable=False),
)
