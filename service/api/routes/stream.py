"""The WebSocket, in the protocol of openpi's clients: the server speaks first, then responds to every frame.

An error is a text frame with a problem in JSON, which openpi's client raises. The stream stays open after it.
"""

import json
from contextlib import ExitStack, suppress
from typing import Any

import numpy as np
from fastapi import APIRouter, Response, WebSocket, WebSocketDisconnect
from starlette.types import Message, Receive, Send

from metalearn.data.errors import InvalidData
from service.api.direct_frames import DIRECT, OfferDirect, Reply
from service.api.middleware.access_log import CONNECTION
from service.api.openapi import PROBLEM
from service.api.scopes import requires
from service.api.stream_options import StreamOptions
from service.api.stream_session import StreamSession
from service.codecs import encode_msgpack
from service.container import Container
from service.errors import AdaptationNotFound, Busy, InternalError, InvalidPayload, MalformedBody, ServiceError

router = APIRouter(prefix="/v1/adaptations", tags=["adaptations"], dependencies=[requires("adapt")])
_GONE, _BROKEN, _GOING_DOWN = 1008, 1011, 1012
_COUNTED, _FAILED = "wtl.counted", "wtl.failed"
"""Keys in the message of a frame that was left to `_serve`: if its rate is counted already, and its error."""


@router.websocket("/{adaptation_id}/stream")
async def stream(socket: WebSocket, adaptation_id: str) -> None:
    """Serve a stream until the client disconnects, the adaptation is deleted, or the server shuts down."""
    container: Container = socket.app.state.container
    with ExitStack() as stack:
        try:
            options = StreamOptions.of(socket.query_params.multi_items())
            stack.enter_context(container.stream_limiter.opened(socket.state.tenant))
            adaptation = await container.acting.find_adaptation(socket.state.tenant, adaptation_id)
            actor = await container.acting.find_actor(adaptation)
            session = StreamSession(actor, container.acting, container.adaptations, np.random.default_rng(), options)
            greeting = await session.greeting()
            if container.draining.is_set():
                raise Busy("the server is shutting down")
        except (InvalidData, ServiceError) as error:
            refusal = InvalidPayload.of(error) if isinstance(error, InvalidData) else error
            problem = json.dumps(refusal.to_json())
            await socket.send_denial_response(Response(problem, refusal.status, refusal.headers, PROBLEM))
            return
        await socket.accept()
        with suppress(WebSocketDisconnect, OSError):  # the unfinished episode of a lost client is dropped
            await socket.send_bytes(encode_msgpack(greeting))
            # Frames bypass the middleware, which would take longer than an action.
            receive, send = socket.scope[CONNECTION]
            subject = socket.state.rate_limit_subject
            offer: OfferDirect | None = socket.scope.get("extensions", {}).get(DIRECT)
            if offer is not None and not container.settings.traces:
                offer(lambda reply: _DirectAnswers(reply, session, container, subject).take)
            await _serve(receive, send, session, container, subject)


class _DirectAnswers:
    """Answers frames in the call that delivers them, when all that they need is in memory.

    It refuses nothing: errors, and frames that need a thread, are left to `_serve`.
    """

    def __init__(self, reply: Reply, session: StreamSession, container: Container, subject: str) -> None:
        self._reply, self._session, self._subject = reply, session, subject
        self._draining, self._spend = container.draining, container.rate_limiter.spend

    def take(self, frame: bytes) -> None:
        """Answer a frame, now or when its batch has run, or leave it."""
        counted = False
        try:
            if not self._draining.is_set():
                self._spend(self._subject)
                counted = True
                if self._session.answer_soon(frame, self._answer):
                    return
        except Exception as error:
            self._fail(error)
        else:
            self._reply.pass_on({"type": "websocket.receive", "bytes": frame, _COUNTED: counted})

    def _answer(self, response: dict[str, Any] | Exception) -> None:
        try:
            if isinstance(response, Exception):
                raise response
            data = encode_msgpack(response)
        except Exception as error:
            self._fail(error)
        else:
            self._reply.answer(data)

    def _fail(self, error: Exception) -> None:
        self._reply.pass_on({"type": "websocket.receive", _FAILED: error})


async def _serve(
    receive: Receive, send: Send, session: StreamSession, container: Container, rate_limit_subject: str
) -> None:
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        try:
            answer = await _answer(message, session, container, rate_limit_subject)
        except InvalidData as error:
            await _refuse(send, InvalidPayload.of(error))
        except ServiceError as error:
            await _refuse(send, error)
            if isinstance(error, AdaptationNotFound):
                await _close(send, _GONE, error.title)
                return
        except Exception:
            await _refuse(send, InternalError("something went wrong in the server, and its log says what"))
            await _close(send, _BROKEN, InternalError.title)
            raise
        else:
            await send({"type": "websocket.send", "bytes": answer})
        if container.draining.is_set():
            await _close(send, _GOING_DOWN, "the server is shutting down")
            return


async def _answer(message: Message, session: StreamSession, container: Container, rate_limit_subject: str) -> bytes:
    """Return the answer to a frame. Raises its error, whoever found it."""
    error: Exception | None = message.get(_FAILED)
    if error is not None:
        raise error
    if not message.get(_COUNTED):
        container.rate_limiter.spend(rate_limit_subject)
    frame: bytes | None = message.get("bytes")
    if frame is None:
        raise MalformedBody("expected a binary frame with msgpack, got a text frame")
    return encode_msgpack(await session.answer(frame))


async def _refuse(send: Send, error: ServiceError) -> None:
    await send({"type": "websocket.send", "text": json.dumps(error.to_json())})


async def _close(send: Send, code: int, reason: str) -> None:
    await send({"type": "websocket.close", "code": code, "reason": reason})
