"""Rows as frozen values, and the questions that several transactions ask. Functions of an open connection."""

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Row, Select, insert, select, update

from service.errors import (
    AdaptationNotFound,
    EpisodeFinished,
    EpisodeNotFound,
    IdempotencyKeyReused,
    VersionNotFound,
    quote,
)
from service.tables import adaptations, recordings, requests, versions

Role = Literal["demo", "trial"]


@dataclass(frozen=True)
class Adaptation:
    """One version of an adaptation, without its episodes. Times are seconds since 1970."""

    id: str
    model: str
    model_version: int
    version: int
    n_demos: int
    n_trials: int
    scored: bool
    created_at: float
    expires_at: float


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
class Post:
    """A POST that its client may repeat: its Idempotency-Key, and a digest of everything else in it."""

    key: str
    fingerprint: str


def newest() -> Select[Any]:
    """Adaptations in their newest version."""
    is_newest = (versions.c.adaptation == adaptations.c.id) & (versions.c.version == adaptations.c.version)
    return select(adaptations, versions.c.n_demos, versions.c.n_trials, versions.c.scored).join(versions, is_newest)


def read_adaptation(c: Connection, adaptation_id: str, version: int | None = None) -> Adaptation:
    """One version, the newest unless said. Raises AdaptationNotFound, VersionNotFound."""
    current = c.execute(newest().where(adaptations.c.id == adaptation_id)).first()
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


def add_version(c: Connection, adaptation_id: str, version: int, n_demos: int, n_trials: int, scored: bool) -> None:
    """Note what a version holds."""
    row = {"adaptation": adaptation_id, "version": version, "n_demos": n_demos, "n_trials": n_trials, "scored": scored}
    c.execute(insert(versions).values(row))


def read_recording(c: Connection, adaptation_id: str, recording_id: str) -> RecordingRow:
    """A recorded episode of an adaptation. Raises EpisodeNotFound."""
    where = (recordings.c.id == recording_id, recordings.c.adaptation == adaptation_id)
    row = c.execute(select(recordings).where(*where)).first()
    if row is None:
        raise EpisodeNotFound("the adaptation has no such episode", field="episode", got=quote(recording_id))
    return RecordingRow(**row._mapping)


def finish_recording(c: Connection, adaptation_id: str, recording_id: str, version: int) -> None:
    """Note that a recorded episode became a trial in `version`. Raises EpisodeFinished."""
    row = read_recording(c, adaptation_id, recording_id)
    if row.finished_as is not None:
        raise EpisodeFinished(f"the episode was finished before and is a trial since version {row.finished_as}")
    c.execute(update(recordings).where(recordings.c.id == recording_id).values(finished_as=version))


def made_by(c: Connection, post: Post | None) -> Row[Any] | None:
    """What the same POST made before: adaptation, version, recording. Raises IdempotencyKeyReused."""
    if post is None:
        return None
    row = c.execute(select(requests).where(requests.c.key == post.key)).first()
    if row is not None and row.fingerprint != post.fingerprint:
        raise IdempotencyKeyReused(
            "this Idempotency-Key came with another request before", field="Idempotency-Key", got=quote(post.key)
        )
    return row


def note_post(c: Connection, post: Post | None, adaptation_id: str, version: int, recording: str | None = None) -> None:
    """Note what a POST made, in the transaction that made it."""
    if post is not None:
        made = {"adaptation": adaptation_id, "version": version, "recording": recording}
        c.execute(insert(requests).values(key=post.key, fingerprint=post.fingerprint, **made))
