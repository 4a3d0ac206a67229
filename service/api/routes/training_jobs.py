"""The routes that start, read, follow and stop training jobs. Events are server-sent, and replayed on reconnection."""

from collections.abc import AsyncIterator
from typing import Annotated

import anyio
from fastapi import APIRouter, Depends, Header, HTTPException, Path, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import EventSourceResponse, ServerSentEvent

from service.api.dependencies import ContainerDep, RequestBodyDep, TenantDep
from service.api.openapi import PROBLEMS, request_body_docs
from service.api.pagination import Cursor, Limit, Order, cursor_of, position_of
from service.api.presenters import iso, training_job_state
from service.api.schemas.training_jobs import (
    TrainingJobPage,
    TrainingJobRequest,
    TrainingJobState,
    TrainingLog,
)
from service.api.scopes import requires
from service.errors import InvalidPayload
from service.training_jobs import Job, JobRequest
from service.training_jobs.admission import check_enough_tasks, check_family, check_settings

router = APIRouter(
    prefix="/v1/training-jobs", tags=["training jobs"], responses=PROBLEMS, dependencies=[requires("jobs")]
)

JobId = Annotated[str, Path(description="Id of the training job.")]

Seen = Annotated[
    int, Header(alias="Last-Event-ID", ge=0, le=2**53, description="Number of the last event that the client has seen.")
]

_PAUSE_S = 0.5


@router.post("", status_code=201, response_model=TrainingJobState, openapi_extra=request_body_docs(TrainingJobRequest))
def create(request: RequestBodyDep, container: ContainerDep) -> Response:
    """Queue a training job. A repeated request with the same `id` or Idempotency-Key returns the same job.

    `GET /v1/experiments` lists what can be trained. The bundle of a job that succeeds becomes the next version of its
    model. `Location` is the path of the job.
    """
    body = request.read(TrainingJobRequest)
    name = body.name or (body.dataset if body.experiment is None and body.family is None else None)
    job_request = JobRequest(
        body.experiment or "", body.seed, body.steps, name, body.id, body.dataset, body.family, body.minutes,
        body.settings,
    )  # fmt: skip
    _check(request.tenant, job_request, container)
    job, _ = container.training_jobs.create(request.tenant, job_request, request.idempotency_key)
    return request.created(training_job_state(job), f"/v1/training-jobs/{job.id}")


def _check(tenant: str, job: JobRequest, container: ContainerDep) -> None:
    """Raise unless the request says what to train, and the client may train it."""
    if not (job.experiment or job.dataset or job.family):
        expected = "an experiment, a data set or a family"
        raise InvalidPayload(f"expected {expected}, got none", field="experiment", expected=expected, got="nothing")
    check_settings(job, container.settings.family_modules)
    if job.family is not None:
        check_family(job.family, container.settings.family_modules)
    if job.dataset is not None:
        check_enough_tasks(container.datasets.read(tenant, job.dataset))


@router.get("", response_model=TrainingJobPage)
def read_page(
    request: RequestBodyDep,
    container: ContainerDep,
    limit: Limit = 20,
    cursor: Cursor = None,
    order: Order = "oldest",
) -> Response:
    """Read a page of training jobs, oldest first unless another order is asked for."""
    after = None if cursor is None else position_of(cursor)
    found, more = container.training_jobs.page(request.tenant, limit, after, newest_first=order == "newest")
    next_cursor = None if more is None else cursor_of(more)
    return request.answer(TrainingJobPage(items=[training_job_state(job) for job in found], next_cursor=next_cursor))


def _job(container: ContainerDep, tenant: TenantDep, job_id: JobId) -> Job:
    return container.training_jobs.read(tenant, job_id)


JobDep = Annotated[Job, Depends(_job)]


@router.get("/{job_id}", response_model=TrainingJobState)
def read(request: RequestBodyDep, job: JobDep) -> Response:
    """Read a training job, its progress and its result.

    Poll it, or follow its events.
    """
    return request.answer(training_job_state(job))


@router.delete("/{job_id}", response_model=TrainingJobState)
def stop(request: RequestBodyDep, container: ContainerDep, job: JobDep) -> Response:
    """Stop a training job. It keeps a checkpoint and makes no model. A job that has ended stays as it is."""
    return request.answer(training_job_state(container.training_jobs.stop(job.tenant, job.id)))


@router.get("/{job_id}/logs", response_model=TrainingLog)
def read_log(request: RequestBodyDep, container: ContainerDep, job: JobDep) -> Response:
    """Read the end of the log of a training job.

    The text is empty before the job has started.
    """
    return request.answer(TrainingLog(text=container.training_jobs.log(job)))


def _check_unseen(container: ContainerDep, job: JobDep, seen: Seen = 0) -> None:
    """Answer 204 if no event is left, which tells clients of server-sent events not to reconnect."""
    if not job.active and not container.training_jobs.events(job, seen):
        raise HTTPException(204)


async def _limit_streams(container: ContainerDep, tenant: TenantDep) -> AsyncIterator[None]:
    with container.stream_limiter.opened(tenant):
        yield


@router.get(
    "/{job_id}/events",
    response_class=EventSourceResponse,
    dependencies=[Depends(_check_unseen), Depends(_limit_streams)],
    response_description="The events, each as soon as it happens.",
    responses={204: {"description": "The job has ended and the client has seen all of its events."}},
)
async def follow(container: ContainerDep, job: JobDep, seen: Seen = 0) -> AsyncIterator[ServerSentEvent]:
    """Stream the events of a job, from its start or after `Last-Event-ID`, until it ends.

    A `state` event has the state and, at the end, `error` or `model` and `model_version`. A `progress` event has the
    phase, the steps done and in total, the estimated seconds to the end, the loss, and the success rates on held-out
    tasks after 0, 1, 2, ... trials if they were measured.
    """
    while True:
        events = await run_in_threadpool(container.training_jobs.events, job, seen)
        for event in events:
            seen = event.number
            yield ServerSentEvent(data={"at": iso(event.at), **event.data}, event=event.kind, id=str(seen))
            if event.kind == "state" and event.data["state"] not in {"queued", "running"}:
                return
        if container.draining.is_set():
            return  # the client reconnects with the number of the last event, to this server or to another one
        if not events:
            if not (await run_in_threadpool(container.training_jobs.read, job.tenant, job.id)).active:
                if not await run_in_threadpool(container.training_jobs.events, job, seen):
                    return
            else:
                await anyio.sleep(_PAUSE_S)
