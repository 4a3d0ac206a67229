"""The routes that list the versions of an adaptation and fork it."""

from fastapi import APIRouter, Response

from metalearn.data.asks import Ask
from service.api.dependencies import AdaptationId, ContainerDep, RequestBodyDep
from service.api.openapi import PROBLEMS, request_body_docs
from service.api.pagination import Cursor, Limit, cursor_of, position_of
from service.api.presenters import adaptation_state, iso, origin_of, version_state
from service.api.schemas.adaptations import (
    AdaptationState,
    Family,
    FamilyMember,
    ForkRequest,
    VersionPage,
)
from service.api.scopes import requires

router = APIRouter(
    prefix="/v1/adaptations/{adaptation_id}", tags=["adaptations"], responses=PROBLEMS, dependencies=[requires("adapt")]
)

_MOST_RELATIVES = 200


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
    items = [version_state(row) for row in found]
    return request.answer(VersionPage(items=items, next_cursor=None if more is None else cursor_of(more)))


@router.get("/family", response_model=Family)
def read_family(request: RequestBodyDep, container: ContainerDep, adaptation_id: AdaptationId) -> Response:
    """Read the adaptations that come from the same one by forks, this one included, each with its versions.

    At most 200, oldest first. The way back ends at an origin that was deleted.
    """
    adaptation = container.adaptations.read(request.tenant, adaptation_id)
    items = [
        FamilyMember(
            id=one.id,
            forked_from=origin_of(one),
            created_at=iso(one.created_at),
            versions=[version_state(row) for row in rows],
        )
        for one, rows in container.adaptations.family(adaptation, _MOST_RELATIVES)
    ]
    return request.answer(Family(items=items))


@router.post(
    "/fork",
    status_code=201,
    response_model=AdaptationState,
    openapi_extra=request_body_docs(ForkRequest, required=False),
)
def fork(request: RequestBodyDep, container: ContainerDep, adaptation_id: AdaptationId) -> Response:
    """Create an adaptation that starts with the episodes of this one, in any of its versions. Nothing is copied.

    It asks for the same, or for something else.
    """
    body = request.read_optional(ForkRequest)
    source = container.adaptations.read(request.tenant, adaptation_id, body.version)
    wanted = None if body.ask is None else Ask.received(body.ask, container.adaptations.model(source).asks)
    adaptation = container.adaptations.fork(source, request.idempotency_key, wanted)
    return request.created(adaptation_state(container, adaptation), f"/v1/adaptations/{adaptation.id}")
