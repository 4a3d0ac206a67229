"""What routes ask for by type, and how they describe themselves in the OpenAPI document."""

from typing import Annotated

from fastapi import Depends, Path, Query, Request

from service.api.request_body import Wire
from service.container import Service
from service.security.caller import Caller


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
