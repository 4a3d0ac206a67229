"""Watch, learn, act, forget."""

from fastapi import APIRouter, Response

from metalearn.data.context import Context
from service.adaptations.records import Role
from service.api.dependencies import AdaptationId, ServiceDep, TenantDep, Version, WireDep
from service.api.openapi import PROBLEMS, takes
from service.api.pagination import Cursor, Limit, cursor_of, position_of
from service.api.presenters import adaptation_state, upload_answer
from service.api.request_body import Wire
from service.api.schemas.adaptations import (
    AdaptationPage,
    AdaptationRequest,
    AdaptationState,
    DemosRequest,
    EpisodeBody,
    TrialsRequest,
    Uploaded,
    to_episodes,
)
from service.container import Service

router = APIRouter(prefix="/v1/adaptations", tags=["adaptations"], responses=PROBLEMS)


@router.post("", status_code=201, response_model=Uploaded, openapi_extra=takes(AdaptationRequest))
def create(wire: WireDep, service: ServiceDep) -> Response:
    """Watch: adapt a model to a task from demonstrations, and from its own trials if there are any."""
    body = wire.read(AdaptationRequest)
    # The same POST again is about the model that it was about, whatever an alias means by now.
    done = service.sessions.answered(wire.post)
    model = service.registry.resolve(body.model) if done is None else service.sessions.model(done)
    context = body.to_context(model.spec)
    adaptation = service.sessions.create(wire.tenant, model, context, wire.post)
    service.metrics.episodes.labels("demo").inc(len(context.demos))
    service.metrics.episodes.labels("trial").inc(len(context.trials))
    answer = upload_answer(service, adaptation, model, context, body.rate_hz)
    return wire.answer(answer, 201, {"Location": f"/v1/adaptations/{adaptation.id}"})


@router.get("", response_model=AdaptationPage)
def read_page(wire: WireDep, service: ServiceDep, limit: Limit = 20, cursor: Cursor = None) -> Response:
    """A page of adaptations, oldest first."""
    found, more = service.sessions.page(wire.tenant, limit, 0 if cursor is None else position_of(cursor))
    return wire.answer(
        AdaptationPage(
            items=[adaptation_state(service, a) for a in found], next_cursor=None if more is None else cursor_of(more)
        )
    )


@router.get("/{adaptation_id}", response_model=AdaptationState)
def read(wire: WireDep, service: ServiceDep, adaptation_id: AdaptationId, version: Version = None) -> Response:
    """An adaptation, or one of its older versions, without arrays."""
    return wire.answer(adaptation_state(service, service.sessions.read(wire.tenant, adaptation_id, version)))


@router.delete("/{adaptation_id}", status_code=204, response_class=Response)
def delete(tenant: TenantDep, service: ServiceDep, adaptation_id: AdaptationId) -> Response:
    """Forget an adaptation, its episodes and its recordings."""
    service.delete(tenant, adaptation_id)
    return Response(status_code=204)


@router.post("/{adaptation_id}/demos", response_model=Uploaded, openapi_extra=takes(DemosRequest))
def add_demos(wire: WireDep, service: ServiceDep, adaptation_id: AdaptationId) -> Response:
    """Watch more: a new version of the adaptation."""
    body = wire.read(DemosRequest)
    return _learn(wire, service, adaptation_id, "demo", body.demos, body.rate_hz)


@router.post("/{adaptation_id}/trials", response_model=Uploaded, openapi_extra=takes(TrialsRequest))
def add_trials(wire: WireDep, service: ServiceDep, adaptation_id: AdaptationId) -> Response:
    """Learn: a new version of the adaptation, that knows how these trials went."""
    body = wire.read(TrialsRequest)
    return _learn(wire, service, adaptation_id, "trial", body.trials, body.rate_hz)


def _learn(
    wire: Wire,
    service: Service,
    adaptation_id: str,
    role: Role,
    bodies: list[EpisodeBody],
    rate_hz: float | None,
) -> Response:
    adaptation = service.sessions.read(wire.tenant, adaptation_id)
    model = service.sessions.model(adaptation)
    episodes = to_episodes(f"{role}s", bodies, model.spec)
    after = service.sessions.learn(adaptation, role, episodes, wire.post)
    service.metrics.episodes.labels(role).inc(len(episodes))
    upload = Context(demos=episodes) if role == "demo" else Context(trials=episodes)
    return wire.answer(upload_answer(service, after, model, upload, rate_hz))
