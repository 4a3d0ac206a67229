"""Adaptations in all their versions, with their episodes, in the database and the episode store.

An acknowledged write is on the disk and survives `kill -9`. The file of an episode is written and deleted under the
lock of its row in `blobs`, so no other server deletes it between the check that it exists and the new reference.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import structlog
from sqlalchemy import Connection, Row, delete, func, insert, select, update

from metalearn.data.asks import Ask
from metalearn.data.context import Context
from metalearn.data.episode import Episode
from service.adaptations.queries import (
    add_version,
    finish_recording,
    lock_episodes,
    newest,
    read_adaptation,
    referenced,
    relatives,
    to_adaptation,
    wanted_of,
)
from service.adaptations.quota import Quota, count
from service.adaptations.records import EVERYTHING, Adaptation, FinishRecording, Member, Role, VersionRow, Wanted
from service.errors import Busy, StorageFull
from service.storage.database import Database
from service.storage.episode_store import EpisodeStore, size
from service.storage.idempotency import Created, IdempotencyKey, begin, complete, lookup
from service.storage.statements import insert_new, lock_tenant
from service.storage.tables import adaptations, blobs, leases, members, requests, versions

_CHUNK = 500
_log = structlog.get_logger("service")
_DAY_S = 86400.0


class AdaptationRepository:
    """The stored adaptations of all tenants."""

    def __init__(self, database: Database, episodes: EpisodeStore, quota: Quota, now: Callable[[], float]) -> None:
        self.database = database
        self._episodes, self._quota, self._now = episodes, quota, now

    def ping(self) -> None:
        """Raise if the database takes no writes. Writes to a lease that no code waits for."""
        mark = {"holder": "nobody", "expires_at": 0.0}
        with self.database.write() as c:
            insert_new(c, leases, [{"name": "probe", **mark}])
            c.execute(update(leases).where(leases.c.name == "probe").values(mark))

    def count(self, now: float) -> int:
        """Return the number of adaptations that have not expired."""
        with self.database.read() as c:
            return c.scalar(select(func.count()).select_from(adaptations).where(adaptations.c.expires_at > now)) or 0

    def create(self, adaptation: Adaptation, context: Context, idempotency_key: IdempotencyKey | None) -> Adaptation:
        """Store a new adaptation in version 1, or return the one that the same POST stored before.

        Raises:
            TooManyEpisodes, QuotaExceeded: the limits leave no room for it.
        """
        self._quota.check_episodes(adaptation)
        self._episodes.write(context.demos + context.trials)
        with self.database.write() as c:
            if created := begin(c, idempotency_key, self._now()):
                return _created_version(c, adaptation.tenant, created)
            self._add(c, adaptation)
            self._join(c, adaptation, "demo", context.demos)
            self._join(c, adaptation, "trial", context.trials)
            return _completed(c, idempotency_key, adaptation)

    def fork(self, source: Adaptation, new: Adaptation, idempotency_key: IdempotencyKey | None) -> Adaptation:
        """Store a new adaptation that refers to the episodes of a version of another one, without copies.

        Raises:
            AdaptationNotFound: the other one was deleted meanwhile.
            QuotaExceeded: the tenant cannot have more adaptations.
        """
        with self.database.write() as c:
            if created := begin(c, idempotency_key, self._now()):
                return _created_version(c, new.tenant, created)
            read_adaptation(c, source.tenant, source.id, lock=True)
            self._add(c, new)
            its = (members.c.adaptation == source.id, members.c.since <= source.version)
            rows = c.execute(select(members.c.role, members.c.digest).where(*its).order_by(members.c.position)).all()
            if rows:
                shared = {"adaptation": new.id, "tenant": new.tenant, "since": 1}
                c.execute(insert(members), [shared | {"role": row.role, "digest": row.digest} for row in rows])
            return _completed(c, idempotency_key, new)

    def extend(
        self,
        adaptation: Adaptation,
        role: Role,
        episodes: Sequence[Episode],
        expires_at: float,
        idempotency_key: IdempotencyKey | None,
        ending: FinishRecording | None = None,
    ) -> Adaptation:
        """Store the next version of an adaptation with `episodes` added, and finish a recording if `ending` is given.

        Raises:
            AdaptationNotFound: the adaptation was deleted meanwhile.
            EpisodeFinished, StepConflict: the recording was changed by another server.
            TooManyEpisodes, QuotaExceeded: the limits leave no room for the episodes.
        """
        self._episodes.write(episodes)
        with self.database.write() as c:
            if created := begin(c, idempotency_key, self._now()):
                return _created_version(c, adaptation.tenant, created)
            before = read_adaptation(c, adaptation.tenant, adaptation.id, lock=True)
            after = replace(
                before,
                version=before.version + 1,
                n_demos=before.n_demos + (len(episodes) if role == "demo" else 0),
                n_trials=before.n_trials + (len(episodes) if role == "trial" else 0),
                scored=before.scored or (role == "trial" and any(episode.scored for episode in episodes)),
                expires_at=expires_at,
            )
            self._quota.check_episodes(after)
            if ending is not None:
                finish_recording(c, after.id, ending, after.version)
            self._advance(c, after)
            lock_tenant(c, after.tenant)
            self._join(c, after, role, episodes)
            return _completed(c, idempotency_key, after)

    def change_ask(
        self, adaptation: Adaptation, ask: Ask, expires_at: float, idempotency_key: IdempotencyKey | None
    ) -> Adaptation:
        """Store the next version of an adaptation, with the same episodes and another ask.

        Raises:
            AdaptationNotFound: the adaptation was deleted meanwhile.
        """
        with self.database.write() as c:
            if created := begin(c, idempotency_key, self._now()):
                return _created_version(c, adaptation.tenant, created)
            before = read_adaptation(c, adaptation.tenant, adaptation.id, lock=True)
            after = replace(before, version=before.version + 1, ask=ask.to_json(), expires_at=expires_at)
            self._advance(c, after)
            return _completed(c, idempotency_key, after)

    def read(self, tenant: str, adaptation_id: str, version: int | None = None) -> Adaptation:
        """Return one version, by default the newest. Raises AdaptationNotFound, VersionNotFound."""
        with self.database.read() as c:
            return read_adaptation(c, tenant, adaptation_id, version)

    def read_newest(self, tenant: str, ids: Sequence[str]) -> dict[str, Adaptation]:
        """Return the newest versions of those that the tenant has, by id."""
        found: list[Row[Any]] = []
        with self.database.read() as c:
            for chunk in _chunks(ids):
                mine = (adaptations.c.tenant == tenant, adaptations.c.id.in_(chunk))
                found += c.execute(newest().where(*mine)).all()
        return {row.id: to_adaptation(row) for row in found}

    def page(
        self, tenant: str, limit: int, after: int | None, now: float, wanted: Wanted = EVERYTHING
    ) -> tuple[list[Adaptation], int | None]:
        """Return at most `limit` unexpired adaptations after a position, and the position of the next page, or None."""
        query = wanted_of(tenant, after, now, wanted).limit(limit + 1)
        with self.database.read() as c:
            rows = c.execute(query).all()
        more = rows[limit - 1].position if len(rows) > limit else None
        return [to_adaptation(row) for row in rows[:limit]], more

    def family(self, adaptation: Adaptation, most: int, now: float) -> list[tuple[Adaptation, list[VersionRow]]]:
        """Return every unexpired adaptation that has the first origin of this one too, oldest first, with its versions.

        At most `most` of them.
        """
        with self.database.read() as c:
            found = relatives(c, adaptation, most, now)
            rows = c.execute(
                select(versions)
                .where(versions.c.adaptation.in_([one.id for one in found]))
                .order_by(versions.c.adaptation, versions.c.version)
            ).all()
        of: dict[str, list[VersionRow]] = {one.id: [] for one in found}
        for row in rows:
            columns = dict(row._mapping)
            of[columns.pop("adaptation")].append(VersionRow(**columns))
        return [(one, of[one.id]) for one in found]

    def members(self, adaptation: Adaptation, limit: int, after: int) -> tuple[list[Member], int | None]:
        """Return at most `limit` episodes of a version, in the order in which they came, without reading their files.

        Returns also the place of the next page, or None.
        """
        its = (members.c.adaptation == adaptation.id, members.c.since <= adaptation.version)
        query = select(members.c.role, members.c.since, members.c.digest).where(*its).order_by(members.c.position)
        n_of: dict[str, int] = {"demo": 0, "trial": 0}
        found = []
        with self.database.read() as c:
            for row in c.execute(query):
                found.append(Member(row.role, n_of[row.role], row.since, row.digest))
                n_of[row.role] += 1
        end = after + limit
        return found[after:end], end if end < len(found) else None

    def episode(self, member: Member) -> Episode:
        """Read an episode. Raises DamagedEpisode."""
        return self._episodes.read(member.digest)

    def versions(self, adaptation: Adaptation, limit: int, after: int) -> tuple[list[VersionRow], int | None]:
        """Return at most `limit` versions after that one, oldest first, and the position of the next page, or None."""
        columns = [column for column in versions.c if column.name != "adaptation"]
        where = (versions.c.adaptation == adaptation.id, versions.c.version > after)
        with self.database.read() as c:
            rows = c.execute(select(*columns).where(*where).order_by(versions.c.version).limit(limit + 1)).all()
        more = rows[limit - 1].version if len(rows) > limit else None
        return [VersionRow(**row._mapping) for row in rows[:limit]], more

    def context(self, adaptation_id: str, version: int, since: int = 1) -> Context:
        """Read the episodes of one version, those added since version `since`.

        Raises:
            AdaptationNotFound: the adaptation was deleted meanwhile.
            DamagedEpisode: an episode is missing or damaged.
        """
        where = (members.c.adaptation == adaptation_id, members.c.since >= since, members.c.since <= version)
        with self.database.read() as c:
            rows = c.execute(select(members.c.role, members.c.digest).where(*where).order_by(members.c.position)).all()
            # Read last, so that an adaptation that is deleted meanwhile does not appear to have no episodes.
            tenant = c.scalar(select(adaptations.c.tenant).where(adaptations.c.id == adaptation_id))
            ask = read_adaptation(c, tenant or "", adaptation_id, version).ask
        episodes = [(row.role, self._episodes.read(row.digest)) for row in rows]
        return Context(
            demos=tuple(episode for role, episode in episodes if role == "demo"),
            trials=tuple(episode for role, episode in episodes if role == "trial"),
            ask=Ask.from_json(ask),
        )

    def earlier(self, adaptation: Adaptation, digests: Sequence[str]) -> set[str]:
        """Return those of these episodes that the tenant had stored before this version was made."""
        own = (members.c.adaptation == adaptation.id, members.c.since == adaptation.version)
        first = select(func.min(members.c.position)).where(*own).scalar_subquery()
        before = (members.c.tenant == adaptation.tenant, members.c.position < first)
        with self.database.read() as c:
            found = (
                c.scalars(select(members.c.digest).where(members.c.digest.in_(part), *before))
                for part in _chunks(digests)
            )
            return set().union(*found)

    def touch(self, adaptation: Adaptation, expires_at: float) -> None:
        """Postpone the expiry of an adaptation."""
        this = adaptations.c.id == adaptation.id
        with self.database.write_relaxed() as c:
            c.execute(update(adaptations).where(this).values(expires_at=expires_at))

    def delete(self, tenant: str, adaptation_id: str, expired_at: float | None = None) -> bool:
        """Delete an adaptation, and the episodes that no other one refers to.

        With `expired_at`, do so only if it has expired by then. Returns True if it was deleted. Works on a full disk.
        """
        freed = self.database.freeing(lambda: self._delete(tenant, adaptation_id, expired_at))
        if freed is None:
            return False
        # Files are deleted last: otherwise a crash could leave an adaptation without its episodes.
        try:
            self._collect(freed)
        except (Busy, StorageFull) as error:
            _log.warning("files of a deleted adaptation are left for the next start", error=str(error))
        return True

    def _delete(self, tenant: str, adaptation_id: str, expired_at: float | None) -> list[str] | None:
        """Delete the rows of an adaptation, and return the digests that nobody of the tenant refers to any more."""
        where = [adaptations.c.id == adaptation_id, adaptations.c.tenant == tenant]
        where += [] if expired_at is None else [adaptations.c.expires_at <= expired_at]
        with self.database.write() as c:
            if c.scalar(select(adaptations.c.id).where(*where).with_for_update()) is None:
                return None
            lock_tenant(c, tenant)
            its = select(members.c.digest).where(members.c.adaptation == adaptation_id).distinct()
            digests = list(c.scalars(its))
            c.execute(delete(adaptations).where(adaptations.c.id == adaptation_id))
            freed = sorted(set(digests) - referenced(c, digests, tenant))
            n_bytes = c.scalar(select(func.coalesce(func.sum(blobs.c.n_bytes), 0)).where(blobs.c.digest.in_(freed)))
            count(c, tenant, -1, -int(n_bytes or 0))
        return freed

    def shorten(self, latest: float) -> None:
        """Let no adaptation expire later than this."""
        with self.database.write() as c:
            c.execute(update(adaptations).where(adaptations.c.expires_at > latest).values(expires_at=latest))

    def expired(self, now: float) -> list[tuple[str, str]]:
        """Return tenant and id of the expired adaptations."""
        query = select(adaptations.c.tenant, adaptations.c.id).where(adaptations.c.expires_at <= now)
        with self.database.read() as c:
            return [(row.tenant, row.id) for row in c.execute(query)]

    def gone(self, adaptation_ids: Iterable[str]) -> set[str]:
        """Return those of these adaptations that do not exist."""
        candidates = set(adaptation_ids)
        with self.database.read() as c:
            existing: set[str] = set()
            for chunk in _chunks(candidates):
                existing.update(c.scalars(select(adaptations.c.id).where(adaptations.c.id.in_(chunk))))
        return candidates - existing

    def completed(self, idempotency_key: IdempotencyKey | None) -> Adaptation | None:
        """Return the version that the first POST with this key made, or None. Raises IdempotencyKeyReused."""
        if idempotency_key is None:
            return None
        with self.database.read() as c:
            created = lookup(c, idempotency_key)
            return None if created is None else _created_version(c, idempotency_key.tenant, created)

    def tidy(self, now: float | None = None) -> None:
        """Delete episodes without references, which crashes leave behind, and idempotency keys older than a day."""
        for chunk in _chunks(self._episodes.digests()):
            with self.database.write() as c:
                known = set(c.scalars(select(blobs.c.digest).where(blobs.c.digest.in_(chunk))))
                insert_new(c, blobs, [{"digest": digest, "n_bytes": 0} for digest in sorted(set(chunk) - known)])
        its = select(members.c.position).where(members.c.digest == blobs.c.digest)
        unreferred = select(blobs.c.digest).where(~its.exists())
        with self.database.read() as c:
            digests = list(c.scalars(unreferred))
        self._collect(digests)
        old = (requests.c.adaptation.is_(None), requests.c.created_at < (self._now() if now is None else now) - _DAY_S)
        with self.database.write() as c:
            c.execute(delete(requests).where(*old))

    def _add(self, c: Connection, adaptation: Adaptation) -> None:
        """Insert a new adaptation without episodes. Raises QuotaExceeded."""
        self._quota.add_adaptation(c, adaptation.tenant, self._now())
        columns = (
            "id", "tenant", "model", "model_version", "version", "created_at", "expires_at", "origin", "origin_version",
        )  # fmt: skip
        c.execute(insert(adaptations).values({name: getattr(adaptation, name) for name in columns}))
        add_version(c, adaptation.id, _version_row(adaptation, adaptation.created_at))

    def _advance(self, c: Connection, adaptation: Adaptation) -> None:
        """Make this the newest version of an adaptation that is locked."""
        changed = {"version": adaptation.version, "expires_at": adaptation.expires_at}
        c.execute(update(adaptations).where(adaptations.c.id == adaptation.id).values(changed))
        add_version(c, adaptation.id, _version_row(adaptation, self._now()))

    def _join(self, c: Connection, adaptation: Adaptation, role: Role, episodes: Sequence[Episode]) -> None:
        """Refer to `episodes` from this version on. The tenant must be locked."""
        if not episodes:
            return
        sizes = {episode.digest: size(episode) for episode in episodes}
        lock_episodes(c, sizes)
        # They were written before this transaction, but may have been collected since.
        self._episodes.write(episodes)
        new = set(sizes) - referenced(c, list(sizes), adaptation.tenant)
        n_bytes = sum(sizes[digest] for digest in new)
        self._quota.add_bytes(c, adaptation.tenant, n_bytes, self._now())
        shared = {"adaptation": adaptation.id, "tenant": adaptation.tenant, "since": adaptation.version, "role": role}
        c.execute(insert(members), [shared | {"digest": episode.digest} for episode in episodes])

    def _collect(self, digests: Sequence[str]) -> None:
        """Delete those of these episodes that no adaptation refers to."""
        for chunk in _chunks(digests):
            self.database.freeing(partial(self._collect_chunk, chunk))

    def _collect_chunk(self, digests: Sequence[str]) -> None:
        with self.database.write() as c:
            query = select(blobs.c.digest).where(blobs.c.digest.in_(digests))
            locked = list(c.scalars(query.order_by(blobs.c.digest).with_for_update()))
            unreferred = sorted(set(locked) - referenced(c, locked))
            for digest in unreferred:
                self._episodes.delete(digest)
            c.execute(delete(blobs).where(blobs.c.digest.in_(unreferred)))


def _version_row(adaptation: Adaptation, created_at: float) -> VersionRow:
    return VersionRow(
        adaptation.version, adaptation.n_demos, adaptation.n_trials, adaptation.scored, adaptation.ask, created_at
    )


def _completed(c: Connection, idempotency_key: IdempotencyKey | None, adaptation: Adaptation) -> Adaptation:
    complete(c, idempotency_key, {"adaptation": adaptation.id, "version": adaptation.version}, adaptation.id)
    return adaptation


def _created_version(c: Connection, tenant: str, created: Created) -> Adaptation:
    return read_adaptation(c, tenant, created["adaptation"], created["version"])


def _chunks(digests: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(digests)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk
