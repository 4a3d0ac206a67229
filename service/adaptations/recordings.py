"""Recorded episodes in the database, and their steps by number.

Two servers may record the same episode: a step that exists already is refused, and the caller reads the new steps.
Knows neither models nor permissions.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sqlalchemy import bindparam, insert, select
from sqlalchemy.exc import IntegrityError

from metalearn.data.episode import Array
from metalearn.data.parts import joined, split
from service.adaptations.queries import read_adaptation, read_recording
from service.adaptations.records import RecordingRow, StepConflict
from service.codecs import decode_msgpack, encode_msgpack
from service.storage.database import Database
from service.storage.idempotency import IdempotencyKey, begin, complete
from service.storage.tables import recordings, steps

_MAX_CONTAINERS = 10_000


@dataclass(frozen=True, eq=False)
class Step:
    """One step: the observation, the action, and the reward of the *previous* action."""

    observation: Array
    action: Array
    reward: float | None
    key: str | None = None
    fingerprint: str | None = None


# Built once, since building it takes about as long as writing a step.
_ADD = (
    insert(steps)
    .from_select(
        ["recording", "step", "content"],
        select(recordings.c.id, bindparam("number"), bindparam("content", type_=steps.c.content.type))
        .where(recordings.c.id == bindparam("of"), recordings.c.finished_as.is_(None))
        .with_for_update(read=True),
    )
    .execution_options(preserve_rowcount=True)
)  # otherwise rowcount is -1 for an INSERT


class RecordingRepository:
    """The recorded episodes of all adaptations."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._database, self._now = database, now

    def start(self, tenant: str, row: RecordingRow, idempotency_key: IdempotencyKey | None) -> RecordingRow:
        """Store a new episode, or return the one that the same POST stored before. Raises AdaptationNotFound."""
        with self._database.write() as c:
            if created := begin(c, idempotency_key, self._now()):
                return read_recording(c, created["adaptation"], created["recording"])
            read_adaptation(c, tenant, row.adaptation, lock=True)
            columns = ("id", "adaptation", "version", "explore", "hypothesis")
            c.execute(insert(recordings).values({name: getattr(row, name) for name in columns}))
            complete(c, idempotency_key, {"adaptation": row.adaptation, "recording": row.id}, row.adaptation)
            return row

    def find(self, adaptation_id: str, recording_id: str) -> RecordingRow:
        """Return a recorded episode of an adaptation. Raises EpisodeNotFound."""
        with self._database.read() as c:
            return read_recording(c, adaptation_id, recording_id)

    def steps(self, recording_id: str, since: int = 0) -> list[Step]:
        """Return the steps of an episode from this number on."""
        where = (steps.c.recording == recording_id, steps.c.step >= since)
        with self._database.read() as c:
            return [_decode(row) for row in c.scalars(select(steps.c.content).where(*where).order_by(steps.c.step))]

    def add(self, recording_id: str, number: int, step: Step) -> None:
        """Store a step. Raises StepConflict."""
        values = {"of": recording_id, "number": number, "content": _encode(step)}
        try:
            with self._database.write_relaxed() as c:
                if not c.execute(_ADD, values).rowcount:
                    raise StepConflict
        except IntegrityError as error:
            raise StepConflict from error


def _encode(step: Step) -> bytes:
    idempotency_key = None if step.key is None else [step.key, step.fingerprint]
    observation = step.observation if step.observation.dtype.names is None else split(step.observation)
    return encode_msgpack([observation, np.asarray(step.action), step.reward, idempotency_key])


def _decode(content: bytes) -> Step:
    observation, action, reward, idempotency_key = decode_msgpack(bytes(content), max_containers=_MAX_CONTAINERS)
    if isinstance(observation, dict):
        observation = joined({name: part[None] for name, part in observation.items()})[0, ...]
    return Step(observation, action, reward, *(idempotency_key or ()))
