"""What routes ask for by type, and how they describe themselves in the OpenAPI document."""

from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request
from fastapi.routing import APIRoute

from service.auth import Caller
from service.codecs import JSON, MSGPACK, NPZ, SAFETENSORS
from service.schemas import Body
from service.state import Service
from service.wire import Wire

PROBLEM = "application/problem+json"


async def _service(request: Request) -> Service:
    return request.app.state.service


ServiceDep = Annotated[Service, Depends(_service)]


async def _tenant(request: Request) -> str:
    caller: Caller = request.state.caller
    return caller.tenant


TenantDep = Annotated[str, Depends(_tenant)]


async def _wire(request: Request, service: ServiceDep, tenant: TenantDep) -> Wire:
    return await Wire.receive(request, tenant, service.settings)


WireDep = Annotated[Wire, Depends(_wire)]
AdaptationId = Annotated[str, Path(description="of the adaptation")]
EpisodeId = Annotated[str, Path(description="of the recorded episode")]
Version = Annotated[int | None, Query(ge=1, le=2**31 - 1, description="of the adaptation; the newest if absent")]
Limit = Annotated[int, Query(ge=1, le=100, description="items on a page")]
Cursor = Annotated[str | None, Query(max_length=100, description="`next_cursor` of the page before")]

_REF = "#/components/schemas/"
PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "A problem", "content": {PROBLEM: {"schema": {"$ref": _REF + "Problem"}}}},
    "503": {"description": "Busy", "content": {PROBLEM: {"schema": {"$ref": _REF + "Problem"}}}},
}

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
"""Of bodies, for a model whose observations are two numbers and whose actions are one."""


def operation_id(route: APIRoute) -> str:
    """What generated clients call an operation: `adaptations_create`, `episodes_act`."""
    tag = "".join(f"{tag}_" for tag in route.tags[:1])
    return f"{tag.replace(' ', '_').replace('-', '_')}{route.name}"


_KEY = {"name": "Idempotency-Key", "in": "header", "required": False, "schema": {"type": "string"}}


def takes(schema: type[Body] | None, *, required: bool = True) -> dict[str, Any]:
    """The OpenAPI description of a body, which routes decode themselves and off the event loop; None: there is none."""
    if schema is None:
        return {"parameters": [_KEY]}
    content: dict[str, Any] = {kind: {"schema": {"$ref": _REF + schema.__name__}} for kind in (JSON, MSGPACK)}
    if schema.__name__ in _EXAMPLES:
        content[JSON]["example"] = _EXAMPLES[schema.__name__]
    if "demos" in schema.model_fields or "trials" in schema.model_fields:
        binary = {"type": "string", "format": "binary", "description": f"{schema.__name__} as named arrays"}
        content |= {kind: {"schema": binary} for kind in (NPZ, SAFETENSORS)}
    return {"requestBody": {"required": required, "content": content}, "parameters": [_KEY]}
