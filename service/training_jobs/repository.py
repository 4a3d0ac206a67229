"""Training jobs, their events and the leases of supervisors in the database."""

import json
import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, or_, select, update

from service.errors import Busy, IdempotencyKeyReused, JobConflict, JobNotFound, quote
from service.storage.database import Database
from service.storage.idempotency import IdempotencyKey
from service.storage.statements import insert_new, lock_tenant
from service.storage.tables import leases, training_events, training_jobs
from service.training_jobs.records import ACTIVE, STATES, Event, Job, JobRequest


class TrainingJobRepository:
    """The training jobs of all tenants."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        tenant: str,
        request: JobRequest,
        idempotency_key: IdempotencyKey | None,
        backend: str,
        host: str,
        now: float,
        most_queued: int,
    ) -> tuple[Job, bool]:
        """Queue a new job and return it and True; or return the job of an earlier, equal request and False.

        Raises:
            IdempotencyKeyReused: the key belongs to another request.
            JobConflict: the id belongs to a job with other settings.
            Busy: the queue is full.
        """
        with self._database.write() as c:
            lock_tenant(c, tenant)  # two servers may get the same request at once
            known = self._known(c, tenant, request, idempotency_key)
            if known is not None:
                return known, False
            queued = select(func.count()).select_from(training_jobs).where(training_jobs.c.state == "queued")
            if (c.scalar(queued) or 0) >= most_queued:
                raise Busy(f"{most_queued} training jobs are waiting already")
            uid = secrets.token_hex(12)
            row = {
                "uid": uid, "tenant": tenant, "id": request.id or uid, "experiment": request.experiment,
                "seed": request.seed, "steps": request.steps, "name": request.name, "state": "queued",
                "idempotency_key": None if idempotency_key is None else idempotency_key.key,
                "fingerprint": None if idempotency_key is None else idempotency_key.fingerprint,
                "backend": backend, "host": host, "attempt": 0, "stop_requested": False, "created_at": now,
                "read_bytes": 0, "dataset": request.dataset, "family": request.family, "minutes": request.minutes,
                "settings": json.dumps(dict(request.settings)) if request.settings else None,
            }  # fmt: skip
            c.execute(insert(training_jobs).values(row))
            _add_event(c, uid, "state", now, {"state": "queued"})
            return _job(_row(c, uid)), True

    def read(self, tenant: str, job_id: str) -> Job:
        """Return one job of a tenant. Raises JobNotFound."""
        where = (training_jobs.c.tenant == tenant, training_jobs.c.id == job_id)
        with self._database.read() as c:
            row = c.execute(select(training_jobs).where(*where)).first()
        if row is None:
            raise JobNotFound(f"there is no training job {quote(job_id)}", field="id", got=quote(job_id))
        return _job(row)

    def page(
        self, tenant: str, limit: int, after: int | None, *, newest_first: bool = False
    ) -> tuple[list[Job], int | None]:
        """Return at most `limit` jobs of a tenant, oldest first or not, and the position of the next page, or None."""
        position = training_jobs.c.position
        query = select(training_jobs).where(training_jobs.c.tenant == tenant).limit(limit + 1)
        if after is not None:
            query = query.where(position < after if newest_first else position > after)
        query = query.order_by(position.desc() if newest_first else position)
        with self._database.read() as c:
            rows = c.execute(query).all()
        return [_job(row) for row in rows[:limit]], rows[limit - 1].position if len(rows) > limit else None

    def active(self) -> list[Job]:
        """Return every job that is queued or running, oldest first."""
        query = select(training_jobs).where(training_jobs.c.state.in_(ACTIVE)).order_by(training_jobs.c.position)
        with self._database.read() as c:
            return [_job(row) for row in c.execute(query)]

    def counts(self) -> Mapping[str, int]:
        """Return the number of jobs in each state."""
        query = select(training_jobs.c.state, func.count()).group_by(training_jobs.c.state)
        with self._database.read() as c:
            found: dict[str, int] = {row[0]: row[1] for row in c.execute(query)}
        return {state: found.get(state, 0) for state in STATES}

    def request_stop(self, tenant: str, job_id: str) -> Job:
        """Mark a job to be stopped, on a full disk too. Raises JobNotFound."""
        job = self.read(tenant, job_id)
        active = (training_jobs.c.uid == job.uid, training_jobs.c.state.in_(ACTIVE))

        def mark() -> None:
            with self._database.write() as c:
                c.execute(update(training_jobs).where(*active).values(stop_requested=True))

        self._database.freeing(mark)
        return self.read(tenant, job_id)

    def advance(
        self, job: Job, now: float, events: Iterable[tuple[str, float, Mapping[str, Any]]] = (), **changes: Any
    ) -> Job:
        """Change a job and add events, in one transaction. A job that has ended meanwhile stays as it is."""
        if "progress" in changes:
            changes["progress"] = json.dumps(changes["progress"])
        same = training_jobs.c.read_bytes == job.read_bytes  # another supervisor may have advanced the job
        this = (training_jobs.c.uid == job.uid, training_jobs.c.state.in_(ACTIVE), same)
        with self._database.write() as c:
            if c.execute(update(training_jobs).where(*this).values(uid=job.uid, **changes)).rowcount:
                for kind, at, data in events:
                    _add_event(c, job.uid, kind, at, data)
                if "state" in changes:
                    names = {"state", "error", "model", "model_version"} & set(changes)
                    _add_event(c, job.uid, "state", now, {name: changes[name] for name in sorted(names)})
            return _job(_row(c, job.uid))

    def events(self, uid: str, after: int, limit: int = 500) -> list[Event]:
        """Return the events of a job after event `after`."""
        where = (training_events.c.job == uid, training_events.c.number > after)
        query = select(training_events).where(*where).order_by(training_events.c.number).limit(limit)
        with self._database.read() as c:
            return [Event(row.number, row.kind, row.at, json.loads(row.data)) for row in c.execute(query)]

    def expired(self, before: float) -> list[Job]:
        """Return the jobs that ended before a time."""
        query = select(training_jobs).where(training_jobs.c.finished_at < before)
        with self._database.read() as c:
            return [_job(row) for row in c.execute(query)]

    def delete(self, job: Job) -> None:
        """Delete a job and its events."""
        with self._database.write() as c:
            c.execute(delete(training_jobs).where(training_jobs.c.uid == job.uid))

    def hold(self, lease: str, holder: str, now: float, for_s: float) -> bool:
        """Take or renew a lease; return False while another holder has it."""
        mine = {"holder": holder, "expires_at": now + for_s}
        free = (leases.c.name == lease, or_(leases.c.holder == holder, leases.c.expires_at <= now))
        with self._database.write() as c:
            # Another server may insert the same row at this moment.
            insert_new(c, leases, [{"name": lease, "holder": holder, "expires_at": 0.0}])
            return bool(c.execute(update(leases).where(*free).values(mine)).rowcount)

    def held_until(self, lease: str) -> float:
        """Return the end of a lease; 0 if it was never taken."""
        with self._database.read() as c:
            return c.scalar(select(leases.c.expires_at).where(leases.c.name == lease)) or 0.0

    def release(self, lease: str, holder: str) -> None:
        """End a lease, so that others can take it at once."""
        this = (leases.c.name == lease, leases.c.holder == holder)
        with self._database.write() as c:
            c.execute(update(leases).where(*this).values(expires_at=0.0))

    def _known(
        self, c: Connection, tenant: str, request: JobRequest, idempotency_key: IdempotencyKey | None
    ) -> Job | None:
        of_tenant = training_jobs.c.tenant == tenant
        if idempotency_key is not None:
            row = c.execute(
                select(training_jobs).where(of_tenant, training_jobs.c.idempotency_key == idempotency_key.key)
            ).first()
            if row is not None and row.fingerprint != idempotency_key.fingerprint:
                detail = "this Idempotency-Key belongs to an earlier, different request"
                raise IdempotencyKeyReused(detail, field="Idempotency-Key", got=quote(idempotency_key.key))
            if row is not None:
                return _job(row)
        row = c.execute(select(training_jobs).where(of_tenant, training_jobs.c.id == request.id)).first()
        if row is None:
            return None
        job = _job(row)
        if job.request != request:
            detail = f"the training job {quote(job.id)} exists with other settings"
            raise JobConflict(detail, field="id", got=quote(job.id))
        return job


def _row(c: Connection, uid: str) -> Row[Any]:
    return c.execute(select(training_jobs).where(training_jobs.c.uid == uid)).one()


def _job(row: Row[Any]) -> Job:
    values = {name: getattr(row, name) for name in Job.__dataclass_fields__}
    progress = None if row.progress is None else json.loads(row.progress)
    return Job(**values | {"progress": progress, "settings": json.loads(row.settings or "{}")})


def _add_event(c: Connection, uid: str, kind: str, at: float, data: Mapping[str, Any]) -> None:
    newest = c.scalar(select(func.max(training_events.c.number)).where(training_events.c.job == uid)) or 0
    c.execute(insert(training_events).values(job=uid, number=newest + 1, kind=kind, at=at, data=json.dumps(data)))
