"""For orchestrators and Prometheus."""

from fastapi import APIRouter, Request, Response

from service.api.dependencies import ContainerDep
from service.api.openapi import PROBLEMS
from service.api.scopes import PUBLIC, requires
from service.errors import NotReady
from service.observability.metrics import MEDIA_TYPE

router = APIRouter(tags=["health"], responses={"503": PROBLEMS["503"]}, dependencies=[PUBLIC])
scraped = APIRouter(tags=["health"], responses={"503": PROBLEMS["503"]}, dependencies=[requires("metrics")])


@router.get("/livez")
async def live() -> dict[str, str]:
    """The process answers. On the event loop, so that no queue in front of the model can hide it."""
    return {"status": "alive"}


@router.get("/readyz")
def ready(request: Request) -> dict[str, str]:
    """It can serve: the database takes writes, a model is loaded and its thread runs, the disk has room."""
    problems = request.app.state.readiness.problems()
    if problems:
        raise NotReady(problems)
    return {"status": "ready"}


@scraped.get("/metrics", response_class=Response)
def metrics(container: ContainerDep) -> Response:
    """What Prometheus scrapes."""
    return Response(container.metrics.text(), media_type=MEDIA_TYPE)
