"""What routes ask for by type, and how they describe themselves in the OpenAPI document."""

from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request

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


def takes(schema: type[Body], *, required: bool = True) -> dict[str, Any]:
    """The OpenAPI description of a body, which routes decode themselves and off the event loop."""
    content: dict[str, Any] = {kind: {"schema": {"$ref": _REF + schema.__name__}} for kind in (JSON, MSGPACK)}
    if "demos" in schema.model_fields or "trials" in schema.model_fields:
        binary = {"type": "string", "format": "binary", "description": f"{schema.__name__} as named arrays"}
        content |= {kind: {"schema": binary} for kind in (NPZ, SAFETENSORS)}
    key = {"name": "Idempotency-Key", "in": "header", "required": False, "schema": {"type": "string"}}
    return {"requestBody": {"required": required, "content": content}, "parameters": [key]}
