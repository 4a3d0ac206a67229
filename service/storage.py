"""What survives `kill -9`: adaptations in all their versions, their episodes, and which model is which.

An acknowledged write is on the disk. SQLite's write lock also orders the episode files: they are looked for and
collected inside write transactions, so none vanishes between being found there and being referred to.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, delete, func, insert, select, update

from metalearn.data.context import Context
from metalearn.data.episode import Episode
from service.blobs import Blobs
from service.queries import (
    Adaptation,
    Post,
    RecordingRow,
    Role,
    add_version,
    finish_recording,
    made_by,
    newest,
    note_post,
    read_adaptation,
    read_recording,
    to_adaptation,
)
from service.tables import adaptations, connect, leases, members, models, recordings


class Storage:
    """The database and the episode files of one data folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._blobs = Blobs(folder / "episodes")
        self._database = connect(folder / "service.sqlite3")
        self._writer = self._database.execution_options(begin="BEGIN IMMEDIATE")
        # SQLite's lock is polled; this one is a fair queue for the threads of this process.
        self._turn = threading.Lock()
        self._collect(self._blobs.digests())

    def close(self) -> None:
        """Let go of the files."""
        self._database.dispose()

    def ping(self) -> None:
        """Raise if the database takes no writes. Nobody holds this lease, nobody waits for it."""
        mark = {"holder": "nobody", "expires_at": 0.0}
        with self._write() as c:
            if not c.execute(update(leases).where(leases.c.name == "probe").values(mark)).rowcount:
                c.execute(insert(leases).values(name="probe", **mark))

    def count(self, now: float) -> int:
        """How many adaptations there are."""
        with self._database.connect() as c:
            return c.scalar(select(func.count()).select_from(adaptations).where(adaptations.c.expires_at > now)) or 0

    def register(self, name: str, bundle: str, now: float) -> int:
        """The version that this bundle has under this name, for ever; a new one if it has none yet."""
        with self._write() as c:
            of_name = models.c.name == name
            known = c.scalar(select(models.c.version).where(of_name, models.c.bundle == bundle))
            if known is not None:
                return int(known)
            version = 1 + (c.scalar(select(func.max(models.c.version)).where(of_name)) or 0)
            c.execute(insert(models).values(name=name, version=version, bundle=bundle, registered_at=now))
            return int(version)

    def bundle(self, name: str, version: int) -> str | None:
        """The id of the bundle registered so, or None."""
        with self._database.connect() as c:
            where = (models.c.name == name, models.c.version == version)
            return c.scalar(select(models.c.bundle).where(*where))

    def create(self, adaptation: Adaptation, context: Context, post: Post | None) -> Adaptation:
        """Store a new adaptation in version 1; or what the same POST stored before."""
        self._blobs.write(context.demos + context.trials)
        with self._write() as c:
            if done := made_by(c, post):
                return read_adaptation(c, done.adaptation, done.version)
            columns = ("id", "model", "model_version", "version", "created_at", "expires_at")
            c.execute(insert(adaptations).values({name: getattr(adaptation, name) for name in columns}))
            self._join(c, adaptation.id, 1, "demo", context.demos)
            self._join(c, adaptation.id, 1, "trial", context.trials)
            add_version(c, adaptation.id, 1, len(context.demos), len(context.trials), context.scored)
            note_post(c, post, adaptation.id, 1)
            return read_adaptation(c, adaptation.id)

    def extend(
        self,
        adaptation_id: str,
        role: Role,
        episodes: Sequence[Episode],
        expires_at: float,
        post: Post | None,
        recording: str | None = None,
    ) -> Adaptation:
        """Store the next version of an adaptation, with `episodes` added; `recording` becomes finished.

        Raises:
            AdaptationNotFound: it was deleted meanwhile.
            EpisodeFinished: the recording has become a trial already.
        """
        self._blobs.write(episodes)
        with self._write() as c:
            if done := made_by(c, post):
                return read_adaptation(c, done.adaptation, done.version)
            before = read_adaptation(c, adaptation_id)
            version = before.version + 1
            if recording is not None:
                finish_recording(c, adaptation_id, recording, version)
            this = adaptations.c.id == adaptation_id
            c.execute(update(adaptations).where(this).values(version=version, expires_at=expires_at))
            self._join(c, adaptation_id, version, role, episodes)
            n_demos = before.n_demos + (len(episodes) if role == "demo" else 0)
            n_trials = before.n_trials + (len(episodes) if role == "trial" else 0)
            scored = before.scored or (role == "trial" and any(episode.scored for episode in episodes))
            add_version(c, adaptation_id, version, n_demos, n_trials, scored)
            note_post(c, post, adaptation_id, version, recording)
            return read_adaptation(c, adaptation_id)

    def read(self, adaptation_id: str, version: int | None = None) -> Adaptation:
        """One version, the newest unless said. Raises AdaptationNotFound, VersionNotFound."""
        with self._database.connect() as c:
            return read_adaptation(c, adaptation_id, version)

    def page(self, limit: int, after: int, now: float) -> tuple[list[Adaptation], int | None]:
        """At most `limit` unexpired adaptations after a position, and the position to go on from."""
        query = newest().where(adaptations.c.position > after, adaptations.c.expires_at > now)
        with self._database.connect() as c:
            rows = c.execute(query.order_by(adaptations.c.position).limit(limit + 1)).all()
        more = rows[limit - 1].position if len(rows) > limit else None
        return [to_adaptation(row) for row in rows[:limit]], more

    def context(self, adaptation_id: str, version: int) -> Context:
        """What one version has seen. Raises AdaptationNotFound, DamagedBlob."""
        where = (members.c.adaptation == adaptation_id, members.c.since <= version)
        with self._database.connect() as c:
            read_adaptation(c, adaptation_id, version)  # one deleted meanwhile is not one without episodes
            rows = c.execute(select(members.c.role, members.c.digest).where(*where).order_by(members.c.position)).all()
        episodes = [(row.role, self._blobs.read(row.digest)) for row in rows]
        return Context(
            demos=tuple(episode for role, episode in episodes if role == "demo"),
            trials=tuple(episode for role, episode in episodes if role == "trial"),
        )

    def touch(self, adaptation_id: str, expires_at: float) -> None:
        """Postpone the end of an adaptation."""
        with self._write() as c:
            c.execute(update(adaptations).where(adaptations.c.id == adaptation_id).values(expires_at=expires_at))

    def delete(self, adaptation_id: str) -> bool:
        """Forget an adaptation, and the episodes that nobody else refers to; whether it was there."""
        with self._write() as c:
            its = members.c.adaptation == adaptation_id
            digests = list(c.scalars(select(members.c.digest).where(its).distinct()))
            n_deleted = c.execute(delete(adaptations).where(adaptations.c.id == adaptation_id)).rowcount
        # Only now: had the files gone first, a crash would leave an adaptation without its episodes.
        self._collect(digests)
        return n_deleted > 0

    def expired(self, now: float) -> list[str]:
        """The adaptations whose time is over."""
        with self._database.connect() as c:
            return list(c.scalars(select(adaptations.c.id).where(adaptations.c.expires_at <= now)))

    def add_recording(self, row: RecordingRow, post: Post | None) -> RecordingRow:
        """Store that an episode began; or return the one that the same POST began."""
        with self._write() as c:
            done = made_by(c, post)
            if done is not None and done.recording is not None:
                return read_recording(c, done.adaptation, done.recording)
            read_adaptation(c, row.adaptation)
            columns = ("id", "adaptation", "version", "explore", "hypothesis")
            c.execute(insert(recordings).values({name: getattr(row, name) for name in columns}))
            note_post(c, post, row.adaptation, row.version, row.id)
            return row

    def recording(self, adaptation_id: str, recording_id: str) -> RecordingRow:
        """A recorded episode of an adaptation. Raises EpisodeNotFound."""
        with self._database.connect() as c:
            return read_recording(c, adaptation_id, recording_id)

    def unfinished(self) -> set[str]:
        """The recorded episodes that can still go on."""
        with self._database.connect() as c:
            return set(c.scalars(select(recordings.c.id).where(recordings.c.finished_as.is_(None))))

    def answered(self, post: Post | None) -> Adaptation | None:
        """The version that the same POST made before, or None. Raises IdempotencyKeyReused."""
        if post is None:
            return None
        with self._database.connect() as c:
            done = made_by(c, post)
            return None if done is None else read_adaptation(c, done.adaptation, done.version)

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        with self._turn, self._writer.begin() as connection:
            yield connection

    def _join(self, c: Connection, adaptation_id: str, since: int, role: Role, episodes: Sequence[Episode]) -> None:
        # They were written before this transaction; again only if they were collected since.
        digests = self._blobs.write(episodes)
        if digests:
            shared = {"adaptation": adaptation_id, "since": since, "role": role}
            c.execute(insert(members), [shared | {"digest": digest} for digest in digests])

    def _collect(self, digests: Iterable[str]) -> None:
        """Delete the files of those episodes that no adaptation refers to."""
        with self._write() as c:
            for digest in digests:
                if c.scalar(select(members.c.position).where(members.c.digest == digest).limit(1)) is None:
                    self._blobs.delete(digest)
