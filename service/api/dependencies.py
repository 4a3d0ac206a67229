"""Parameters that routes share, by type, with their descriptions in the OpenAPI document."""

from typing import Annotated

from fastapi import Depends, Path, Query, Request

from service.api.request_body import RequestBody
from service.container import Container
from service.security.caller import Caller


async def _container(request: Request) -> Container:
    return request.app.state.container


ContainerDep = Annotated[Container, Depends(_container)]


async def _tenant(request: Request) -> str:
    caller: Caller = request.state.caller
    return caller.tenant


TenantDep = Annotated[str, Depends(_tenant)]


async def _request_body(request: Request, container: ContainerDep, tenant: TenantDep) -> RequestBody:
    return await RequestBody.receive(request, tenant, container.settings)


RequestBodyDep = Annotated[RequestBody, Depends(_request_body)]

AdaptationId = Annotated[str, Path(description="Id of the adaptation.")]

EpisodeId = Annotated[str, Path(description="Id of the recorded episode.")]

Version = Annotated[
    int | None, Query(ge=1, le=2**31 - 1, description="Version of the adaptation. The newest one if absent.")
]
