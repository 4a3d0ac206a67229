"""Authentication and rate limits before every route; the audit log and security headers after it.

Every path needs a key, unknown paths included, unless it is declared public. The route itself checks the scope of the
key (`api.scopes`).
"""

from collections.abc import Callable, Mapping

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.console_session import authorization_of
from service.api.middleware.access_log import request_id_of
from service.api.middleware.refusals import raw, refuse
from service.container import Container
from service.errors import Forbidden, ServiceError, Unauthenticated
from service.security.audit_log import Entry
from service.security.caller import Caller
from service.security.rate_limits import RateLimitStatus

SECURITY_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
RATE_LIMIT_STATUS = "wtl.rate_limit_status"
"""Key in the ASGI scope of the rate limit status of a request that has been counted already."""
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_log = structlog.get_logger("service")


class AuthMiddleware:
    """ASGI middleware that sets `caller`, `tenant` and `rate_limit_subject` in the state of a request."""

    def __init__(self, app: ASGIApp, now: Callable[[], float]) -> None:
        self._app, self._now = app, now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admit the request or refuse it."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        container: Container = scope["app"].state.container
        headers = dict(SECURITY_HEADERS)
        responder = _Responder(self, container, scope, send, headers)
        try:
            if scope["path"] not in scope["app"].state.public_paths:
                await self._admit(container, scope, headers)
        except ServiceError as error:
            await responder.refuse(receive, error)
            return
        try:
            await self._app(scope, receive, responder.send)
        except Exception:
            await responder.note("500")
            raise

    async def _admit(self, container: Container, scope: Scope, headers: dict[str, str]) -> None:
        """Authenticate and count the request. Raises Unauthenticated, TooManyRequests."""
        authorization = authorization_of(Headers(scope=scope))
        try:
            caller = container.authenticator.cached_caller(authorization)
            if caller is None:
                caller = await run_in_threadpool(container.authenticator.authenticate, authorization)
        except Unauthenticated:
            container.rate_limiter.deny(_address(scope))
            raise
        subject = rate_limit_subject(scope, caller)
        scope.setdefault("state", {}).update(caller=caller, tenant=caller.tenant, rate_limit_subject=subject)
        headers.update((scope.get(RATE_LIMIT_STATUS) or container.rate_limiter.count(subject)).headers)

    def entry(self, scope: Scope, outcome: str) -> Entry:
        """Make the entry about this request for the audit log."""
        caller: Caller | None = scope.get("state", {}).get("caller")
        route = getattr(scope.get("route"), "path", None)
        return Entry(
            at=self._now(),
            tenant=None if caller is None else caller.tenant,
            key=None if caller is None else caller.key,
            action=f"{scope.get('method', 'WS')} {route or '?'}",
            subject=ascii(scope["path"])[1:-1][:300],
            outcome=outcome,
            request=request_id_of(scope),
        )


class _Responder:
    """Sends the response on, with headers, after the entry is in the audit log."""

    def __init__(
        self, middleware: AuthMiddleware, container: Container, scope: Scope, send: Send, headers: Mapping[str, str]
    ) -> None:
        self._middleware, self._container, self._scope, self._send, self._headers = (
            middleware, container, scope, send, headers
        )  # fmt: skip

    async def send(self, message: Message) -> None:
        if message["type"] in {"http.response.start", "websocket.http.response.start"}:
            headers = message["headers"] = list(message.get("headers", ()))
            present = {name for name, _ in headers}
            headers += [(name, value) for name, value in raw(self._headers) if name not in present]
            if self._is_change or message["status"] == Forbidden.status:
                await self.note(str(message["status"]))
        elif message["type"] == "websocket.accept":
            await self.note("101")
        await self._send(message)

    async def note(self, outcome: str) -> None:
        """Write the entry. A failure is only logged, since refusing the request would not undo it."""
        try:
            await run_in_threadpool(self._container.audit_log.add, self._middleware.entry(self._scope, outcome))
        except Exception as error:
            _log.error("a line of the audit log is lost", error=repr(error))

    async def refuse(self, receive: Receive, error: ServiceError) -> None:
        """Respond with a problem, without reading the body."""
        if error.status in {Unauthenticated.status, Forbidden.status}:
            await self.note(str(error.status))
        await refuse(self._scope, receive, self._send, error, self._headers)

    @property
    def _is_change(self) -> bool:
        """True unless the request reads or acts; actions are too frequent for the audit log."""
        method = self._scope.get("method", "GET")
        path, public = self._scope["path"], self._scope["app"].state.public_paths
        return method not in _READS and not path.endswith("/act") and path not in public


def rate_limit_subject(scope: Scope, caller: Caller) -> str:
    """Return the key whose rate limit the request counts against; the client's address if it came without a key."""
    return caller.key or _address(scope)


def raw_headers(status: RateLimitStatus) -> list[tuple[bytes, bytes]]:
    """Encode the security and rate limit headers of a response for ASGI."""
    return _SECURITY + raw(status.headers)


def _address(scope: Scope) -> str:
    return scope["client"][0] if scope.get("client") else "nowhere"


_SECURITY = raw(SECURITY_HEADERS)
