"""The probes for orchestrators, and the metrics for Prometheus."""

from fastapi import APIRouter, Request, Response

from service.api.dependencies import ContainerDep
from service.api.openapi import PROBLEMS
from service.api.readiness import Readiness
from service.api.scopes import PUBLIC, requires
from service.errors import NotReady
from service.observability.metrics import MEDIA_TYPE

router = APIRouter(tags=["health"], responses={"503": PROBLEMS["503"]}, dependencies=[PUBLIC])
scraped = APIRouter(tags=["health"], responses={"503": PROBLEMS["503"]}, dependencies=[requires("metrics")])


@router.get("/livez")
async def live() -> dict[str, str]:
    """Return 200 while the process runs, however long the queue of the model is."""
    return {"status": "alive"}


@router.get("/readyz")
def ready(request: Request) -> dict[str, str | dict[str, str]]:
    """Return 200 if the server can serve: the database, the inference thread, the models and the disk are fine.

    `unusable` says which bundles of the models folder are not served, and why.
    """
    readiness: Readiness = request.app.state.readiness
    if problems := readiness.problems():
        raise NotReady(problems)
    return {"status": "ready"} | ({"unusable": dict(readiness.unusable)} if readiness.unusable else {})


@scraped.get("/metrics", response_class=Response)
def metrics(container: ContainerDep) -> Response:
    """Return the metrics in the exposition format of Prometheus."""
    return Response(container.metrics.text(), media_type=MEDIA_TYPE)
