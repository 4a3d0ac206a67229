"""What one running server holds, opened and closed in one place."""

import fcntl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metalearn.data.errors import InvalidConfig
from service.engine import Engine, RuntimeFactory
from service.metrics import Metrics
from service.recorder import Recorder
from service.registry import Registry, read_bundles
from service.sessions import Sessions
from service.settings import Settings
from service.storage import Storage


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold the data folder; the lock goes with the process, however that ends.

    Raises:
        InvalidConfig: another server holds it. Two would not see each other's episodes in progress.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InvalidConfig(f"another server uses the data folder {folder}") from error
        yield


@dataclass(frozen=True)
class Service:
    """The parts, wired."""

    settings: Settings
    metrics: Metrics
    storage: Storage
    engine: Engine
    registry: Registry
    sessions: Sessions
    recorder: Recorder
    draining: threading.Event

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
            InvalidConfig: a bundle, or the folder of bundles, cannot be used.
        """
        bundles = read_bundles(settings.models)
        engine = Engine(
            metrics,
            queue_size=settings.queue_size,
            batch_rows=settings.batch_rows,
            timeout_s=settings.inference_timeout_s,
            belief_bytes=settings.belief_bytes,
            short_pass_s=settings.short_pass_ms / 1e3,
        )
        with closing(Storage(settings.data)) as storage, closing(engine):
            engine.start()
            registry = Registry(storage, settings.data / "bundles", factory)
            for name, bundle in bundles.items():
                registry.offer(name, bundle, now())
            sessions = Sessions(
                storage, registry, engine, ttl_s=settings.session_ttl_s, max_episodes=settings.max_episodes, now=now
            )
            recorder = Recorder(
                settings.data / "recordings",
                storage,
                sessions,
                engine,
                capacity=settings.recordings,
                rng=rng or np.random.default_rng(),
            )
            yield cls(settings, metrics, storage, engine, registry, sessions, recorder, draining)

    def sweep(self) -> None:
        """Forget what has expired."""
        for adaptation_id in self.sessions.sweep():
            self.recorder.forget(adaptation_id)
