"""The routes that list the versions of an adaptation and fork it."""

from fastapi import APIRouter, Response

from service.api.dependencies import AdaptationId, ContainerDep, RequestBodyDep
from service.api.openapi import PROBLEMS, request_body_docs
from service.api.pagination import Cursor, Limit, cursor_of, position_of
from service.api.presenters import adaptation_state, iso
from service.api.schemas.adaptations import AdaptationState, ForkRequest, VersionPage, VersionState
from service.api.scopes import requires

router = APIRouter(
    prefix="/v1/adaptations/{adaptation_id}", tags=["adaptations"], responses=PROBLEMS, dependencies=[requires("adapt")]
)


@router.get("/versions", response_model=VersionPage)
def read_versions(
    request: RequestBodyDep,
    container: ContainerDep,
    adaptation_id: AdaptationId,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Response:
    """Read a page of the versions of an adaptation, oldest first."""
    adaptation = container.adaptations.read(request.tenant, adaptation_id)
    found, more = container.adaptations.versions(adaptation, limit, 0 if cursor is None else position_of(cursor))
    items = [VersionState(**vars(row) | {"created_at": iso(row.created_at)}) for row in found]
    return request.answer(VersionPage(items=items, next_cursor=None if more is None else cursor_of(more)))


@router.post(
    "/fork",
    status_code=201,
    response_model=AdaptationState,
    openapi_extra=request_body_docs(ForkRequest, required=False),
)
def fork(request: RequestBodyDep, container: ContainerDep, adaptation_id: AdaptationId) -> Response:
    """Create an adaptation that starts with the episodes of this one, in any of its versions. Nothing is copied."""
    body = request.read_optional(ForkRequest)
    source = container.adaptations.read(request.tenant, adaptation_id, body.version)
    adaptation = container.adaptations.fork(source, request.idempotency_key)
    return request.created(adaptation_state(container, adaptation), f"/v1/adaptations/{adaptation.id}")
