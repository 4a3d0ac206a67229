"""In front of every route: who is asking and how often; afterwards the audit log and security headers.

Every path needs a key but those that are declared public, unknown ones included. What a key must allow for a route is
checked by the route (`api.scopes`).
"""

import json
from collections.abc import Callable, Mapping

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.middleware.access_log import request_id_of
from service.container import Container
from service.errors import Forbidden, ServiceError, Unauthenticated
from service.security.audit_log import Entry
from service.security.caller import Caller
from service.security.rate_limits import RateLimitStatus

_PAGES = frozenset({"/docs", "/docs/oauth2-redirect"})
_CDN = "https://cdn.jsdelivr.net"
SECURITY_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
_PAGE_POLICY = (
    f"default-src 'none'; connect-src 'self'; script-src 'unsafe-inline' {_CDN}; style-src {_CDN} 'unsafe-inline'; "
    "img-src 'self' data: https://fastapi.tiangolo.com; frame-ancestors 'none'"
)
RATE_LIMIT_STATUS = "wtl.standing"
"""Where a scope says that the request was counted already."""
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_log = structlog.get_logger("service")


class AuthMiddleware:
    """ASGI middleware. What it finds out is `state.caller`, `state.tenant`, and as `state.rate_limit_subject` whose
    rate counts, of the request.
    """

    def __init__(self, app: ASGIApp, now: Callable[[], float]) -> None:
        self._app, self._now = app, now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request in, or refuse it."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        container: Container = scope["app"].state.container
        headers = dict(SECURITY_HEADERS)
        if scope["path"] in _PAGES:
            headers["Content-Security-Policy"] = _PAGE_POLICY
        answer = _Answer(self, container, scope, send, headers)
        try:
            if scope["path"] not in scope["app"].state.public_paths:
                await self._admit(container, scope, headers)
        except ServiceError as error:
            await answer.refuse(receive, error)
            return
        try:
            await self._app(scope, receive, answer.send)
        except Exception:
            await answer.note("500")
            raise

    async def _admit(self, container: Container, scope: Scope, headers: dict[str, str]) -> None:
        """Raises Unauthenticated, TooManyRequests."""
        given = Headers(scope=scope).get("authorization")
        try:
            caller = container.authenticator.cached_caller(given)
            if caller is None:
                caller = await run_in_threadpool(container.authenticator.authenticate, given)
        except Unauthenticated:
            container.rate_limiter.deny(_address(scope))
            raise
        subject = rate_limit_subject(scope, caller)
        scope.setdefault("state", {}).update(caller=caller, tenant=caller.tenant, rate_limit_subject=subject)
        headers.update((scope.get(RATE_LIMIT_STATUS) or container.rate_limiter.count(subject)).headers)

    def entry(self, scope: Scope, outcome: str) -> Entry:
        """The line about this request in the audit log."""
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


class _Answer:
    """Sends the answer on, with headers, after the audit log has its line."""

    def __init__(
        self, guard: AuthMiddleware, container: Container, scope: Scope, send: Send, headers: Mapping[str, str]
    ) -> None:
        self._guard, self._container, self._scope, self._send, self._headers = guard, container, scope, send, headers

    async def send(self, message: Message) -> None:
        if message["type"] in {"http.response.start", "websocket.http.response.start"}:
            raw = message["headers"] = list(message.get("headers", ()))
            known = {name for name, _ in raw}
            raw += [(name, value) for name, value in _raw(self._headers) if name not in known]
            if self._is_change or message["status"] == Forbidden.status:
                await self.note(str(message["status"]))
        elif message["type"] == "websocket.accept":
            await self.note("101")
        await self._send(message)

    async def note(self, outcome: str) -> None:
        """Write the line. That it cannot be written undoes nothing, so it is no reason to refuse."""
        try:
            await run_in_threadpool(self._container.audit_log.add, self._guard.entry(self._scope, outcome))
        except Exception as error:
            _log.error("a line of the audit log is lost", error=repr(error))

    async def refuse(self, receive: Receive, error: ServiceError) -> None:
        """Answer with a problem, before anything of the body was read."""
        headers = {**self._headers, **error.headers, "Content-Type": "application/problem+json"}
        if error.status in {Unauthenticated.status, Forbidden.status}:
            await self.note(str(error.status))
        kind = "http.response"
        if self._scope["type"] == "websocket":
            await receive()
            if "websocket.http.response" not in self._scope.get("extensions", {}):
                await self._send({"type": "websocket.close", "code": 1008, "reason": error.title})
                return
            kind = "websocket.http.response"
        await self._send({"type": f"{kind}.start", "status": error.status, "headers": _raw(headers)})
        await self._send({"type": f"{kind}.body", "body": json.dumps(error.to_json()).encode()})

    @property
    def _is_change(self) -> bool:
        """Everything but reading and acting; acting is too often for a log that is kept."""
        method = self._scope.get("method", "GET")
        return method not in _READS and not self._scope["path"].endswith("/act")


def rate_limit_subject(scope: Scope, caller: Caller) -> str:
    """Whose rate a request counts against: a key's, or an address's where nobody needs one."""
    return caller.key or _address(scope)


def raw_headers(standing: RateLimitStatus) -> list[tuple[bytes, bytes]]:
    """The headers of an answer about data, as the server takes them."""
    return _SECURITY + _raw(standing.headers)


def _address(scope: Scope) -> str:
    return scope["client"][0] if scope.get("client") else "nowhere"


def _raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


_SECURITY = _raw(SECURITY_HEADERS)
