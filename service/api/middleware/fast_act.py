"""The fast path to an action: a plain request about what is in memory is answered here, on the event loop.

Everything else, every refusal included, goes through the whole application as if nobody had looked at it here. Both
paths give the same answers to the same requests; this one in a fraction of the time.
"""

import asyncio
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metalearn.data.episode import Array
from metalearn.data.errors import InvalidData
from service.adaptations.acting import Actor
from service.api.middleware.access_log import LOGGER, RAW_HEADER, request_id_of
from service.api.middleware.auth import RATE_LIMIT_STATUS, rate_limit_subject, raw_headers
from service.api.presenters import act_response, server_timing
from service.api.schemas.adaptations import to_observations
from service.codecs import CODECS, JSON, MSGPACK, Codec
from service.container import Container
from service.errors import ServiceError
from service.inference import ActResult
from service.observability.metrics import Metrics
from service.observability.stage_timings import Stage, StageTimings
from service.security.caller import Caller

ROUTE = "/v1/adaptations/{adaptation_id}/act"
_PATH = re.compile(r"/v1/adaptations/([0-9a-f]{24})/act")
_SMALL = 64 * 1024  # bytes: what takes longer to decode than to change threads is decoded in one
_CODECS: Mapping[bytes, Codec] = {name.encode(): CODECS[name] for name in (JSON, MSGPACK)}
_UNUSUAL_HEADERS = frozenset({b"content-encoding", b"idempotency-key", b"traceparent", b"expect"})


@dataclass(eq=False)
class _Asked:
    """A plain request, as far as it was looked at."""

    scope: Scope
    adaptation_id: str
    codec: Codec
    key: str | None
    started_s: float = field(default_factory=time.perf_counter)


@dataclass(eq=False, slots=True)
class _Ready:
    """Who is allowed to ask, who acts, and on what."""

    caller: Caller
    actor: Actor
    observations: Array
    decode_ms: float


class FastActMiddleware:
    """ASGI middleware around all others."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass the request on."""
        asked = _plain(scope)
        if asked is None:
            await self._app(scope, receive, send)
            return
        container: Container = scope["app"].state.container
        body, again = await _body(receive, container.settings.body_timeout_s)
        ready = None if body is None else _ready(container, asked, body)
        acted = None if ready is None else await self._act(container, asked, ready)
        if ready is None or acted is None:
            await self._app(scope, again, send)
        else:
            await self._answer(asked, ready, acted, send)

    async def _act(self, container: Container, asked: _Asked, ready: _Ready) -> ActResult | None:
        """The actions; None where something went wrong, which the whole application reports better."""
        self._metrics.in_flight.inc()
        try:
            asked.scope[RATE_LIMIT_STATUS] = container.rate_limiter.count(rate_limit_subject(asked.scope, ready.caller))
            return await container.acting.act_once(ready.actor, ready.observations)
        except (ServiceError, InvalidData):
            return None
        finally:
            self._metrics.in_flight.dec()

    async def _answer(self, asked: _Asked, ready: _Ready, acted: ActResult, send: Send) -> None:
        encode_s = time.perf_counter()
        body = asked.codec.encode(act_response(acted, ready.decode_ms, (encode_s - asked.started_s) * 1e3))
        encoded_s = time.perf_counter()
        timing = server_timing(acted, ready.decode_ms, (encoded_s - encode_s) * 1e3)
        headers = [
            (b"content-length", str(len(body)).encode()),
            (b"content-type", asked.codec.media_type.encode()),
            (b"vary", b"Accept"),
            (b"server-timing", timing.encode()),
            *raw_headers(asked.scope[RATE_LIMIT_STATUS]),
            (RAW_HEADER, request_id_of(asked.scope).encode()),
        ]
        spent_s: dict[Stage, float] = {
            "decode": ready.decode_ms / 1e3,
            "queue": acted.queue_ms / 1e3,
            "infer": acted.infer_ms / 1e3,
            "encode": encoded_s - encode_s,
        }
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        self._metrics.answered("POST", ROUTE, 200, time.perf_counter() - asked.started_s, StageTimings(None, spent_s))


def _plain(scope: Scope) -> _Asked | None:
    """A small body in a plain format for the newest version, and nobody who wants a line in the log."""
    if scope["type"] != "http" or scope["method"] != "POST" or scope["query_string"]:
        return None
    found = _PATH.fullmatch(scope["path"])
    if found is None or logging.getLogger(LOGGER).isEnabledFor(logging.DEBUG):
        return None
    content_type, accept, key, size = b"", b"*/*", None, b""
    for name, value in scope["headers"]:
        if name == b"content-type":
            content_type = value
        elif name == b"content-length":
            size = value
        elif name == b"accept":
            accept = value
        elif name == b"authorization":
            key = value.decode("latin-1")
        elif name in _UNUSUAL_HEADERS:
            return None
    codec = _CODECS.get(content_type)
    small = size.isdigit() and len(size) <= 6 and int(size) <= _SMALL
    if codec is None or accept not in {b"*/*", content_type} or not small:
        return None
    return _Asked(scope, found[1], codec, key)


async def _body(receive: Receive, timeout_s: float) -> tuple[bytes | None, Receive]:
    """The body, if it came in one piece; and how to receive it once more."""
    first: Message | None = None
    try:
        async with asyncio.timeout(timeout_s):
            first = await receive()
    except TimeoutError:
        pass
    given = [first]

    async def again() -> Message:
        if not given:
            return await receive()
        message = given.pop()
        if message is None:
            raise TimeoutError
        return message

    whole = first is not None and first["type"] == "http.request" and not first.get("more_body")
    return (first.get("body", b"") if first and whole else None), again


def _caller(container: Container, key: str | None) -> Caller | None:
    """Who may ask for actions, if that is known without a look into the database."""
    try:
        caller = container.authenticator.cached_caller(key)
    except ServiceError:
        return None
    return caller if caller is not None and "adapt" in caller.scopes else None


def _ready(container: Container, asked: _Asked, body: bytes) -> _Ready | None:
    """Who is known to be allowed, what is in memory already, and observations as they should be."""
    caller = _caller(container, asked.key)
    if caller is None:
        return None
    actor = container.acting.cached_actor(caller.tenant, asked.adaptation_id)
    if actor is None:
        return None
    decode_s = time.perf_counter()
    try:
        value = asked.codec.decode(body, container.settings.max_containers)
        if not isinstance(value, dict) or len(value) != 1:
            return None
        spec, max_rows = actor.model.spec, container.settings.max_rows
        observations = to_observations("observations", value["observations"], spec, max_rows)
    except (KeyError, TypeError, ServiceError, InvalidData):
        return None
    return _Ready(caller, actor, observations, (time.perf_counter() - decode_s) * 1e3)
