"""Refusals of a request before any route has read it, over HTTP or at the handshake of a WebSocket."""

import json
from collections.abc import Mapping

from starlette.types import Receive, Scope, Send

from service.errors import ServiceError


async def refuse(scope: Scope, receive: Receive, send: Send, error: ServiceError, headers: Mapping[str, str]) -> None:
    """Respond with a problem, without reading the body."""
    headers = {**headers, **error.headers, "Content-Type": "application/problem+json"}
    kind = "http.response"
    if scope["type"] == "websocket":
        await receive()
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008, "reason": error.title})
            return
        kind = "websocket.http.response"
    await send({"type": f"{kind}.start", "status": error.status, "headers": raw(headers)})
    await send({"type": f"{kind}.body", "body": json.dumps(error.to_json()).encode()})


def raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Encode headers for ASGI."""
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]
