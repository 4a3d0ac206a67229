"""The scope that a key needs for a route: declared on the router, checked before the rest of a request is read.

So are the content type, since what a form of any web page can send is read by no route, and the names in the query. An
application with a route that declares no scope cannot be made.
"""

from collections.abc import Iterable, Iterator
from typing import Literal

from fastapi import Depends
from fastapi.dependencies.models import Dependant
from fastapi.params import Depends as Dependency
from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute, Route

from service.api.validation import describe
from service.codecs import check_content_type
from service.errors import BadParameter, UnsupportedMediaType, shorten
from service.security.caller import Caller, Scope

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class _Requirement:
    """The dependency behind `requires`, `ANY_KEY` and `PUBLIC`."""

    def __init__(self, scope: Scope | Literal["any"] | None) -> None:
        self.scope = scope

    async def __call__(self, connection: HTTPConnection) -> None:
        """Let the request pass to its route. What is public takes any query: links and load balancers add to it.

        Raises:
            Forbidden: the caller lacks the scope.
            BadParameter: the query has a parameter that the route does not know. (A stream reads its own.)
            UnsupportedMediaType: no route reads the body.
        """
        if self.scope is not None and self.scope != "any":
            caller: Caller = connection.state.caller
            caller.check(self.scope)
        if self.scope is not None and connection.scope["type"] == "http":
            _check_query(connection)
        if connection.scope.get("method") in _WITH_BODY:
            _check_content_type(connection.headers)


PUBLIC: Dependency = Depends(_Requirement(None))
"""Declares that a route needs no key."""

ANY_KEY: Dependency = Depends(_Requirement("any"))
"""Declares that a route needs a key, whatever its scopes."""


def requires(scope: Scope) -> Dependency:
    """Declare the scope that a key needs: `APIRouter(dependencies=[requires("adapt")])`."""
    return Depends(_Requirement(scope))


def scope_of(route: BaseRoute) -> Scope | Literal["any"] | None:
    """Return the scope that a route declares, "any" if every key will do, or None if it is public.

    Raises:
        RuntimeError: the route declares no scope or several.
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
    """Yield every route, including those of included routers, which FastAPI keeps nested."""
    for route in routes:
        included = getattr(route, "original_router", None)
        if included is None:
            yield route
        else:
            yield from all_routes(included.routes)


def public_paths(routes: Iterable[BaseRoute]) -> frozenset[str]:
    """Return the paths that need no key.

    Raises:
        RuntimeError: a route declares no scope; or a path is public for one method and not for another, or has
            parameters: such a path is not known before the route is.
    """
    declared = [(getattr(route, "path", ""), scope_of(route)) for route in all_routes(routes)]
    public = {path for path, scope in declared if scope is None}
    for path in public:
        if "{" in path or any(other == path and scope is not None for other, scope in declared):
            raise RuntimeError(f"{path}: a public path has no parameters, and is public for every method")
    return frozenset(public)


def _check_query(connection: HTTPConnection) -> None:
    """Raise BadParameter for a name in the query that the route does not know, or that is there twice.

    The one would be ignored, and is a typo; of the other all values but the last would be.
    """
    if not connection.query_params:
        return
    known = list(_query_names(connection.scope["route"].dependant))
    for name, value in connection.query_params.items():
        field, values = shorten(name), connection.query_params.getlist(name)
        if name not in known:
            expected = f"no parameters but {', '.join(known)}" if known else "no parameters"
            raise BadParameter.of(field, expected, describe(value))
        if len(values) > 1:
            raise BadParameter.of(field, "one value", f"{len(values)} of them")


def _query_names(dependant: Dependant) -> Iterator[str]:
    yield from (parameter.alias for parameter in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _query_names(inner)


def _check_content_type(headers: Headers) -> None:
    """Raise UnsupportedMediaType for every content type that the server does not read, and for a body without one."""
    given = headers.getlist("content-type")
    has_body = headers.get("content-length", "0").strip() != "0" or "transfer-encoding" in headers
    if len(given) > 1:
        raise UnsupportedMediaType("Content-Type: expected one", field="Content-Type", expected="one", got="several")
    if given or has_body:
        check_content_type(given[0] if given else "")
