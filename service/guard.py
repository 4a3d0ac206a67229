"""In front of every route: who asks."""

from starlette.types import ASGIApp, Receive, Scope, Send

from service.auth import ANYBODY


class Guard:
    """ASGI middleware that says who asks, as `state.caller`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request in."""
        if scope["type"] in {"http", "websocket"}:
            scope.setdefault("state", {}).update(caller=ANYBODY, tenant=ANYBODY.tenant)
        await self._app(scope, receive, send)
