"""The routes that create, read, extend and delete adaptations."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from metalearn.data.asks import Ask
from metalearn.data.context import Context
from service.adaptations.records import Role, Wanted
from service.api.dependencies import AdaptationId, ContainerDep, RequestBodyDep, TenantDep, Version
from service.api.openapi import PROBLEMS, request_body_docs
from service.api.pagination import Cursor, Limit, Order, cursor_of, position_of
from service.api.presenters import adaptation_state, upload_answer
from service.api.request_body import RequestBody
from service.api.schemas.adaptations import (
    AdaptationPage,
    AdaptationRequest,
    AdaptationState,
    AskRequest,
    DemosRequest,
    EpisodeBody,
    TrialsRequest,
    Uploaded,
    to_episodes,
)
from service.api.scopes import requires
from service.container import Container

router = APIRouter(prefix="/v1/adaptations", tags=["adaptations"], responses=PROBLEMS, dependencies=[requires("adapt")])

OfModel = Annotated[str | None, Query(max_length=64, description="Name of the model. Any if absent.")]

Search = Annotated[str, Query(max_length=64, description="Beginning of the id, or a part of the name of the model.")]

WithConfidence = Annotated[
    bool,
    Query(description="False leaves `belief`, `confidence` and what belongs to it null, so that no episode is read."),
]


@router.post("", status_code=201, response_model=Uploaded, openapi_extra=request_body_docs(AdaptationRequest))
def create(request: RequestBodyDep, container: ContainerDep) -> Response:
    """Adapt a model to a task from demonstrations, and from its own trials if there are any.

    It takes milliseconds and no gradient step. Observations and actions have the shapes and units of the model's spec.
    The answer reports on the quality of each episode; `Location` is the path of the adaptation.
    """
    body = request.read(AdaptationRequest)
    # A repeated POST gets the model version of the first one, even if the alias points elsewhere by now.
    done = container.adaptations.completed(request.idempotency_key)
    model = container.registry.resolve(body.model) if done is None else container.adaptations.model(done)
    context = body.to_context(model.spec, model.asks)
    adaptation = container.adaptations.create(request.tenant, model, context, request.idempotency_key)
    container.metrics.episodes.labels("demo").inc(len(context.demos))
    container.metrics.episodes.labels("trial").inc(len(context.trials))
    answer = upload_answer(container, adaptation, model, context, body.rate_hz)
    return request.created(answer, f"/v1/adaptations/{adaptation.id}")


@router.get("", response_model=AdaptationPage)
def read_page(
    request: RequestBodyDep,
    container: ContainerDep,
    limit: Limit = 20,
    cursor: Cursor = None,
    order: Order = "oldest",
    model: OfModel = None,
    search: Search = "",
    confidence: WithConfidence = True,
) -> Response:
    """Read a page of adaptations, oldest first unless another order is asked for.

    A tenant sees its own adaptations only.
    """
    wanted = Wanted(model, search.strip(), order == "newest")
    after = None if cursor is None else position_of(cursor)
    found, more = container.adaptations.page(request.tenant, limit, after, wanted)
    return request.answer(
        AdaptationPage(
            items=[adaptation_state(container, one, confidence=confidence) for one in found],
            next_cursor=None if more is None else cursor_of(more),
        )
    )


@router.get("/{adaptation_id}", response_model=AdaptationState)
def read(
    request: RequestBodyDep, container: ContainerDep, adaptation_id: AdaptationId, version: Version = None
) -> Response:
    """Read an adaptation, in its newest version or an older one, without arrays."""
    return request.answer(
        adaptation_state(container, container.adaptations.read(request.tenant, adaptation_id, version))
    )


@router.delete("/{adaptation_id}", status_code=204, response_class=Response)
def delete(tenant: TenantDep, container: ContainerDep, adaptation_id: AdaptationId) -> Response:
    """Delete an adaptation, its episodes and its recordings.

    Forks of it keep the episodes that they share with it.
    """
    container.delete(tenant, adaptation_id)
    return Response(status_code=204)


@router.post("/{adaptation_id}/demos", response_model=Uploaded, openapi_extra=request_body_docs(DemosRequest))
def add_demos(request: RequestBodyDep, container: ContainerDep, adaptation_id: AdaptationId) -> Response:
    """Add demonstrations, which makes a new version of the adaptation.

    The next action is based on them. Earlier versions stay, and `?version=` reads them.
    """
    body = request.read(DemosRequest)
    return _learn(request, container, adaptation_id, "demo", body.demos, body.rate_hz)


@router.post("/{adaptation_id}/trials", response_model=Uploaded, openapi_extra=request_body_docs(TrialsRequest))
def add_trials(request: RequestBodyDep, container: ContainerDep, adaptation_id: AdaptationId) -> Response:
    """Add scored trials, which makes a new version of the adaptation.

    A trial is an attempt of the policy with its rewards or its outcome. Attempts that the server records become trials
    by themselves.
    """
    body = request.read(TrialsRequest)
    return _learn(request, container, adaptation_id, "trial", body.trials, body.rate_hz)


@router.post("/{adaptation_id}/ask", response_model=AdaptationState, openapi_extra=request_body_docs(AskRequest))
def ask(request: RequestBodyDep, container: ContainerDep, adaptation_id: AdaptationId) -> Response:
    """Ask for something else, which makes a new version of the adaptation with the same episodes.

    `asks` of the model says what can be asked for. Earlier versions ask for what they asked for.
    """
    body = request.read(AskRequest)
    adaptation = container.adaptations.read(request.tenant, adaptation_id)
    wanted = Ask.received(body.ask, container.adaptations.model(adaptation).asks)
    after = container.adaptations.ask(adaptation, wanted, request.idempotency_key)
    return request.answer(adaptation_state(container, after))


def _learn(
    request: RequestBody,
    container: Container,
    adaptation_id: str,
    role: Role,
    bodies: list[EpisodeBody],
    rate_hz: float | None,
) -> Response:
    adaptation = container.adaptations.read(request.tenant, adaptation_id)
    model = container.adaptations.model(adaptation)
    episodes = to_episodes(f"{role}s", bodies, model.spec)
    after = container.adaptations.learn(adaptation, role, episodes, request.idempotency_key)
    container.metrics.episodes.labels(role).inc(len(episodes))
    if role == "trial" and container.drift_watch is not None:
        container.drift_watch.watch(adaptation, *episodes)
    upload = Context(demos=episodes) if role == "demo" else Context(trials=episodes)
    return request.answer(upload_answer(container, after, model, upload, rate_hz))
