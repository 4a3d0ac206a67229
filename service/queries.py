"""Rows as frozen values, and the questions that several transactions ask. Functions of an open connection.

Locks are taken in one order, so that no two transactions wait for each other: adaptation, tenant, episodes by digest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Row, Select, Table, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from service.errors import (
    AdaptationNotFound,
    EpisodeFinished,
    EpisodeNotFound,
    IdempotencyKeyReused,
    VersionNotFound,
    quote,
)
from service.tables import adaptations, blobs, members, recordings, requests, steps, tenants, versions

Role = Literal["demo", "trial"]
Made = Mapping[str, Any]


@dataclass(frozen=True)
class Adaptation:
    """One version of an adaptation, without its episodes. Times are seconds since 1970."""

    id: str
    tenant: str
    model: str
    model_version: int
    version: int
    n_demos: int
    n_trials: int
    scored: bool
    created_at: float
    expires_at: float


@dataclass(frozen=True)
class VersionRow:
    """What one version of an adaptation holds, and when it was made."""

    version: int
    n_demos: int
    n_trials: int
    scored: bool
    created_at: float


@dataclass(frozen=True)
class RecordingRow:
    """A recorded episode: the version it acts from and the hypothesis it committed to."""

    id: str
    adaptation: str
    version: int
    explore: bool
    hypothesis: int
    finished_as: int | None = None


@dataclass(frozen=True)
class Ending:
    """That a recorded episode becomes a trial, as whoever ends it knows it."""

    recording: str
    n_steps: int


class StepTaken(Exception):
    """Another server has recorded a step of this number, or the episode takes no more: read it again."""


@dataclass(frozen=True)
class Post:
    """A POST that its client may repeat: its Idempotency-Key, and a digest of everything else in it.

    Keys are a tenant's own: two tenants may use the same one.
    """

    tenant: str
    key: str
    fingerprint: str


def newest() -> Select[Any]:
    """Adaptations in their newest version."""
    is_newest = (versions.c.adaptation == adaptations.c.id) & (versions.c.version == adaptations.c.version)
    return select(adaptations, versions.c.n_demos, versions.c.n_trials, versions.c.scored).join(versions, is_newest)


def read_adaptation(
    c: Connection, tenant: str, adaptation_id: str, version: int | None = None, *, lock: bool = False
) -> Adaptation:
    """One version, the newest unless said; locked against other writers if asked for.

    Raises:
        AdaptationNotFound, VersionNotFound: the tenant has no such thing.
    """
    where = (adaptations.c.id == adaptation_id, adaptations.c.tenant == tenant)
    if lock:
        # On its own: a row that was waited for is read again, what was joined to it is not.
        c.execute(select(adaptations.c.version).where(*where).with_for_update())
    current = c.execute(newest().where(*where)).first()
    if current is None:
        raise AdaptationNotFound(adaptation_id)
    if version is None or version == current.version:
        return to_adaptation(current)
    where = (versions.c.adaptation == adaptation_id, versions.c.version == version)
    old = c.execute(select(versions).where(*where)).first() if version < current.version else None
    if old is None:
        got = str(version)
        raise VersionNotFound(
            f"the adaptation has versions 1 to {current.version}, and no {got}",
            field="version", expected=f"1 to {current.version}", got=got,
        )  # fmt: skip
    changed = {"version": old.version, "n_demos": old.n_demos, "n_trials": old.n_trials, "scored": old.scored}
    return to_adaptation(current, **changed)


def to_adaptation(row: Row[Any], **changed: Any) -> Adaptation:
    """A row of `newest`, with some columns of another version."""
    columns = dict(row._mapping) | changed
    del columns["position"]
    return Adaptation(**columns)


def add_version(c: Connection, adaptation_id: str, row: VersionRow) -> None:
    """Note what a version holds."""
    c.execute(insert(versions).values(adaptation=adaptation_id, **vars(row)))


def read_recording(c: Connection, adaptation_id: str, recording_id: str, *, lock: bool = False) -> RecordingRow:
    """A recorded episode of an adaptation. Raises EpisodeNotFound."""
    where = (recordings.c.id == recording_id, recordings.c.adaptation == adaptation_id)
    question = select(recordings).where(*where)
    row = c.execute(question.with_for_update() if lock else question).first()
    if row is None:
        raise EpisodeNotFound("the adaptation has no such episode", field="episode", got=quote(recording_id))
    return RecordingRow(**row._mapping)


def finish_recording(c: Connection, adaptation_id: str, ending: Ending, version: int) -> None:
    """Note that a recorded episode became a trial in `version`; nothing more is recorded in it.

    Raises:
        EpisodeFinished: it did before.
        StepTaken: there are steps that whoever ends it has not seen.
    """
    row = read_recording(c, adaptation_id, ending.recording, lock=True)
    if row.finished_as is not None:
        raise EpisodeFinished(f"the episode was finished before and is a trial since version {row.finished_as}")
    n_steps = c.scalar(select(func.count()).select_from(steps).where(steps.c.recording == ending.recording))
    if n_steps != ending.n_steps:
        raise StepTaken
    c.execute(update(recordings).where(recordings.c.id == ending.recording).values(finished_as=version))
    c.execute(delete(steps).where(steps.c.recording == ending.recording))  # they are the trial now


def made_by(c: Connection, post: Post | None) -> Made | None:
    """What the same POST made before, or None. Raises IdempotencyKeyReused."""
    if post is None:
        return None
    where = (requests.c.tenant == post.tenant, requests.c.key == post.key)
    row = c.execute(select(requests.c.fingerprint, requests.c.made).where(*where)).first()
    if row is None:
        return None
    if row.fingerprint != post.fingerprint:
        raise IdempotencyKeyReused(
            "this Idempotency-Key came with another request before", field="Idempotency-Key", got=quote(post.key)
        )
    return row.made


def claim(c: Connection, post: Post | None, now: float) -> Made | None:
    """Take the key of a POST for this transaction, or say what the same POST made before.

    Whoever comes with the same key at the same time waits here for the end of this transaction. `settle` has to follow.

    Raises:
        IdempotencyKeyReused: the key belongs to another request.
    """
    if post is None:
        return None
    row = {"tenant": post.tenant, "key": post.key, "fingerprint": post.fingerprint, "created_at": now, "made": {}}
    return None if insert_new(c, requests, [row]) else made_by(c, post)


def settle(c: Connection, post: Post | None, made: Made, adaptation_id: str | None = None) -> None:
    """Note what a POST made, in the transaction that made it; that note goes with the adaptation, if there is one."""
    if post is not None:
        where = (requests.c.tenant == post.tenant, requests.c.key == post.key)
        c.execute(update(requests).where(*where).values(made=dict(made), adaptation=adaptation_id))


def insert_new(c: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert those rows whose key is not there yet; how many. Waits for others who are inserting the same."""
    dialect = sqlite if c.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(table).on_conflict_do_nothing()
    counted = {"preserve_rowcount": True}  # else it is -1 for an INSERT
    return sum(c.execute(statement, dict(row), execution_options=counted).rowcount for row in rows)


