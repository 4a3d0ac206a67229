"""Request ids, stage timings, request counts, and one line in the log per request (at level DEBUG for actions).

Routes appear by template, never by raw path. Bodies, queries and keys never appear.
"""

import logging
import re
import secrets
import time

import structlog
from opentelemetry.trace import Tracer
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.observability.metrics import Metrics
from service.observability.stage_timings import StageTimings, recording_stages

HEADER = "X-Request-ID"
RAW_HEADER = HEADER.lower().encode()
CONNECTION = "wtl.connection"
"""Key in the ASGI scope of the server's own `receive` and `send`, which streams use without the middleware."""
_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_QUIET = frozenset({"/livez", "/readyz", "/metrics"})
LOGGER = "service.access"
_log = structlog.get_logger(LOGGER)


class AccessLogMiddleware:
    """ASGI middleware that observes every request and every WebSocket."""

    def __init__(self, app: ASGIApp, metrics: Metrics, tracer: Tracer | None = None) -> None:
        self._app, self._metrics, self._tracer = app, metrics, tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and report its response."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        scope[CONNECTION] = receive, send
        request_id = request_id_of(scope)
        is_stream = scope["type"] == "websocket"
        status = 101 if is_stream else 500
        started_s = time.perf_counter()

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] in {"http.response.start", "websocket.http.response.start"}:
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (RAW_HEADER, request_id.encode())]
            await send(message)

        gauge = self._metrics.streams if is_stream else self._metrics.in_flight
        stages = StageTimings(self._tracer)
        with (
            structlog.contextvars.bound_contextvars(request_id=request_id),
            # The stages of a stream are only visible as spans: it has no response whose duration could be measured.
            recording_stages(stages if self._tracer is not None or not is_stream else None),
            gauge.track_inprogress(),
        ):
            try:
                await self._app(scope, receive, watch)
            finally:
                self._report(scope, status, time.perf_counter() - started_s, stages)

    def _report(self, scope: Scope, status: int, seconds: float, stages: StageTimings) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        method = "any" if route == "unmatched" else scope.get("method", "WS")
        if scope["type"] == "http":
            self._metrics.answered(method, route, status, seconds, stages)
        quiet = status < 400 and (route in _QUIET or route.endswith("/act"))
        if quiet and not logging.getLogger(LOGGER).isEnabledFor(logging.DEBUG):
            return  # writing a line takes longer than an action; the metrics count them all
        (_log.debug if quiet else _log.info)(
            "request",
            method=scope.get("method", "WS"),
            route=route,
            status=status,
            duration_ms=round(seconds * 1e3, 3),
            tenant=scope.get("state", {}).get("tenant"),
        )


def request_id_of(scope: Scope) -> str:
    """Return the client's request id if it is safe to log, else a new one. It stays the same for the whole request."""
    known: str | None = scope.get("wtl.request_id")
    if known is None:
        given = next((value for name, value in scope["headers"] if name == RAW_HEADER), b"")
        known = scope["wtl.request_id"] = given.decode() if _ID.fullmatch(given) else secrets.token_hex(12)
    return known
