"""The route that exports an adaptation, to run it without a server."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from service.adaptations.export import archive
from service.api.dependencies import AdaptationId, ContainerDep, TenantDep, Version
from service.api.openapi import PROBLEMS
from service.api.scopes import requires

ZIP = "application/zip"
router = APIRouter(prefix="/v1/adaptations", tags=["adaptations"], responses=PROBLEMS, dependencies=[requires("adapt")])
_FILE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The archive.", "content": {ZIP: {"schema": {"type": "string", "format": "binary"}}}}
}
WithPolicy = Annotated[bool, Query(description="Include policy.onnx. Any model can be exported without it.")]


@router.get("/{adaptation_id}/export", response_class=Response, responses=_FILE)
def export(
    tenant: TenantDep,
    container: ContainerDep,
    adaptation_id: AdaptationId,
    version: Version = None,
    policy: WithPolicy = True,
) -> Response:
    """Export one version as a zip archive with its episodes and a self-contained ONNX policy.

    Exports of the same version are identical byte for byte.
    """
    adaptation = container.adaptations.read(tenant, adaptation_id, version)
    model = container.adaptations.model(adaptation)
    context = container.repository.context(adaptation.id, adaptation.version)
    content = archive(adaptation, model, context, policy=policy)
    name = f"{adaptation.id}-v{adaptation.version}.zip"
    return Response(content, headers={"Content-Disposition": f'attachment; filename="{name}"'}, media_type=ZIP)
