"""Parts of the OpenAPI document that FastAPI cannot derive: tags, summaries, bodies that routes decode, problems.

The examples are in `api.examples`, since they depend on the models that are served.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.routing import BaseRoute

from service.api.examples import fill, shipped_examples
from service.api.schemas import adaptations, datasets, models, recognitions, training_jobs
from service.api.schemas.adaptations import Body
from service.api.scopes import all_routes, scope_of
from service.codecs import JSON, MSGPACK, UPLOADS

PROBLEM = "application/problem+json"

_REF = "#/components/schemas/"

_PROBLEM_BODY = {PROBLEM: {"schema": {"$ref": _REF + "Problem"}}}

PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "The request was refused. The body says why.", "content": _PROBLEM_BODY},
    "503": {"description": "The server is busy or not ready. Repeat the request later.", "content": _PROBLEM_BODY},
}

TAGS = [
    {"name": "adaptations", "description": "Adapt a model to a task with demonstrations and trials, and act with it."},
    {"name": "episodes", "description": "Let the server record an episode while it acts, and keep it as a trial."},
    {"name": "recognitions", "description": "Tell from episodes which agent acted in them."},
    {"name": "models", "description": "Read the available models, register new versions, and point aliases at them."},
    {"name": "experiments", "description": "Read which experiments the server can train, with their sizes."},
    {"name": "datasets", "description": "Upload episodes to train on."},
    {"name": "training jobs", "description": "Meta-train a model on the server or on its cluster."},
    {"name": "keys", "description": "Read whom a key belongs to, the keys of a tenant, and its audit log."},
    {"name": "health", "description": "Probe the process, its readiness and its metrics."},
]

_SECURITY = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key, as `wtl keys create` prints it. On loopback none is needed until the first is made.",
}

_SENTENCE = re.compile(r"(.+?[.])(?:\s|$)", re.DOTALL)

_EVENT_FIELDS = {
    "data": "The event as JSON: `at`, the time in ISO 8601, and the fields of its kind.",
    "event": "Kind of the event: `state` or `progress`.",
    "id": "Number of the event, from 1; the client sends the last one as Last-Event-ID when it reconnects.",
    "retry": "Time in milliseconds until the client should reconnect. Not sent.",
}
_EVENTS = "text/event-stream"
_DERIVED = "Successful Response"
"""What FastAPI says of a response that says nothing."""
_NO_BODY = "It is done, and the answer has no body."


def operation_id(route: APIRoute) -> str:
    """Name an operation for generated clients, as in `adaptations_create` or `episodes_act`."""
    tag = "".join(f"{tag}_" for tag in route.tags[:1])
    return f"{tag.replace(' ', '_').replace('-', '_')}{route.name}"


_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Key of this request, chosen by the client. A repeated request with the same key has no new effect.",
    "schema": {"type": "string"},
}


def request_body_docs(schema: type[Body] | None, *, required: bool = True) -> dict[str, Any]:
    """Describe a body that the route decodes itself, off the event loop; None: the route has no body."""
    if schema is None:
        return {"parameters": [_KEY]}
    content: dict[str, Any] = {kind: {"schema": {"$ref": _REF + schema.__name__}} for kind in (JSON, MSGPACK)}
    if "demos" in schema.model_fields or "trials" in schema.model_fields:
        binary = {"type": "string", "format": "binary", "description": f"{schema.__name__} as named arrays."}
        content |= {kind: {"schema": binary} for kind in UPLOADS}
    return {"requestBody": {"required": required, "content": content}, "parameters": [_KEY]}


def describe(app: FastAPI) -> None:
    """Add the schemas of request bodies, msgpack responses and scopes to the OpenAPI document of `app`."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            inputs: list[tuple[type[BaseModel], Literal["validation"]]] = [
                (schema, "validation")
                for schema in (
                    *adaptations.REQUESTS,
                    *models.REQUESTS,
                    *recognitions.REQUESTS,
                    *datasets.REQUESTS,
                    *training_jobs.REQUESTS,
                    adaptations.Problem,
                )
            ]
            _, definitions = models_json_schema(inputs, ref_template="#/components/schemas/{model}")
            document["components"]["schemas"] |= definitions["$defs"]
            document["components"]["securitySchemes"] = {"key": _SECURITY}
            _describe_operations(document)
            _describe_responses(document)
            _describe_scopes(document, app.routes)
            app.openapi_schema = fill(document, shipped_examples())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _describe_scopes(document: dict[str, Any], routes: Iterable[BaseRoute]) -> None:
    """Add the scope that a key needs to each operation, or no security where it is public."""
    for route in all_routes(routes):
        if isinstance(route, APIRoute) and route.include_in_schema:
            scope = scope_of(route)
            for method in route.methods or ():
                document["paths"][route.path_format][method.lower()]["security"] = (
                    [] if scope is None else [{"key": [] if scope == "any" else [scope]}, {}]
                )


def _describe_operations(document: dict[str, Any]) -> None:
    """Make the first sentence of each description the summary, and say what a response without a text is."""
    for operation in _operations(document):
        operation["summary"] = _first_sentence(operation.get("description", operation["summary"]))
        if body := operation.get("requestBody"):
            body["description"] = _first_sentence(_described(document, body))
        for status, response in operation["responses"].items():
            if response["description"] == _DERIVED:
                response["description"] = _first_sentence(
                    _NO_BODY if status == "204" else _described(document, response)
                )


def _describe_responses(document: dict[str, Any]) -> None:
    """Add msgpack to every JSON response under `/v1`, and describe the fields of server-sent events."""
    for operation in _operations(document, "/v1/"):
        for response in operation["responses"].values():
            content = response.get("content", {})
            if JSON in content:
                content[MSGPACK] = content[JSON]
            for name, field in content.get(_EVENTS, {}).get("itemSchema", {}).get("properties", {}).items():
                field["description"] = _EVENT_FIELDS[name]


def _operations(document: dict[str, Any], prefix: str = "/") -> Iterator[dict[str, Any]]:
    for path, item in document["paths"].items():
        if path.startswith(prefix):
            yield from item.values()


def _described(document: dict[str, Any], part: dict[str, Any]) -> str:
    """Return the description of the schema that the JSON of a body or a response refers to; empty if it has none."""
    reference = part.get("content", {}).get(JSON, {}).get("schema", {}).get("$ref", "")
    schema = document["components"]["schemas"].get(reference.rpartition("/")[2], {})
    return str(schema.get("description", ""))


def _first_sentence(text: str) -> str:
    found = _SENTENCE.match(text)
    return " ".join((found[1] if found else text).split())
