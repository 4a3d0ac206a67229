"""The WebSocket, in the protocol of openpi's clients: the server speaks first, then responds to every frame.

An error is a text frame with a problem in JSON, which openpi's client raises. The stream stays open after it.
"""

import json
from contextlib import ExitStack, suppress

import numpy as np
from fastapi import APIRouter, Response, WebSocket, WebSocketDisconnect
from starlette.types import Receive, Send

from metalearn.data.errors import InvalidData
from service.api.middleware.access_log import CONNECTION
from service.api.openapi import PROBLEM
from service.api.scopes import requires
from service.api.stream_session import StreamSession
from service.codecs import encode_msgpack
from service.container import Container
from service.errors import AdaptationNotFound, Busy, InternalError, InvalidPayload, MalformedBody, ServiceError

router = APIRouter(prefix="/v1/adaptations", tags=["adaptations"], dependencies=[requires("adapt")])
_GONE, _FAILED, _GOING_DOWN = 1008, 1011, 1012


@router.websocket("/{adaptation_id}/stream")
async def stream(socket: WebSocket, adaptation_id: str) -> None:
    """Serve a stream until the client disconnects, the adaptation is deleted, or the server shuts down."""
    container: Container = socket.app.state.container
    with ExitStack() as stack:
        try:
            stack.enter_context(container.stream_limiter.opened(socket.state.tenant))
            adaptation = await container.acting.find_adaptation(socket.state.tenant, adaptation_id)
            actor = await container.acting.find_actor(adaptation)
            session = StreamSession(actor, container.acting, container.adaptations, np.random.default_rng())
            greeting = await session.greeting()
            if container.draining.is_set():
                raise Busy("the server is shutting down")
        except ServiceError as error:
            problem = json.dumps(error.to_json())
            await socket.send_denial_response(Response(problem, error.status, error.headers, PROBLEM))
            return
        await socket.accept()
        with suppress(WebSocketDisconnect, OSError):  # the unfinished episode of a lost client is dropped
            await socket.send_bytes(encode_msgpack(greeting))
            # Frames bypass the middleware, which would take longer than an action.
            receive, send = socket.scope[CONNECTION]
            await _serve(receive, send, session, container, socket.state.rate_limit_subject)


async def _serve(
    receive: Receive, send: Send, session: StreamSession, container: Container, rate_limit_subject: str
) -> None:
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        frame = message.get("bytes")
        try:
            container.rate_limiter.spend(rate_limit_subject)
            if frame is None:
                raise MalformedBody("expected a binary frame with msgpack, got a text frame")
            answer = encode_msgpack(await session.answer(frame))
        except InvalidData as error:
            await _refuse(send, InvalidPayload.of(error))
        except ServiceError as error:
            await _refuse(send, error)
            if isinstance(error, AdaptationNotFound):
                await _close(send, _GONE, error.title)
                return
        except Exception:
            await _refuse(send, InternalError("something went wrong in the server, and its log says what"))
            await _close(send, _FAILED, InternalError.title)
            raise
        else:
            await send({"type": "websocket.send", "bytes": answer})
        if container.draining.is_set():
            await _close(send, _GOING_DOWN, "the server is shutting down")
            return


async def _refuse(send: Send, error: ServiceError) -> None:
    await send({"type": "websocket.send", "text": json.dumps(error.to_json())})


async def _close(send: Send, code: int, reason: str) -> None:
    await send({"type": "websocket.close", "code": code, "reason": reason})
