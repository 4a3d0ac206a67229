"""What Prometheus scrapes. One registry per application, so that tests and replicas do not share counts."""

import time
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MEDIA_TYPE = CONTENT_TYPE_LATEST
_LATENCY_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


@dataclass(frozen=True)
class Metrics:
    """The instruments."""

    registry: CollectorRegistry
    requests: Counter
    latency_s: Histogram
    batch_rows: Histogram
    infer_s: Histogram
    queue: Gauge
    beliefs: Counter
    episodes: Counter

    @classmethod
    def make(cls) -> "Metrics":
        """Instruments that have counted nothing yet."""
        registry = CollectorRegistry()
        labels = ("method", "route", "status")
        return cls(
            registry=registry,
            requests=Counter("wtl_requests", "Requests answered.", labels, registry=registry),
            latency_s=Histogram(
                "wtl_request_seconds", "Time to answer.", ("route",), registry=registry, buckets=_LATENCY_S
            ),
            batch_rows=Histogram(
                "wtl_batch_rows", "Observations in one pass of a policy.", registry=registry, buckets=_ROWS
            ),
            infer_s=Histogram(
                "wtl_infer_seconds", "Time in the model.", ("what",), registry=registry, buckets=_LATENCY_S
            ),
            queue=Gauge("wtl_queue_jobs", "Inference jobs waiting.", registry=registry),
            beliefs=Counter("wtl_beliefs", "Contexts looked up in memory.", ("found",), registry=registry),
            episodes=Counter("wtl_episodes", "Episodes stored.", ("role",), registry=registry),
        )

    def text(self) -> bytes:
        """In Prometheus' exposition format."""
        return generate_latest(self.registry)


class CountRequests:
    """ASGI middleware that counts and times requests by route template, never by raw path."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and look at the status of its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500
        started_s = time.perf_counter()

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            method = scope["method"] if route != "unmatched" else "any"
            self._metrics.requests.labels(method, route, status).inc()
            self._metrics.latency_s.labels(route).observe(time.perf_counter() - started_s)
