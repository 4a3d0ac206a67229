"""The route that lists what training jobs can train."""

from fastapi import APIRouter, Response

from metalearn.experiments import EXPERIMENTS
from service.api.dependencies import ContainerDep, RequestBodyDep
from service.api.openapi import PROBLEMS
from service.api.pagination import Cursor, Limit, cursor_of, position_of
from service.api.presenters import experiment_state
from service.api.schemas.experiments import ExperimentPage
from service.api.scopes import requires

router = APIRouter(prefix="/v1/experiments", tags=["experiments"], responses=PROBLEMS, dependencies=[requires("jobs")])


@router.get("", response_model=ExperimentPage)
def read_page(request: RequestBodyDep, container: ContainerDep, limit: Limit = 20, cursor: Cursor = None) -> Response:
    """Read a page of the experiments that training jobs can train on this server.

    The page is empty if the server runs no training jobs.
    """
    known = list(EXPERIMENTS.values()) if container.training_jobs.enabled else []
    start = 0 if cursor is None else position_of(cursor)
    end = start + limit
    next_cursor = cursor_of(end) if end < len(known) else None
    return request.answer(
        ExperimentPage(items=[experiment_state(one) for one in known[start:end]], next_cursor=next_cursor)
    )
