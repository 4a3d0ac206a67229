"""The routes that upload data sets to train on, list and delete them."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from metalearn.data.dataset import TaskRecord
from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.data.spec import Spec
from service.api.dependencies import ContainerDep, RequestBodyDep, TenantDep
from service.api.openapi import PROBLEMS, request_body_docs
from service.api.pagination import Cursor, Limit, cursor_of, position_of
from service.api.presenters import dataset_state
from service.api.schemas.datasets import DatasetPage, DatasetRequest, DatasetState, TasksRequest
from service.api.scopes import requires
from service.errors import InvalidPayload, quote

router = APIRouter(prefix="/v1/datasets", tags=["datasets"], responses=PROBLEMS, dependencies=[requires("jobs")])

DatasetName = Annotated[
    str, Path(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="Name of the data set, chosen by the client.")
]
PartNumber = Annotated[int, Path(ge=1, le=10_000, description="Number of the part, counted from 1 without gaps.")]


@router.put(
    "/{name}",
    response_model=DatasetState,
    responses={201: {"model": DatasetState, "description": "The data set is new."}},
    openapi_extra=request_body_docs(DatasetRequest),
)
def put(name: DatasetName, request: RequestBodyDep, container: ContainerDep) -> Response:
    """Upload a data set, or replace the one of this name. Training jobs name it as `dataset`.

    Of a data set that is larger than one request may be, this uploads the first tasks; the others are added to it.
    """
    body = request.read(DatasetRequest)
    try:
        spec = Spec.from_json(body.spec)
    except InvalidConfig as error:
        expected, got = "spaces, a horizon and a rate", quote(str(error))
        raise InvalidPayload(f"spec: {error}", field="spec", expected=expected, got=got) from error
    stored, new = container.datasets.put(request.tenant, name, spec, _records(body, spec))
    return request.answer(dataset_state(stored), 201 if new else 200)


@router.put("/{name}/parts/{part}", response_model=DatasetState, openapi_extra=request_body_docs(TasksRequest))
def put_part(name: DatasetName, part: PartNumber, request: RequestBodyDep, container: ContainerDep) -> Response:
    """Add further tasks to a data set, or replace those of this part. The first part is the data set's own."""
    spec = Spec.from_json(container.datasets.read(request.tenant, name).spec)
    tasks = _records(request.read(TasksRequest), spec)
    return request.answer(dataset_state(container.datasets.put_part(request.tenant, name, part, tasks)))


@router.get("", response_model=DatasetPage)
def read_page(request: RequestBodyDep, container: ContainerDep, limit: Limit = 20, cursor: Cursor = None) -> Response:
    """Read a page of uploaded data sets, oldest first."""
    found, more = container.datasets.page(request.tenant, limit, 0 if cursor is None else position_of(cursor))
    next_cursor = None if more is None else cursor_of(more)
    return request.answer(DatasetPage(items=[dataset_state(one) for one in found], next_cursor=next_cursor))


@router.get("/{name}", response_model=DatasetState)
def read(name: DatasetName, request: RequestBodyDep, container: ContainerDep) -> Response:
    """Read what is known of a data set, without its episodes."""
    return request.answer(dataset_state(container.datasets.read(request.tenant, name)))


@router.delete("/{name}", status_code=204)
def delete(name: DatasetName, container: ContainerDep, tenant: TenantDep) -> None:
    """Delete a data set. Jobs that have started keep their copy of it."""
    container.datasets.delete(tenant, name)


def _records(body: TasksRequest, spec: Spec) -> list[TaskRecord]:
    records = []
    for i, task in enumerate(body.tasks):
        try:
            records.append(task.to_record(spec))
        except InvalidData as error:
            raise InvalidPayload.of(error.within(f"tasks[{i}]")) from error
    return records
