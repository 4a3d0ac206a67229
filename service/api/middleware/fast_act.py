"""The fast path of `act`: a plain request whose adaptation is in memory is answered here, on the event loop.

All other requests, including every one that is refused, go through the whole application unchanged. Both paths give
the same responses to the same requests; this one takes a fraction of the time.
"""

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
from service.api.schemas.observations import to_observations
from service.api.shutdown import Shutdown
from service.codecs import CODECS, JSON, MSGPACK, Codec
from service.container import Container
from service.errors import ServiceError, ShuttingDown
from service.inference import ActResult
from service.observability.metrics import Metrics
from service.observability.stage_timings import Stage, StageTimings
from service.security.caller import Caller
from service.security.web_access import WebAccess

ROUTE = "/v1/adaptations/{adaptation_id}/act"
_PATH = re.compile(r"/v1/adaptations/([0-9a-f]{24})/act")
_SMALL = 64 * 1024  # bytes; decoding a larger body takes longer than handing it to a thread
_CODECS: Mapping[bytes, Codec] = {name.encode(): CODECS[name] for name in (JSON, MSGPACK)}
_UNUSUAL_HEADERS = frozenset(
    {b"content-encoding", b"idempotency-key", b"traceparent", b"expect", b"origin", b"sec-fetch-site"}
)


@dataclass(eq=False)
class _PlainRequest:
    """A plain request, from its headers."""

    scope: Scope
    adaptation_id: str
    codec: Codec
    host: str
    key: str | None
    started_s: float = field(default_factory=time.perf_counter)


@dataclass(eq=False, slots=True)
class _Prepared:
    """The caller of a request, the actor and the observations."""

    caller: Caller
    actor: Actor
    observations: Array
    decode_ms: float


class FastActMiddleware:
    """ASGI middleware around all other middleware."""

    def __init__(self, app: ASGIApp, metrics: Metrics, access: WebAccess) -> None:
        self._app, self._metrics, self._access = app, metrics, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request or pass it on."""
        plain = _plain_request(scope)
        if plain is None or not self._access.answers_as(plain.host):
            await self._app(scope, receive, send)
            return
        container: Container = scope["app"].state.container
        body, again = await _body(receive, scope["app"].state.shutdown, container.settings.body_timeout_s)
        prepared = None if body is None else _prepare(container, plain, body)
        result = None if prepared is None else await self._act(container, plain, prepared)
        if prepared is None or result is None:
            await self._app(scope, again, send)
        else:
            await self._answer(plain, prepared, result, send)

    async def _act(self, container: Container, plain: _PlainRequest, prepared: _Prepared) -> ActResult | None:
        """Return the actions, or None after an error: the whole application will report it."""
        self._metrics.in_flight.inc()
        try:
            subject = rate_limit_subject(plain.scope, prepared.caller)
            plain.scope[RATE_LIMIT_STATUS] = container.rate_limiter.count(subject)
            return await container.acting.act_once(prepared.actor, prepared.observations)
        except (ServiceError, InvalidData):
            return None
        finally:
            self._metrics.in_flight.dec()

    async def _answer(self, plain: _PlainRequest, prepared: _Prepared, result: ActResult, send: Send) -> None:
        encode_s = time.perf_counter()
        body = plain.codec.encode(act_response(result, prepared.decode_ms, (encode_s - plain.started_s) * 1e3))
        encoded_s = time.perf_counter()
        timing = server_timing(result, prepared.decode_ms, (encoded_s - encode_s) * 1e3)
        headers = [
            (b"content-length", str(len(body)).encode()),
            (b"content-type", plain.codec.media_type.encode()),
            (b"vary", b"Accept"),
            (b"server-timing", timing.encode()),
            *raw_headers(plain.scope[RATE_LIMIT_STATUS]),
            (RAW_HEADER, request_id_of(plain.scope).encode()),
        ]
        spent_s: dict[Stage, float] = {
            "decode": prepared.decode_ms / 1e3,
            "queue": result.queue_ms / 1e3,
            "infer": result.infer_ms / 1e3,
            "encode": encoded_s - encode_s,
        }
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        self._metrics.answered("POST", ROUTE, 200, time.perf_counter() - plain.started_s, StageTimings(None, spent_s))


def _plain_request(scope: Scope) -> _PlainRequest | None:
    """Return the request if it is a small JSON or msgpack body for the newest version, and needs no line in the log."""
    if scope["type"] != "http" or scope["method"] != "POST" or scope["query_string"]:
        return None
    found = _PATH.fullmatch(scope["path"])
    if found is None or logging.getLogger(LOGGER).isEnabledFor(logging.DEBUG):
        return None
    headers = dict(scope["headers"])
    if len(headers) != len(scope["headers"]) or not _UNUSUAL_HEADERS.isdisjoint(headers):
        return None
    content_type, size = headers.get(b"content-type", b""), headers.get(b"content-length", b"")
    codec = _CODECS.get(content_type)
    small = size.isdigit() and len(size) <= 6 and int(size) <= _SMALL
    if codec is None or headers.get(b"accept", b"*/*") not in {b"*/*", content_type} or not small:
        return None
    key, host = headers.get(b"authorization"), headers.get(b"host", b"").decode("latin-1")
    return _PlainRequest(scope, found[1], codec, host, None if key is None else key.decode("latin-1"))


async def _body(receive: Receive, shutdown: Shutdown, timeout_s: float) -> tuple[bytes | None, Receive]:
    """Return the body if it came in one piece, and a `receive` that yields its message once more."""
    first: Message | None = None
    try:
        async with shutdown.timeout(timeout_s):
            first = await receive()
    except (TimeoutError, ShuttingDown):
        pass
    unread = [first]

    async def again() -> Message:
        if not unread:
            return await receive()
        message = unread.pop()
        if message is None:
            raise TimeoutError
        return message

    whole = first is not None and first["type"] == "http.request" and not first.get("more_body")
    return (first.get("body", b"") if first and whole else None), again


def _caller(container: Container, key: str | None) -> Caller | None:
    """Return the caller if it is known without a query and may ask for actions."""
    try:
        caller = container.authenticator.cached_caller(key)
    except ServiceError:
        return None
    return caller if caller is not None and "adapt" in caller.scopes else None


def _prepare(container: Container, plain: _PlainRequest, body: bytes) -> _Prepared | None:
    """Return the inputs of an action, or None if the request is invalid or anything is not in memory."""
    caller = _caller(container, plain.key)
    if caller is None:
        return None
    actor = container.acting.cached_actor(caller.tenant, plain.adaptation_id)
    if actor is None:
        return None
    decode_s = time.perf_counter()
    try:
        value = plain.codec.decode(body, container.settings.max_containers)
        if not isinstance(value, dict) or len(value) != 1:
            return None
        spec, max_rows = actor.model.spec, container.settings.max_rows
        observations = to_observations("observations", value["observations"], spec, max_rows)
    except (KeyError, TypeError, ServiceError, InvalidData):
        return None
    return _Prepared(caller, actor, observations, (time.perf_counter() - decode_s) * 1e3)