def lock_tenant(c: Connection, tenant: str) -> Row[Any]:
    """What a tenant has: name, n_adaptations, n_bytes. Its other writers wait until this transaction is over."""
    insert_new(c, tenants, [{"name": tenant, "n_adaptations": 0, "n_bytes": 0}])
    return c.execute(select(tenants).where(tenants.c.name == tenant).with_for_update()).one()


def lock_blobs(c: Connection, sizes: Mapping[str, int]) -> None:
    """Refer to these episodes from now on: nobody deletes their files until this transaction is over."""
    dialect = sqlite if c.dialect.name == "sqlite" else postgresql
    # Setting a column to what it is takes the row's lock.
    statement = dialect.insert(blobs).values(digest=bindparam("digest"), n_bytes=bindparam("n_bytes"))
    statement = statement.on_conflict_do_update(index_elements=["digest"], set_={"digest": statement.excluded.digest})
    for digest in sorted(sizes):
        c.execute(statement, {"digest": digest, "n_bytes": sizes[digest]})


def referred(c: Connection, digests: Sequence[str], tenant: str | None = None) -> set[str]:
    """Those of these episodes that some adaptation refers to, or one of this tenant."""
    question = select(members.c.digest).where(members.c.digest.in_(digests)).distinct()
    return set(c.scalars(question if tenant is None else question.where(members.c.tenant == tenant)))
