"""Every failure as a problem: our own errors, the framework's, and those that nobody expected."""

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
    """Make `app` answer every failure with a problem."""
    app.exception_handler(ServiceError)(_ours)
    app.exception_handler(InvalidData)(_of_data)
    app.exception_handler(RequestValidationError)(_of_parameters)
    app.exception_handler(HTTPException)(_of_framework)
    app.exception_handler(Exception)(_of_nobody)


def _problem(error: ServiceError) -> Response:
    return Response(json.dumps(error.to_json()), error.status, error.headers, PROBLEM)


def _ours(_: Request, error: ServiceError) -> Response:
    return _problem(error)


def _of_data(_: Request, error: InvalidData) -> Response:
    return _problem(InvalidPayload.of(error))


def _of_parameters(_: Request, error: RequestValidationError) -> Response:
    """Queries and paths; bodies never get here."""
    first = error.errors()[0]
    name, expected, got = str(first["loc"][-1]), expectation(first), describe(first["input"])
    return _problem(BadParameter(f"{name}: expected {expected}, got {got}", field=name, expected=expected, got=got))


def _of_framework(request: Request, error: HTTPException) -> Response:
    if error.status_code == HTTPStatus.NO_CONTENT:
        return Response(status_code=error.status_code)
    path = quote(request.url.path)
    if error.status_code == HTTPStatus.NOT_FOUND:
        return _problem(NotFound(f"there is nothing at {path}"))
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        # The framework names the methods of one of the routes at this address.
        allowed = {"Allow": _methods(request)} if _methods(request) else dict(error.headers or {})
        detail = f"{path} does not take {request.method}"
        return _problem(MethodNotAllowed(detail, expected=allowed.get("Allow"), got=request.method, headers=allowed))
    phrase = HTTPStatus(error.status_code).phrase
    content = {"type": "about:blank", "title": phrase, "status": error.status_code, "detail": str(error.detail)}
    return Response(json.dumps(content), error.status_code, dict(error.headers or {}), PROBLEM)


def _methods(request: Request) -> str:
    """What the documented routes at this address take."""
    paths = request.app.openapi()["paths"]
    fitting = [item for path, item in paths.items() if compile_path(path)[0].fullmatch(request.url.path)]
    return ", ".join(sorted({method.upper() for item in fitting for method in item}))


def _of_nobody(request: Request, __: Exception) -> Response:
    """The framework raises the error again after this answer, and the server logs it."""
    # Sent from outside of the middleware that names every other answer.
    named = {**SECURITY_HEADERS, HEADER: request_id_of(request.scope)}
    return _problem(InternalError("something went wrong in the server, and its log says what", headers=named))
