"""What is decided about every request before its path is looked at: prefix, shutdown, Host, Origin, HEAD.

A web page can send requests to a server on the same machine, so it is not enough that the server listens on loopback
(`security.web_access`). What a form can send is refused by its content type, on every route (`api.scopes`).
"""

from collections.abc import Mapping
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.middleware.auth import SECURITY_HEADERS
from service.api.middleware.refusals import refuse
from service.api.shutdown import Shutdown
from service.errors import ServiceError
from service.security.web_access import WebAccess

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_PROBES = frozenset({"/livez", "/readyz"})

CORS: Mapping[str, Any] = {
    "allow_methods": ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
    "allow_headers": ["Authorization", "Content-Encoding", "Content-Type", "Idempotency-Key", "Last-Event-ID"],
    "expose_headers": ["Location", "Retry-After", "RateLimit", "RateLimit-Policy", "Server-Timing", "X-Request-ID"],
    "max_age": 600,
}
"""What pages of the allowed origins may send and read. Keys are no cookies, so no credentials are allowed."""


class PrefixMiddleware:
    """ASGI middleware around all other middleware: takes the prefix off the path where the proxy has left it."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app, self._prefix = app, prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with the path that the routes know."""
        path = scope.get("path", "")
        scope["root_path"] = self._prefix
        if path == self._prefix or path.startswith(self._prefix + "/"):
            scope["path"] = path[len(self._prefix) :] or "/"
            raw = scope.get("raw_path")
            if isinstance(raw, bytes) and raw.startswith(self._prefix.encode()):
                scope["raw_path"] = raw[len(self._prefix) :] or b"/"
        await self._app(scope, receive, send)


class FrontDoorMiddleware:
    """ASGI middleware that refuses what a foreign page, a stopping server or a wrong name should not get through."""

    def __init__(self, app: ASGIApp, access: WebAccess, shutdown: Shutdown) -> None:
        self._app, self._access, self._shutdown = app, access, shutdown

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admit the request or refuse it."""
        if scope["type"] in {"http", "websocket"}:
            try:
                self._check(scope)
            except ServiceError as error:
                await refuse(scope, receive, send, error, SECURITY_HEADERS)
                return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        """Raise ShuttingDown, ForeignHost or ForeignOrigin."""
        headers, method = Headers(scope=scope), scope.get("method")
        hosts = headers.getlist("host")
        # The health checks of some load balancers name no host.
        if hosts or scope["path"] not in _PROBES:
            self._access.check_host(hosts)
        if scope["path"] not in _PROBES:
            self._shutdown.check()
        if method not in _READS:
            self._access.check_origin(headers.getlist("origin"), hosts, headers.get("sec-fetch-site"))


class HeadMiddleware:
    """ASGI middleware next to the routes: answers HEAD as GET would be, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on as a GET."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        ended = False

        async def send_head(message: Message) -> None:
            nonlocal ended
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                ended = True

        async def receive_end() -> Message:
            return {"type": "http.disconnect"} if ended else await receive()

        await self._app({**scope, "method": "GET"}, receive_end, send_head)
