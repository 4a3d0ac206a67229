"""The supervisor of training jobs: queues them, starts a few at a time, follows them, and registers their bundles.

A thread polls every job. All of its state is in the database, the folders of the runs and the backend, so it may be
killed at any time. Of several server processes, the one with the lease polls.
"""

import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from metalearn.bundle import Bundle
from metalearn.config import EVENT_LOG
from metalearn.data.dataset import INDEX_FILE, Dataset
from metalearn.data.errors import InvalidConfig
from service.errors import DatasetNotFound, NoTraining
from service.ids import new_id
from service.observability.metrics import Metrics
from service.storage.idempotency import IdempotencyKey
from service.storage.service_clock import ServiceClock
from service.training_jobs.backend import Backend, JobStatus, Refused, Unreachable, tail
from service.training_jobs.records import DATASET, Event, Job, JobRequest, LogLine, last_log_line, parse_event_log
from service.training_jobs.repository import TrainingJobRepository

Register = Callable[[Bundle, str], int]
"""Registers a bundle under a name and returns its version. A bundle that is registered again keeps its version."""

LoadDataset = Callable[[str, str], Dataset]
"""Returns the data set of a tenant by its name. Raises DatasetNotFound."""

ATTEMPTS = 3
_LEASE_S = 15.0
_ADOPT_AFTER_S = 300.0
_FIGURES = ("loss", "trial", "retrial", "ends_in_s")
_MIN_PROGRESS = 0.005  # share of a phase; smaller steps make no event
_log = structlog.get_logger("service.training_jobs")


