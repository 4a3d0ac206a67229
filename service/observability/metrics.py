"""Prometheus metrics. One registry per application, so that tests and replicas do not share counts.

Every server process is a scrape target of its own, and Prometheus sums their counts. Gauges of shared state
(adaptations, jobs, bytes) are read from the database and the same in every process: take their maximum.
"""

import platform
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from metalearn import __version__
from service.observability.stage_timings import STAGES, Stage, StageTimings

MEDIA_TYPE = CONTENT_TYPE_LATEST
_LATENCY_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30)
_STAGE_S = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 10)
_DEVIATION = (0.001, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 1, 2)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

_AT_ONCE = 64

_OfRoute = tuple[Counter, Histogram, Mapping[Stage, Histogram]]


@dataclass(frozen=True)
class Metrics:
    """The instruments of one application."""

    registry: CollectorRegistry
    requests: Counter
    latency_s: Histogram
    stage_s: Histogram
    in_flight: Gauge
    streams: Gauge
    batch_rows: Histogram
    infer_s: Histogram
    queue: Gauge
    beliefs: Counter
    episodes: Counter
    jobs: Counter
    drift: Histogram
    drift_left_out: Counter
    _passes: deque[tuple[int, float]] = field(default_factory=deque, repr=False)
    _of_route: "dict[tuple[str, str, int], _OfRoute]" = field(default_factory=dict, repr=False)

    @classmethod
    def make(cls) -> "Metrics":
        """Make a new registry with all instruments at zero."""
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        build = Info("wtl_build", "Versions of the service and of Python.", registry=registry)
        build.info({"version": __version__, "python": platform.python_version()})

        def histogram(
            name: str, text: str, labels: tuple[str, ...] = (), buckets: tuple[float, ...] = _LATENCY_S
        ) -> Histogram:
            return Histogram(name, text, labels, registry=registry, buckets=buckets)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=registry)

        return cls(
            registry=registry,
            requests=counter("wtl_requests", "Requests answered.", "method", "route", "status"),
            latency_s=histogram("wtl_request_seconds", "Time to answer.", ("route",)),
            stage_s=histogram("wtl_stage_seconds", "Time of a request by stage.", ("route", "stage"), _STAGE_S),
            in_flight=Gauge("wtl_requests_in_flight", "Requests being answered.", registry=registry),
            streams=Gauge("wtl_streams", "Open WebSockets.", registry=registry),
            batch_rows=histogram("wtl_batch_rows", "Observations in one pass of a policy.", buckets=_ROWS),
            infer_s=histogram("wtl_infer_seconds", "Time of one pass of a model.", ("what",)),
            queue=Gauge("wtl_queue_jobs", "Inference jobs waiting.", registry=registry),
            beliefs=counter("wtl_beliefs", "Contexts looked up in memory.", "found"),
            episodes=counter("wtl_episodes", "Episodes stored.", "role"),
            drift=histogram(
                "wtl_action_deviation", "How far trials are from the released policy.", ("model",), _DEVIATION
            ),
            drift_left_out=counter("wtl_trials_not_compared", "Trials that the drift watch left out."),
            jobs=counter("wtl_training_jobs_ended", "Training jobs that ended, by final state.", "state"),
        )

    def answered(self, method: str, route: str, status: int, seconds: float, stages: StageTimings) -> None:
        """Count one request. `route` is a template, never a raw path."""
        key = (method, route, status)
        requests, latency_s, stage_s = self._of_route.get(key) or self._add_route(key)
        requests.inc()
        latency_s.observe(seconds)
        for stage, spent_s in stages.spent_s.items():
            stage_s[stage].observe(spent_s)

    def _add_route(self, key: tuple[str, str, int]) -> "_OfRoute":
        """Cache the labelled instruments: looking them up takes longer than counting."""
        method, route, status = key
        stage_s = {stage: self.stage_s.labels(route, stage) for stage in STAGES}
        found = (self.requests.labels(method, route, status), self.latency_s.labels(route), stage_s)
        self._of_route[key] = found
        return found

    def passed(self, n_rows: int, taken_s: float) -> None:
        """Count one forward pass, with a delay: counting many at once takes a fraction of the time."""
        self._passes.append((n_rows, taken_s))
        if len(self._passes) >= _AT_ONCE:
            self._count_passes()

    def _count_passes(self) -> None:
        infer_s = self.infer_s.labels("act")
        for _ in range(len(self._passes)):
            with suppress(IndexError):  # another thread may have taken it
                n_rows, taken_s = self._passes.popleft()
                self.batch_rows.observe(n_rows)
                infer_s.observe(taken_s)

    @contextmanager
    def watch(
        self, read: Callable[[], Mapping[str, float]], name: str, text: str, label: str | None = None
    ) -> Iterator[None]:
        """Expose the values of `read` at each scrape while the block runs: one gauge, or one per value of `label`."""
        reader = _GaugeReader(read, name, text, label)
        self.registry.register(reader)
        try:
            yield
        finally:
            self.registry.unregister(reader)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' exposition format."""
        self._count_passes()
        return generate_latest(self.registry)


@dataclass(frozen=True)
class _GaugeReader(Collector):
    """A gauge that is read at each scrape."""

    read: Callable[[], Mapping[str, float]]
    name: str
    text: str
    label: str | None

    def describe(self) -> list[GaugeMetricFamily]:
        return [self._family()]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = self._family()
        for key, value in self.read().items():
            family.add_metric([key] if self.label else [], value)
        yield family

    def _family(self) -> GaugeMetricFamily:
        return GaugeMetricFamily(self.name, self.text, labels=[self.label] if self.label else [])
