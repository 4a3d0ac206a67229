"""For orchestrators and Prometheus."""

from fastapi import APIRouter, Response

from service.errors import Busy
from service.metrics import MEDIA_TYPE
from service.routes.parameters import ServiceDep

router = APIRouter(tags=["health"])


@router.get("/livez")
async def live() -> dict[str, str]:
    """The process answers. On the event loop, so that no queue in front of the model can hide it."""
    return {"status": "alive"}


@router.get("/readyz")
def ready(service: ServiceDep) -> dict[str, str]:
    """Models are loaded, the database answers and the inference thread runs."""
    try:
        service.check()
    except Exception as error:
        raise Busy("the server is not ready") from error
    return {"status": "ready"}


@router.get("/metrics", response_class=Response)
def metrics(service: ServiceDep) -> Response:
    """What Prometheus scrapes."""
    return Response(service.metrics.text(), media_type=MEDIA_TYPE)
