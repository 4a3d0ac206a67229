"""Parts of the OpenAPI document that FastAPI cannot derive: tags, bodies that routes decode, problems, examples."""

from collections.abc import Iterable
from typing import Any, Literal

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.routing import BaseRoute

from service.api.schemas import adaptations, models, training_jobs
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
    {"name": "models", "description": "Read the available models, register new versions, and point aliases at them."},
    {"name": "training jobs", "description": "Meta-train a model on the server or on its cluster."},
    {"name": "health", "description": "Probe the process, its readiness and its metrics."},
]

_DEMO = {
    "observations": [[0.0, 0.1], [0.1, 0.1], [0.2, 0.1]],
    "actions": [[1.0], [1.0]],
    "rewards": [0.0, 1.0],
    "success": True,
}

_EXAMPLES: dict[str, Any] = {
    "AdaptationRequest": {"model": "reach", "demos": [_DEMO]},
    "DemosRequest": {"demos": [_DEMO]},
    "TrialsRequest": {"trials": [_DEMO | {"success": False}]},
    "RegisterRequest": {"name": "reach"},
    "AliasRequest": {"version": 1},
    "ActRequest": {"observations": [[0.0, 0.1], [0.1, 0.1]]},
    "EpisodeRequest": {"explore": True},
    "StepRequest": {"observation": [0.0, 0.1], "reward": 0.0},
    "FinishRequest": {"observation": [0.2, 0.1], "reward": 1.0, "success": True},
}
"""Example bodies, for a model with two numbers per observation and one per action."""


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
    if schema.__name__ in _EXAMPLES:
        content[JSON]["example"] = _EXAMPLES[schema.__name__]
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
                for schema in (*adaptations.REQUESTS, *models.REQUESTS, *training_jobs.REQUESTS, adaptations.Problem)
            ]
            _, definitions = models_json_schema(inputs, ref_template="#/components/schemas/{model}")
            document["components"]["schemas"] |= definitions["$defs"]
            document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            _describe_responses(document)
            _describe_scopes(document, app.routes)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _describe_scopes(document: dict[str, Any], routes: Iterable[BaseRoute]) -> None:
    """Add the scope that a key needs to each operation, or no security where it is public."""
    for route in all_routes(routes):
        if isinstance(route, APIRoute) and route.include_in_schema:
            scope = scope_of(route)
            for method in route.methods or ():
                document["paths"][route.path_format][method.lower()]["security"] = (
                    [] if scope is None else [{"key": [scope]}, {}]
                )


def _describe_responses(document: dict[str, Any]) -> None:
    """Add msgpack to every JSON response under `/v1`."""
    operations = (item for path, item in document["paths"].items() if path.startswith("/v1/"))
    for response in (r for item in operations for one in item.values() for r in one["responses"].values()):
        content = response.get("content", {})
        if JSON in content:
            content[MSGPACK] = content[JSON]
