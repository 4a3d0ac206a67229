"""What one running server holds, opened and closed in one place."""

import shlex
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import numpy as np

from service.adaptations.acting import Acting
from service.adaptations.episode_recorder import Recorder
from service.adaptations.quota import Quota
from service.adaptations.recordings import Tape
from service.adaptations.repository import Storage
from service.adaptations.row_cache import Recall
from service.adaptations.service import Sessions
from service.inference import Engine, RuntimeFactory
from service.observability.metrics import Metrics
from service.registry.bundle_store import Bundles
from service.registry.catalog import Catalogue
from service.registry.registry import Registry
from service.security.api_keys import Keys, digest
from service.security.audit_log import Audit
from service.security.authenticator import Authenticator
from service.security.rate_limits import Rates, Streams
from service.settings import Settings
from service.storage.database import Database
from service.storage.episode_store import Blobs
from service.training_jobs import Jobs
from service.training_jobs import local_backend as local
from service.training_jobs import ray_backend as ray
from service.training_jobs.backend import Backend
from service.training_jobs.local_backend import LocalBackend
from service.training_jobs.ray_backend import RayBackend
from service.training_jobs.repository import JobStore


@dataclass(frozen=True)
class Service:
    """The parts, wired."""

    settings: Settings
    metrics: Metrics
    storage: Storage
    engine: Engine
    registry: Registry
    sessions: Sessions
    acting: Acting
    recorder: Recorder
    jobs: Jobs
    auth: Authenticator
    rates: Rates
    streams: Streams
    audit: Audit
    draining: threading.Event
    now: Callable[[], float]

    @classmethod
    @contextmanager
    def open(
        cls,
        settings: Settings,
        metrics: Metrics,
        factory: RuntimeFactory,
        draining: threading.Event,
        now: Callable[[], float] = time.time,
        rng: np.random.Generator | None = None,
    ) -> Iterator["Service"]:
        """Load the models and open the data folder; closed on the way out.

        Raises:
            InvalidConfig: a bundle, the folder of bundles, or the database cannot be used.
        """
        engine = Engine(
            metrics,
            queue_size=settings.queue_size,
            batch_rows=settings.batch_rows,
            timeout_s=settings.inference_timeout_s,
            belief_bytes=settings.belief_bytes,
            short_pass_s=settings.short_pass_ms / 1e3,
        )
        settings.data.mkdir(parents=True, exist_ok=True)
        with closing(Database(settings.database_url, settings.connections)) as database, closing(engine):
            quota = Quota(settings.max_episodes, settings.max_adaptations, settings.max_storage_bytes)
            storage = Storage(database, Blobs(settings.episodes_url), quota, now)
            engine.start()
            kept = Bundles(settings.bundles_url)
            registry = Registry(Catalogue(database, now), kept, factory, settings.models_loaded)
            registry.scan(settings.models)
            sessions = Sessions(
                storage, registry, engine, ttl_s=settings.session_ttl_s, max_steps=settings.max_steps, now=now
            )
            tape = Tape(database, now)
            recorder = Recorder(
                tape,
                sessions,
                engine,
                capacity=settings.recordings,
                max_steps=settings.max_steps,
                rng=rng or np.random.default_rng(),
            )
            auth = Authenticator(
                Keys(database),
                digest,
                opened=settings.loopback or settings.allow_unauthenticated,
                cache_s=settings.key_cache_s,
                now=now,
            )
            recall = Recall(database.file, settings.recalled)
            with closing(recall), closing(_training(settings, storage, registry, metrics, now)) as jobs:
                yield cls(
                    settings,
                    metrics,
                    storage,
                    engine,
                    registry,
                    sessions,
                    Acting(recall, registry, sessions, engine),
                    recorder,
                    jobs,
                    auth,
                    Rates(settings.rate),
                    Streams(settings.tenant_streams, settings.streams),
                    Audit(database),
                    draining,
                    now,
                )

    def delete(self, tenant: str, adaptation_id: str) -> None:
        """Forget an adaptation, its episodes and its recordings. Raises AdaptationNotFound."""
        self.sessions.delete(tenant, adaptation_id)
        self._drop([adaptation_id])

    def sweep(self) -> None:
        """Forget what has expired, and what other servers have deleted."""
        self.sessions.sweep()
        self._drop(self.storage.gone(self.engine.adaptations | self.recorder.adaptations))

    def tidy(self) -> None:
        """Remove what crashes left behind."""
        self.storage.tidy()
        self.audit.forget(self.now() - self.settings.audit_ttl_s)

    def _drop(self, adaptation_ids: Iterable[str]) -> None:
        """Forget what is here in memory of adaptations that are gone."""
        for adaptation_id in adaptation_ids:
            self.engine.evict(adaptation_id)
            self.recorder.forget(adaptation_id)


def _training(
    settings: Settings, storage: Storage, registry: Registry, metrics: Metrics, now: Callable[[], float]
) -> Jobs:
    """The training jobs, looked after from now on."""
    jobs = Jobs(
        JobStore(storage.database),
        _backend(settings),
        lambda bundle, name: registry.register(bundle, name).version,
        metrics,
        runs=settings.runs or settings.data / "runs",
        at_once=settings.training_jobs,
        most_queued=settings.training_queue,
        keep_s=settings.training_ttl_s,
        now=now,
    )
    jobs.start(settings.training_poll_s)
    return jobs


def _backend(settings: Settings) -> Backend | None:
    command = None if settings.train_command is None else shlex.split(settings.train_command)
    if settings.training_jobs == 0:
        return None
    if settings.ray_address is None:
        return LocalBackend(command or local.TRAIN)
    return RayBackend(settings.ray_address, settings.ray_token, command or ray.TRAIN)
