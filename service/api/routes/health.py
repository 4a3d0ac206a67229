"""The probes for orchestrators, and the metrics for Prometheus."""

from typing import Any

from fastapi import APIRouter, Request, Response

from service.api.dependencies import ContainerDep
from service.api.openapi import PROBLEMS
from service.api.readiness import Readiness
from service.api.schemas.health import Liveness, ReadinessState
from service.api.scopes import PUBLIC, requires
from service.errors import NotReady
from service.observability.metrics import MEDIA_TYPE

router = APIRouter(tags=["health"], responses={"503": PROBLEMS["503"]}, dependencies=[PUBLIC])
_TEXT: dict[int | str, dict[str, Any]] = {
    200: {"description": "The metrics, one per line.", "content": {"text/plain": {"schema": {"type": "string"}}}}
}
scraped = APIRouter(tags=["health"], responses={"503": PROBLEMS["503"]}, dependencies=[requires("metrics")])


@router.get("/livez")
async def live() -> Liveness:
    """Say whether the process runs, however long the queue of the model is.

    For a liveness probe: an orchestrator should restart a server that does not answer.
    """
    return Liveness(status="alive")


@router.get("/readyz")
def ready(request: Request) -> ReadinessState:
    """Say whether the server can serve: the database, the inference thread, the models and the disk are fine.

    For a readiness probe and for load balancers. A server that is shutting down is not ready. The checks run at most
    once per second.
    """
    readiness: Readiness = request.app.state.readiness
    if problems := readiness.problems():
        raise NotReady(problems)
    return ReadinessState(status="ready", unusable=dict(readiness.unusable))


@scraped.get("/metrics", response_class=Response, responses=_TEXT)
def metrics(container: ContainerDep) -> Response:
    """Read the metrics in the text format of Prometheus: requests, stages, batches, models and training jobs."""
    return Response(container.metrics.text(), media_type=MEDIA_TYPE)
