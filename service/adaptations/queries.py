"""Queries that several transactions share, with rows as frozen values. Functions of an open connection.

Locks are always taken in the same order, which avoids deadlocks: adaptation, tenant, episodes by digest.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from service.adaptations.records import Adaptation, FinishRecording, RecordingRow, StepConflict, VersionRow, Wanted
from service.errors import (
    AdaptationNotFound,
    EpisodeFinished,
    EpisodeNotFound,
    VersionNotFound,
    quote,
)
from service.storage.tables import adaptations, blobs, members, recordings, steps, versions


def newest() -> Select[Any]:
    """Select adaptations in their newest version."""
    is_newest = (versions.c.adaptation == adaptations.c.id) & (versions.c.version == adaptations.c.version)
    return select(adaptations, versions.c.n_demos, versions.c.n_trials, versions.c.scored, versions.c.ask).join(
        versions, is_newest
    )


def read_adaptation(
    c: Connection, tenant: str, adaptation_id: str, version: int | None = None, *, lock: bool = False
) -> Adaptation:
    """Return one version, by default the newest; `lock` keeps other writers away until the transaction ends.

    Raises:
        AdaptationNotFound, VersionNotFound: the tenant has no such adaptation or version.
    """
    where = (adaptations.c.id == adaptation_id, adaptations.c.tenant == tenant)
    if lock:
        # Locked in a statement of its own: after a wait PostgreSQL reads the locked row again, but not joined rows.
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
    changed = {
        "version": old.version,
        "n_demos": old.n_demos,
        "n_trials": old.n_trials,
        "scored": old.scored,
        "ask": old.ask,
    }
    return to_adaptation(current, **changed)


def wanted_of(tenant: str, after: int | None, now: float, wanted: Wanted) -> Select[Any]:
    """Select the unexpired adaptations of a tenant that are wanted, in their order, from a position on."""
    position = adaptations.c.position
    query = newest().where(adaptations.c.tenant == tenant, adaptations.c.expires_at > now)
    if after is not None:
        query = query.where(position < after if wanted.newest_first else position > after)
    if wanted.model is not None:
        query = query.where(adaptations.c.model == wanted.model)
    if wanted.search:
        begins = adaptations.c.id.startswith(wanted.search, autoescape=True)
        query = query.where(or_(begins, adaptations.c.model.contains(wanted.search, autoescape=True)))
    return query.order_by(position.desc() if wanted.newest_first else position)


def relatives(c: Connection, adaptation: Adaptation, most: int, now: float) -> list[Adaptation]:
    """Return the unexpired adaptations that come from the same one as this, it included, oldest first, at most `most`.

    An origin that was deleted is where the way back ends.
    """
    own = (adaptations.c.tenant == adaptation.tenant, adaptations.c.expires_at > now)
    back = select(adaptations.c.id, adaptations.c.origin).where(adaptations.c.id == adaptation.id).cte(recursive=True)
    back = back.union(
        select(adaptations.c.id, adaptations.c.origin).join(back, adaptations.c.id == back.c.origin).where(*own)
    )
    first = select(back.c.id).where(~select(adaptations.c.id).where(adaptations.c.id == back.c.origin, *own).exists())
    tree = first.cte(recursive=True)
    tree = tree.union(select(adaptations.c.id).join(tree, adaptations.c.origin == tree.c.id).where(*own))
    query = newest().where(adaptations.c.id.in_(select(tree.c.id))).order_by(adaptations.c.position).limit(most)
    return [to_adaptation(row) for row in c.execute(query)]


def to_adaptation(row: Row[Any], **changed: Any) -> Adaptation:
    """Convert a row of `newest`, with some columns replaced by those of another version."""
    columns = dict(row._mapping) | changed
    del columns["position"]
    return Adaptation(**columns)


def add_version(c: Connection, adaptation_id: str, row: VersionRow) -> None:
    """Insert the row of a version."""
    c.execute(insert(versions).values(adaptation=adaptation_id, **vars(row)))


def read_recording(c: Connection, adaptation_id: str, recording_id: str, *, lock: bool = False) -> RecordingRow:
    """Return a recorded episode of an adaptation. Raises EpisodeNotFound."""
    where = (recordings.c.id == recording_id, recordings.c.adaptation == adaptation_id)
    query = select(recordings).where(*where)
    row = c.execute(query.with_for_update() if lock else query).first()
    if row is None:
        raise EpisodeNotFound("the adaptation has no such episode", field="episode", got=quote(recording_id))
    return RecordingRow(**row._mapping)


def finish_recording(c: Connection, adaptation_id: str, ending: FinishRecording, version: int) -> None:
    """Mark a recorded episode as a trial since `version`, and delete its steps.

    Raises:
        EpisodeFinished: the episode was finished before.
        StepConflict: the episode has steps that the caller has not read.
    """
    row = read_recording(c, adaptation_id, ending.recording, lock=True)
    if row.finished_as is not None:
        raise EpisodeFinished(f"the episode was finished before and is a trial since version {row.finished_as}")
    n_steps = c.scalar(select(func.count()).select_from(steps).where(steps.c.recording == ending.recording))
    if n_steps != ending.n_steps:
        raise StepConflict
    c.execute(update(recordings).where(recordings.c.id == ending.recording).values(finished_as=version))
    c.execute(delete(steps).where(steps.c.recording == ending.recording))


def lock_episodes(c: Connection, sizes: Mapping[str, int]) -> None:
    """Lock these episodes: no other transaction deletes their files until this one ends."""
    dialect = sqlite if c.dialect.name == "sqlite" else postgresql
    # Setting a column to its own value takes the lock of the row.
    statement = dialect.insert(blobs).values(digest=bindparam("digest"), n_bytes=bindparam("n_bytes"))
    statement = statement.on_conflict_do_update(index_elements=["digest"], set_={"digest": statement.excluded.digest})
    for digest in sorted(sizes):
        c.execute(statement, {"digest": digest, "n_bytes": sizes[digest]})


def referenced(c: Connection, digests: Sequence[str], tenant: str | None = None) -> set[str]:
    """Return those of these episodes that an adaptation refers to, of any tenant or of this one."""
    query = select(members.c.digest).where(members.c.digest.in_(digests)).distinct()
    return set(c.scalars(query if tenant is None else query.where(members.c.tenant == tenant)))
