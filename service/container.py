"""The parts of a running server, wired, opened and closed in one place."""

import shlex
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import numpy as np

from service.adaptations.acting import Acting
from service.adaptations.episode_recorder import EpisodeRecorder
from service.adaptations.quota import Quota
from service.adaptations.recordings import RecordingRepository
from service.adaptations.repository import AdaptationRepository
from service.adaptations.row_cache import AdaptationCache
from service.adaptations.service import AdaptationService
from service.inference import Engine, RuntimeFactory
from service.observability.metrics import Metrics
from service.recognitions import DriftWatch, Recognitions
from service.registry.bundle_store import BundleStore
from service.registry.catalog import ModelCatalog
from service.registry.registry import Registry
from service.security.api_keys import ApiKeys
from service.security.audit_log import AuditLog
from service.security.authenticator import Authenticator
from service.security.rate_limits import RateLimiter, StreamLimiter
from service.settings import Settings
from service.storage.database import Database
from service.storage.dataset_store import DatasetStore
from service.storage.episode_store import EpisodeStore
from service.storage.service_clock import ServiceClock
from service.training_jobs import TrainingJobSupervisor
from service.training_jobs import local_backend as local
from service.training_jobs import ray_backend as ray
from service.training_jobs.backend import Backend
from service.training_jobs.local_backend import LocalBackend
from service.training_jobs.ray_backend import RayBackend
from service.training_jobs.repository import TrainingJobRepository


@dataclass(frozen=True)
class Container:
    """The parts of one server."""

    settings: Settings
    metrics: Metrics
    repository: AdaptationRepository
    engine: Engine
    registry: Registry
    adaptations: AdaptationService
    acting: Acting
    episode_recorder: EpisodeRecorder
    recognitions: Recognitions
    drift_watch: DriftWatch | None
    training_jobs: TrainingJobSupervisor
    datasets: DatasetStore
    authenticator: Authenticator
    rate_limiter: RateLimiter
    stream_limiter: StreamLimiter
    audit_log: AuditLog
    draining: threading.Event
    clock: ServiceClock

    @classmethod
    @contextmanager
    def open(
        cls,
        settings: Settings,
        metrics: Metrics,
        factory: RuntimeFactory,
        draining: threading.Event,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        rng: np.random.Generator | None = None,
    ) -> Iterator["Container"]:
        """Load the models and open the data folder, and close them after the block.

        Raises:
            InvalidConfig: a bundle, the folder of bundles, or the database cannot be used.
        """
        engine = Engine(
            metrics,
            queue_size=settings.queue_size,
            batch_rows=settings.batch_rows,
            timeout_s=settings.inference_timeout_s,
            belief_bytes=settings.belief_cache_bytes,
            short_pass_s=settings.inline_batch_ms / 1e3,
        )
        settings.data.mkdir(parents=True, exist_ok=True)
        with closing(Database(settings.database_url, settings.connections)) as database, closing(engine):
            quota = Quota(settings.max_episodes, settings.max_adaptations, settings.max_storage_bytes)
            repository = AdaptationRepository(database, EpisodeStore(settings.episodes_url), quota, now)
            clock = ServiceClock(database, now, monotonic, settings.clock_settle_s)
            engine.start()
            bundle_store = BundleStore(settings.bundles_url)
            registry = Registry(ModelCatalog(database, now), bundle_store, factory, settings.cached_model_versions)
            registry.scan(settings.models)
            adaptations = AdaptationService(
                repository,
                registry,
                engine,
                ttl_s=settings.adaptation_ttl_s,
                max_steps=settings.max_steps,
                now=now,
                clock=clock,
            )
            recordings = RecordingRepository(database, now)
            recorder = EpisodeRecorder(
                recordings,
                adaptations,
                engine,
                capacity=settings.cached_recordings,
                rng=rng or np.random.default_rng(),
            )
            auth = Authenticator(
                ApiKeys(database),
                opened=settings.loopback or settings.allow_unauthenticated,
                cache_s=settings.key_cache_s,
                now=lambda: max(now(), clock.certain()),  # a clock that is put back revives no key
                monotonic=monotonic,
            )
            datasets = DatasetStore(
                database, settings.datasets_url, settings.max_datasets, settings.max_dataset_bytes, now
            )
            cache = AdaptationCache(database.file, settings.cached_adaptations)
            with (
                closing(cache),
                closing(_training(settings, repository, registry, datasets, metrics, now, clock)) as jobs,
                _drift_watch(settings, adaptations, engine, metrics) as drift_watch,
            ):
                yield cls(
                    settings,
                    metrics,
                    repository,
                    engine,
                    registry,
                    adaptations,
                    Acting(cache, registry, adaptations, engine, rng or np.random.default_rng()),
                    recorder,
                    Recognitions(adaptations, engine, settings.max_recognition_rows),
                    drift_watch,
                    jobs,
                    datasets,
                    auth,
                    RateLimiter(settings.rate),
                    StreamLimiter(settings.tenant_streams, settings.streams),
                    AuditLog(database),
                    draining,
                    clock,
                )

    def delete(self, tenant: str, adaptation_id: str) -> None:
        """Delete an adaptation, its episodes and its recordings. Raises AdaptationNotFound."""
        self.adaptations.delete(tenant, adaptation_id)
        self._evict([adaptation_id])

    def sweep(self) -> None:
        """Delete expired adaptations, and evict from memory those that other servers have deleted."""
        self.adaptations.sweep()
        self._evict(self.repository.gone(self.engine.adaptations | self.episode_recorder.adaptations))

    def tidy(self) -> None:
        """Delete files that crashes left behind, and old entries of the audit log."""
        self.repository.tidy(self.clock.agreed())
        self.datasets.tidy()
        self.audit_log.forget(self.clock.agreed() - self.settings.audit_ttl_s)

    def _evict(self, adaptation_ids: Iterable[str]) -> None:
        """Drop deleted adaptations from memory."""
        for adaptation_id in adaptation_ids:
            self.engine.evict(adaptation_id)
            self.episode_recorder.forget(adaptation_id)


@contextmanager
def _drift_watch(
    settings: Settings, adaptations: AdaptationService, engine: Engine, metrics: Metrics
) -> Iterator[DriftWatch | None]:
    """The drift watch while the block runs, if the settings want one."""
    if not settings.drift_watch:
        yield None
        return
    watch = DriftWatch(adaptations, engine, metrics)
    watch.start()
    with closing(watch):
        yield watch


def _training(
    settings: Settings,
    repository: AdaptationRepository,
    registry: Registry,
    datasets: DatasetStore,
    metrics: Metrics,
    now: Callable[[], float],
    clock: ServiceClock,
) -> TrainingJobSupervisor:
    """Start the supervisor of the training jobs."""
    jobs = TrainingJobSupervisor(
        TrainingJobRepository(repository.database),
        _backend(settings),
        lambda bundle, name: registry.register(bundle, name).version,
        metrics,
        load_dataset=datasets.load,
        runs=settings.runs or settings.data / "runs",
        at_once=settings.training_jobs,
        most_queued=settings.training_queue,
        keep_s=settings.training_ttl_s,
        now=now,
        clock=clock,
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