class TrainingJobSupervisor:
    """Runs the jobs of one server on `backend`; with None every new job is refused."""

    def __init__(
        self,
        store: TrainingJobRepository,
        backend: Backend | None,
        register: Register,
        metrics: Metrics,
        *,
        load_dataset: LoadDataset,
        runs: Path,
        at_once: int,
        most_queued: int,
        keep_s: float,
        now: Callable[[], float],
        clock: ServiceClock,
    ) -> None:
        self._store, self._backend, self._register, self._metrics = store, backend, register, metrics
        self._load_dataset = load_dataset
        self._runs, self._at_once, self._most_queued, self._keep_s, self._now = (
            runs.absolute(), at_once, most_queued, keep_s, now,
        )  # fmt: skip
        self._clock = clock
        self._holder = new_id()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._unreachable = ""

    @property
    def enabled(self) -> bool:
        """True if this server runs training jobs."""
        return self._backend is not None

    # -- for routes -------------------------------------------------------------------------------------------

    def create(
        self, tenant: str, request: JobRequest, idempotency_key: IdempotencyKey | None = None
    ) -> tuple[Job, bool]:
        """Queue a new job and return it and True; or return the job of an earlier, equal request and False.

        Raises:
            NoTraining: the server has no backend.
            Busy, JobConflict, IdempotencyKeyReused: see `TrainingJobRepository.create`.
        """
        if self._backend is None:
            raise NoTraining("this server runs no training jobs: WTL_TRAINING_JOBS is 0")
        backend, now = self._backend, self._now()
        return self._store.create(tenant, request, idempotency_key, backend.name, backend.host, now, self._most_queued)

    def read(self, tenant: str, job_id: str) -> Job:
        """Return one job. Raises JobNotFound."""
        return self._store.read(tenant, job_id)

    def page(
        self, tenant: str, limit: int, after: int | None, *, newest_first: bool = False
    ) -> tuple[list[Job], int | None]:
        """Return some jobs, oldest first or not, and the position of the next page, or None."""
        return self._store.page(tenant, limit, after, newest_first=newest_first)

    def stop(self, tenant: str, job_id: str) -> Job:
        """Request that a job stops; one that has ended stays as it is. Raises JobNotFound."""
        return self._store.request_stop(tenant, job_id)

    def events(self, job: Job, after: int) -> list[Event]:
        """Return the events of a job after event `after`."""
        return self._store.events(job.uid, after)

    def log(self, job: Job) -> str:
        """Return the end of the log of a job, as far as it is available."""
        if self._backend is not None and job.backend == self._backend.name:
            try:
                return self._backend.log(job, self._folder(job))
            except Unreachable:
                pass
        return tail(self._folder(job) / "log")

    def counts(self) -> Mapping[str, int]:
        """Return the number of jobs in each state."""
        return self._store.counts()

    # -- the thread -------------------------------------------------------------------------------------------

    def start(self, every_s: float) -> None:
        """Start the thread, which polls every `every_s` seconds."""
        if self._backend is not None:
            self._thread = threading.Thread(target=self._work, args=(every_s,), name="training jobs", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop the thread; the jobs continue."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        close = getattr(self._backend, "close", None)
        if close is not None:
            close()

    def _work(self, every_s: float) -> None:
        assert self._backend is not None
        lease = f"training@{self._backend.host}"
        while not self._closing.wait(every_s):
            try:
                if self._store.hold(lease, self._holder, self._clock.certain(), _LEASE_S):
                    self.poll(self._backend)
            except Exception:
                _log.exception("polling the training jobs failed; trying again")
        try:
            self._store.release(lease, self._holder)
        except Exception:
            _log.warning("the lease of the training jobs could not be released; it will expire")

    def poll(self, backend: Backend) -> None:
        """Poll every job once: start, stop, follow or end it."""
        running, queued = 0, []
        for job in self._store.active():
            if self._is_mine(job, backend):
                job = self._advance(job, backend)  # noqa: PLW2901
                running += job.state == "running"
                queued += [job] if job.state == "queued" else []
        for job in queued[: max(0, self._at_once - running)]:
            self._guarded(job, lambda job: self._start_attempt(job, backend))
        for job in self._store.expired(self._clock.agreed() - self._keep_s):
            shutil.rmtree(self._folder(job), ignore_errors=True)
            self._store.delete(job)

    def _is_mine(self, job: Job, backend: Backend) -> bool:
        if job.backend != backend.name or job.host == backend.host:
            return job.backend == backend.name
        if self._clock.certain() - self._store.held_until(f"training@{job.host}") > _ADOPT_AFTER_S:
            _log.warning("adopted from a machine that is gone", job=job.id, machine=job.host)
            return self._store.advance(job, self._now(), host=backend.host).active
        return False

    def _advance(self, job: Job, backend: Backend) -> Job:
        if job.state == "queued":
            return self._end(job, "stopped") if job.stop_requested else job
        return self._guarded(job, lambda job: self._follow(job, backend))

    def _guarded(self, job: Job, do: Callable[[Job], Job]) -> Job:
        """Call `do`, and handle its errors, so that one job does not affect the others."""
        try:
            advanced = do(job)
        except Unreachable as error:
            if str(error) != self._unreachable:
                _log.warning("training jobs wait", reason=str(error))
            self._unreachable = str(error)
            return job
        except Refused as error:
            return self._end(job, "failed", error=str(error))
        except Exception:
            _log.exception("polling a training job failed; trying again", job=job.id)
            return job
        self._unreachable = ""
        return advanced

    def _start_attempt(self, job: Job, backend: Backend) -> Job:
        """Start the next attempt. It starts before it is stored, since starting it twice is harmless."""
        job = replace(job, attempt=job.attempt + 1)
        self._copy_dataset(job)
        backend.start(job, self._folder(job))
        now = self._now()
        _log.info("training job started", job=job.id, experiment=job.experiment, attempt=job.attempt)
        started_at = job.started_at or now
        return self._store.advance(job, now, state="running", attempt=job.attempt, started_at=started_at)

    def _copy_dataset(self, job: Job) -> None:
        """Copy the data set of a job to its folder once, so that later uploads do not change it. Raises Refused."""
        target = self._folder(job) / DATASET
        if job.dataset is None or (target / INDEX_FILE).exists():
            return
        try:
            self._load_dataset(job.tenant, job.dataset).save(target)
        except DatasetNotFound as error:
            raise Refused(f"the data set {job.dataset} was deleted before the job started") from error

    def _follow(self, job: Job, backend: Backend) -> Job:
        folder = self._folder(job)
        status = backend.poll(job, folder)  # before the event log, which is then complete if the run has ended
        job = self._read_event_log(job, folder)
        if status is JobStatus.RUNS:
            if job.stop_requested:
                backend.stop(job, folder)
            return job
        lines = parse_event_log(tail(folder / EVENT_LOG).encode())
        return self._resolve(job, backend, status, lines[-1] if lines else None)

    def _resolve(self, job: Job, backend: Backend, status: JobStatus, last: LogLine | None) -> Job:
        """Decide what happens to a job whose attempt has ended: success, failure, or another attempt."""
        if last is not None and last.kind == "finished":
            return self._register_bundle(job)
        if job.stop_requested:
            return self._end(job, "stopped")
        if last is not None and last.kind == "failed":
            return self._end(job, "failed", error=last.detail)
        log_line = last_log_line(backend.log(job, self._folder(job)))
        if last is None and status is JobStatus.DONE:
            return self._end(job, "failed", error="the run left nothing in WTL_RUNS: cluster and server must share it")
        if last is None and status is JobStatus.ENDED:
            return self._end(job, "failed", error=log_line or "the training ended without any output")
        if job.attempt < ATTEMPTS:
            return self._start_attempt(job, backend)
        ending = f"; its log ends: {log_line}" if log_line else ""
        return self._end(job, "failed", error=f"the training was killed {job.attempt} times{ending}")

    def _register_bundle(self, job: Job) -> Job:
        try:
            bundle = Bundle.load(self._folder(job) / "bundle")
            name = job.name or bundle.name
            version = self._register(bundle, name)
        except InvalidConfig as error:
            _log.warning("the bundle of a training job cannot be used", job=job.id, error=str(error))
            return self._end(job, "failed", error="the training finished, but its bundle cannot be used")
        return self._end(job, "succeeded", model=name, model_version=version)

    def _end(self, job: Job, state: str, **fields: Any) -> Job:
        now = self._now()
        ended = self._store.advance(job, now, state=state, finished_at=now, **fields)
        self._metrics.jobs.labels(state).inc()
        _log.info("training job ended", job=job.id, state=state, **fields)
        return ended

    def _read_event_log(self, job: Job, folder: Path) -> Job:
        """Convert new lines of the event log to events, except small steps."""
        try:
            with (folder / EVENT_LOG).open("rb") as file:
                file.seek(job.read_bytes)
                text = file.read(1_000_000).rpartition(b"\n")
        except FileNotFoundError:
            return job
        if not text[1]:
            return job
        kept: list[tuple[str, float, Mapping[str, Any]]] = []
        before = job.progress
        for line in parse_event_log(text[0]):
            if line.kind == "progress" and (fields := _progress(line)) and _is_news(fields, before):
                kept.append(("progress", line.at, fields))
                before = {**(_success(fields) or _success(before)), **fields}
        changes: dict[str, Any] = {"read_bytes": job.read_bytes + len(text[0]) + 1}
        if kept:
            changes["progress"] = before
        return self._store.advance(job, self._now(), kept, **changes)

    def _folder(self, job: Job) -> Path:
        return self._runs / job.uid


def _progress(line: LogLine) -> Mapping[str, Any] | None:
    """Return the progress in a line, for clients; None if the line is not valid."""
    fields = line.fields
    if not isinstance(fields.get("phase"), str) or not all(type(fields.get(name)) is int for name in ("done", "total")):
        return None
    figures = {name: float(fields[name]) for name in _FIGURES if type(fields.get(name)) in {int, float}}
    success = fields.get("success")
    known = isinstance(success, list) and all(type(rate) in {int, float} for rate in success)
    rates = {"success": [float(rate) for rate in success]} if known and success else {}
    return {name: fields[name] for name in ("phase", "done", "total")} | figures | rates


def _success(progress: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the success that was measured, which says how good the policy is until the next measurement."""
    return {name: rate for name, rate in (progress or {}).items() if name in {"trial", "retrial", "success"}}


def _is_news(fields: Mapping[str, Any], before: Mapping[str, Any] | None) -> bool:
    """Return True for a new phase, the end of one, a measurement, or a large enough step."""
    if before is None or fields.get("phase") != before.get("phase") or _success(fields):
        return True
    done, total, since = fields.get("done", 0), fields.get("total", 1), before.get("done", 0)
    return bool(done == total or done - since >= _MIN_PROGRESS * total)
