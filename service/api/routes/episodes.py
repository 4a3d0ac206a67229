"""Recorded episodes: the server commits to one hypothesis, acts, and keeps the episode as a trial."""

from fastapi import APIRouter, Response

from service.api.dependencies import AdaptationId, EpisodeId, ServiceDep, Version, WireDep
from service.api.openapi import PROBLEMS, takes
from service.api.presenters import upload_answer
from service.api.schemas.adaptations import (
    EpisodeRequest,
    FinishRequest,
    RecordedEpisode,
    StepAnswer,
    StepRequest,
    Uploaded,
    to_observation,
)

router = APIRouter(prefix="/v1/adaptations/{adaptation_id}/episodes", tags=["episodes"], responses=PROBLEMS)


@router.post("", status_code=201, response_model=RecordedEpisode, openapi_extra=takes(EpisodeRequest, required=False))
def start(wire: WireDep, service: ServiceDep, adaptation_id: AdaptationId, version: Version = None) -> Response:
    """Begin an episode under one hypothesis: drawn when exploring, else the most probable one."""
    body = wire.read_optional(EpisodeRequest)
    row = service.recorder.start(service.sessions.read(wire.tenant, adaptation_id, version), body.explore, wire.post)
    episode = RecordedEpisode(id=row.id, adaptation=row.adaptation, version=row.version, explore=row.explore)
    return wire.answer(episode, 201)


@router.post("/{episode_id}/act", response_model=StepAnswer, openapi_extra=takes(StepRequest))
def act(wire: WireDep, service: ServiceDep, adaptation_id: AdaptationId, episode_id: EpisodeId) -> Response:
    """The next action; the reward is that of the previous action."""
    body = wire.read(StepRequest)
    adaptation = service.sessions.read(wire.tenant, adaptation_id)
    spec = service.sessions.model(adaptation).spec
    observation = to_observation(body.observation, spec)
    action, step = service.recorder.act(adaptation, episode_id, observation, body.reward, wire.post)
    return wire.answer(StepAnswer(action=action.item() if spec.discrete else action, step=step))


@router.post("/{episode_id}/finish", response_model=Uploaded, openapi_extra=takes(FinishRequest))
def finish(wire: WireDep, service: ServiceDep, adaptation_id: AdaptationId, episode_id: EpisodeId) -> Response:
    """The last observation and how it went: the episode becomes a trial, the adaptation goes one version on."""
    body = wire.read(FinishRequest)
    adaptation = service.sessions.read(wire.tenant, adaptation_id)
    model = service.sessions.model(adaptation)
    observation = to_observation(body.observation, model.spec)
    after = service.recorder.finish(adaptation, episode_id, observation, body.reward, body.success, wire.post)
    service.metrics.episodes.labels("trial").inc()
    recorded = service.storage.context(after.id, after.version, since=after.version)
    return wire.answer(upload_answer(service, after, model, recorded, None))
