"""What an adaptation was before, and going on from there in another direction."""

from fastapi import APIRouter, Response

from service.api.dependencies import AdaptationId, ServiceDep, WireDep
from service.api.openapi import PROBLEMS, takes
from service.api.pagination import Cursor, Limit, cursor_of, position_of
from service.api.presenters import adaptation_state, iso
from service.api.schemas.adaptations import AdaptationState, ForkRequest, VersionPage, VersionState

router = APIRouter(prefix="/v1/adaptations/{adaptation_id}", tags=["adaptations"], responses=PROBLEMS)


@router.get("/versions", response_model=VersionPage)
def read_versions(
    wire: WireDep, service: ServiceDep, adaptation_id: AdaptationId, limit: Limit = 20, cursor: Cursor = None
) -> Response:
    """A page of an adaptation's versions, oldest first."""
    adaptation = service.sessions.read(wire.tenant, adaptation_id)
    found, more = service.sessions.versions(adaptation, limit, 0 if cursor is None else position_of(cursor))
    items = [VersionState(**vars(row) | {"created_at": iso(row.created_at)}) for row in found]
    return wire.answer(VersionPage(items=items, next_cursor=None if more is None else cursor_of(more)))


@router.post("/fork", status_code=201, response_model=AdaptationState, openapi_extra=takes(ForkRequest, required=False))
def fork(wire: WireDep, service: ServiceDep, adaptation_id: AdaptationId) -> Response:
    """A new adaptation that begins with what this one has seen, or had in an older version; nothing is copied."""
    body = wire.read_optional(ForkRequest)
    source = service.sessions.read(wire.tenant, adaptation_id, body.version)
    adaptation = service.sessions.fork(source, wire.post)
    return wire.answer(adaptation_state(service, adaptation), 201, {"Location": f"/v1/adaptations/{adaptation.id}"})
