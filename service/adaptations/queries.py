"""Rows as frozen values, and the questions that several transactions ask. Functions of an open connection.

Locks are taken in one order, so that no two transactions wait for each other: adaptation, tenant, episodes by digest.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from service.adaptations.records import Adaptation, FinishRecording, RecordingRow, StepConflict, VersionRow
from service.errors import (
    AdaptationNotFound,
    EpisodeFinished,
    EpisodeNotFound,
    VersionNotFound,
    quote,
)
from service.storage.tables import adaptations, blobs, members, recordings, steps, versions


def newest() -> Select[Any]:
    """Adaptations in their newest version."""
    is_newest = (versions.c.adaptation == adaptations.c.id) & (versions.c.version == adaptations.c.version)
    return select(adaptations, versions.c.n_demos, versions.c.n_trials, versions.c.scored, versions.c.ask).join(
        versions, is_newest
    )


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
    changed = {
        "version": old.version,
        "n_demos": old.n_demos,
        "n_trials": old.n_trials,
        "scored": old.scored,
        "ask": old.ask,
    }
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


def finish_recording(c: Connection, adaptation_id: str, ending: FinishRecording, version: int) -> None:
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
        raise StepConflict
    c.execute(update(recordings).where(recordings.c.id == ending.recording).values(finished_as=version))
    c.execute(delete(steps).where(steps.c.recording == ending.recording))  # they are the trial now


def lock_episodes(c: Connection, sizes: Mapping[str, int]) -> None:
    """Refer to these episodes from now on: nobody deletes their files until this transaction is over."""
    dialect = sqlite if c.dialect.name == "sqlite" else postgresql
    # Setting a column to what it is takes the row's lock.
    statement = dialect.insert(blobs).values(digest=bindparam("digest"), n_bytes=bindparam("n_bytes"))
    statement = statement.on_conflict_do_update(index_elements=["digest"], set_={"digest": statement.excluded.digest})
    for digest in sorted(sizes):
        c.execute(statement, {"digest": digest, "n_bytes": sizes[digest]})


def referenced(c: Connection, digests: Sequence[str], tenant: str | None = None) -> set[str]:
    """Those of these episodes that some adaptation refers to, or one of this tenant."""
    question = select(members.c.digest).where(members.c.digest.in_(digests)).distinct()
    return set(c.scalars(question if tenant is None else question.where(members.c.tenant == tenant)))
