"""Watch, learn, act, forget."""

import base64
import binascii
from datetime import UTC, datetime

from fastapi import APIRouter, Response

from metalearn.data.context import Context
from metalearn.quality import inspect
from service.errors import BadParameter, quote
from service.queries import Adaptation, Role
from service.registry import Model
from service.routes.parameters import (
    PROBLEMS,
    AdaptationId,
    Cursor,
    Limit,
    ServiceDep,
    TenantDep,
    Version,
    WireDep,
    takes,
)
from service.schemas import (
    AdaptationPage,
    AdaptationRequest,
    AdaptationState,
    DemosRequest,
    EpisodeBody,
    EpisodeQuality,
    Remark,
    TrialsRequest,
    Uploaded,
    to_episodes,
)
from service.state import Service
from service.wire import Wire

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
    answer = uploaded(service, adaptation, model, context, body.rate_hz)
    return wire.answer(answer, 201, {"Location": f"/v1/adaptations/{adaptation.id}"})


@router.get("", response_model=AdaptationPage)
def read_page(wire: WireDep, service: ServiceDep, limit: Limit = 20, cursor: Cursor = None) -> Response:
    """A page of adaptations, oldest first."""
    found, more = service.sessions.page(wire.tenant, limit, 0 if cursor is None else position_of(cursor))
    return wire.answer(
        AdaptationPage(items=[state(service, a) for a in found], next_cursor=None if more is None else cursor_of(more))
    )


@router.get("/{adaptation_id}", response_model=AdaptationState)
def read(wire: WireDep, service: ServiceDep, adaptation_id: AdaptationId, version: Version = None) -> Response:
    """An adaptation, or one of its older versions, without arrays."""
    return wire.answer(state(service, service.sessions.read(wire.tenant, adaptation_id, version)))


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


def state(service: Service, adaptation: Adaptation) -> AdaptationState:
    """An adaptation as it travels, with how far it can be trusted."""
    judgement = service.sessions.judgement(adaptation)
    return AdaptationState(
        id=adaptation.id,
        model=adaptation.model,
        model_version=adaptation.model_version,
        version=adaptation.version,
        n_demos=adaptation.n_demos,
        n_trials=adaptation.n_trials,
        confidence=None if judgement is None else round(judgement.success, 4),
        value_of_trial=None if judgement is None else round(judgement.value_of_trial, 4),
        novelty=None if judgement is None or judgement.novelty is None else round(judgement.novelty, 4),
        created_at=iso(adaptation.created_at),
        expires_at=iso(adaptation.expires_at),
    )


def uploaded(
    service: Service, adaptation: Adaptation, model: Model, upload: Context, rate_hz: float | None
) -> Uploaded:
    """An adaptation after an upload, with a report on it. The same POST again gets the same report."""
    digests = [episode.digest for episode in upload.demos + upload.trials]
    stored = service.storage.earlier(adaptation, digests)
    found = inspect(upload, model.spec, model.confidence, stored=stored, rate_hz=rate_hz)
    quality = [
        EpisodeQuality.model_validate(
            {
                **vars(one),
                "constant_actions": list(one.constant_actions),
                "constant_observations": list(one.constant_observations),
                "warnings": [Remark(code=remark.code, message=remark.message) for remark in one.warnings],
            }
        )
        for one in found
    ]
    return Uploaded(**dict(state(service, adaptation)), quality=quality)


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
    return wire.answer(uploaded(service, after, model, upload, rate_hz))


def iso(seconds: float) -> str:
    """A time as it travels."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def cursor_of(position: int) -> str:
    """Where a page ended, as it travels."""
    return base64.urlsafe_b64encode(f"after:{position}".encode()).decode().rstrip("=")


def position_of(cursor: str) -> int:
    """Where the page before ended. Raises BadParameter."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
        word, _, digits = text.partition(":")
        if word == "after" and digits.isdigit() and len(digits) < 19:
            return int(digits)
    except (binascii.Error, UnicodeError, ValueError):
        pass
    expected = "next_cursor of the page before"
    raise BadParameter(f"cursor: expected {expected}", field="cursor", expected=expected, got=quote(cursor))
