"""What a key must allow for a route: declared on its router, checked before anything else of a request is read.

A route that declares nothing is a mistake of ours, and no application is made with it.
"""

from collections.abc import Iterable, Iterator

from fastapi import Depends
from fastapi.params import Depends as Dependency
from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute, Route

from service.security.caller import Caller, Scope


class _Requirement:
    """The dependency behind `requires` and `PUBLIC`."""

    def __init__(self, scope: Scope | None) -> None:
        self.scope = scope

    async def __call__(self, connection: HTTPConnection) -> None:
        """Raise Forbidden unless the caller has the scope."""
        if self.scope is not None:
            caller: Caller = connection.state.caller
            caller.check(self.scope)


PUBLIC: Dependency = Depends(_Requirement(None))
"""Declares that nobody needs a key."""


def requires(scope: Scope) -> Dependency:
    """Declares what a key must allow: `APIRouter(dependencies=[requires("adapt")])`."""
    return Depends(_Requirement(scope))


def scope_of(route: BaseRoute) -> Scope | None:
    """The scope that a route declares; None: it is public.

    Raises:
        RuntimeError: it declares none, or several.
    """
    if isinstance(route, APIRoute | APIWebSocketRoute):
        declared = [d.dependency for d in route.dependencies if isinstance(d.dependency, _Requirement)]
        if len(declared) == 1:
            return declared[0].scope
        raise RuntimeError(f"{route.path}: its router declares {len(declared)} scopes, and needs one")
    if isinstance(route, Route):  # the framework's own: the OpenAPI document and its pages
        return None
    raise RuntimeError(f"{getattr(route, 'path', route)!r} declares no scope")


def all_routes(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    """Every route, those of included routers too, which FastAPI keeps as they are."""
    for route in routes:
        included = getattr(route, "original_router", None)
        if included is None:
            yield route
        else:
            yield from all_routes(included.routes)


def public_paths(routes: Iterable[BaseRoute]) -> frozenset[str]:
    """The paths that need no key. Raises RuntimeError: some route declares no scope."""
    scopes = {getattr(route, "path", ""): scope_of(route) for route in all_routes(routes)}
    return frozenset(path for path, scope in scopes.items() if scope is None)
