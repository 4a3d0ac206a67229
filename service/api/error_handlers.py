"""Conversion of every error to a problem: those of the service, those of the framework, and unexpected ones."""

import json
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from metalearn.data.errors import InvalidData
from service.api.middleware.access_log import HEADER, request_id_of
from service.api.middleware.auth import SECURITY_HEADERS
from service.api.openapi import PROBLEM
from service.api.validation import describe, expectation
from service.errors import (
    BadParameter,
    InternalError,
    InvalidPayload,
    MethodNotAllowed,
    NotFound,
    ServiceError,
    quote,
)


def install(app: FastAPI) -> None:
    """Make `app` respond to every error with a problem."""
    app.exception_handler(ServiceError)(_from_service_error)
    app.exception_handler(InvalidData)(_from_invalid_data)
    app.exception_handler(RequestValidationError)(_from_invalid_parameter)
    app.exception_handler(HTTPException)(_from_framework)
    app.exception_handler(Exception)(_from_unexpected)


def _problem(error: ServiceError) -> Response:
    return Response(json.dumps(error.to_json()), error.status, error.headers, PROBLEM)


def _from_service_error(_: Request, error: ServiceError) -> Response:
    return _problem(error)


def _from_invalid_data(_: Request, error: InvalidData) -> Response:
    return _problem(InvalidPayload.of(error))


def _from_invalid_parameter(_: Request, error: RequestValidationError) -> Response:
    """Convert an error in a query, path or header. Routes decode bodies themselves, so their errors never get here."""
    first = error.errors()[0]
    name, expected, got = str(first["loc"][-1]), expectation(first), describe(first["input"])
    return _problem(BadParameter.of(name, expected, got))


def _from_framework(request: Request, error: HTTPException) -> Response:
    if error.status_code == HTTPStatus.NO_CONTENT:
        return Response(status_code=error.status_code)
    path = quote(request.url.path)
    if error.status_code == HTTPStatus.NOT_FOUND:
        return _problem(NotFound(f"there is nothing at {path}"))
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        # The framework only names the methods of the first route with this path.
        allowed = {"Allow": _methods(request)} if _methods(request) else dict(error.headers or {})
        detail = f"{path} does not take {request.method}"
        return _problem(MethodNotAllowed(detail, expected=allowed.get("Allow"), got=request.method, headers=allowed))
    phrase = HTTPStatus(error.status_code).phrase
    content = {"type": "about:blank", "title": phrase, "status": error.status_code, "detail": str(error.detail)}
    return Response(json.dumps(content), error.status_code, dict(error.headers or {}), PROBLEM)


def _methods(request: Request) -> str:
    """Return the methods of the documented routes with the path of the request."""
    paths = request.app.openapi()["paths"]
    fitting = [item for path, item in paths.items() if compile_path(path)[0].fullmatch(request.url.path)]
    methods = {method.upper() for item in fitting for method in item}
    return ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))


def _from_unexpected(request: Request, __: Exception) -> Response:
    """Hide the error from the client. The framework raises it again after the response, and the server logs it."""
    # This response is sent outside of the middleware that adds these headers to all others.
    headers = {**SECURITY_HEADERS, HEADER: request_id_of(request.scope)}
    return _problem(InternalError("something went wrong in the server, and its log says what", headers=headers))
