"""The routes of recorded episodes: the server acts under one hypothesis and keeps the episode as a trial."""

from fastapi import APIRouter, Response

from service.api.dependencies import AdaptationId, ContainerDep, EpisodeId, RequestBodyDep, Version
from service.api.openapi import PROBLEMS, request_body_docs
from service.api.presenters import upload_answer
from service.api.schemas.adaptations import (
    EpisodeRequest,
    FinishRequest,
    RecordedEpisode,
    StepAnswer,
    StepRequest,
    Uploaded,
)
from service.api.schemas.observations import to_observation
from service.api.scopes import requires

router = APIRouter(
    prefix="/v1/adaptations/{adaptation_id}/episodes",
    tags=["episodes"],
    responses=PROBLEMS,
    dependencies=[requires("adapt")],
)


@router.post(
    "", status_code=201, response_model=RecordedEpisode, openapi_extra=request_body_docs(EpisodeRequest, required=False)
)
def start(
    request: RequestBodyDep, container: ContainerDep, adaptation_id: AdaptationId, version: Version = None
) -> Response:
    """Start an episode under one hypothesis: a sampled one to explore, else the most probable one.

    Send each observation to its `act`, and the last one to its `finish`. An episode that is not finished is deleted
    with its adaptation.
    """
    body = request.read_optional(EpisodeRequest)
    row = container.episode_recorder.start(
        container.adaptations.read(request.tenant, adaptation_id, version), body.explore, request.idempotency_key
    )
    episode = RecordedEpisode(id=row.id, adaptation=row.adaptation, version=row.version, explore=row.explore)
    return request.answer(episode, 201)


@router.post("/{episode_id}/act", response_model=StepAnswer, openapi_extra=request_body_docs(StepRequest))
def act(
    request: RequestBodyDep, container: ContainerDep, adaptation_id: AdaptationId, episode_id: EpisodeId
) -> Response:
    """Record the observation and the reward of the previous action, and return the next action.

    The observation has shape [...o] and the action [a], in the units of the model's spec. After `horizon` steps the
    episode can only be finished.
    """
    body = request.read(StepRequest)
    adaptation = container.adaptations.read(request.tenant, adaptation_id)
    spec = container.adaptations.model(adaptation).spec
    observation = to_observation(body.observation, spec)
    action, step = container.episode_recorder.act(
        adaptation, episode_id, observation, body.reward, request.idempotency_key
    )
    return request.answer(StepAnswer(action=action if action.ndim else action.item(), step=step))


@router.post("/{episode_id}/finish", response_model=Uploaded, openapi_extra=request_body_docs(FinishRequest))
def finish(
    request: RequestBodyDep, container: ContainerDep, adaptation_id: AdaptationId, episode_id: EpisodeId
) -> Response:
    """End an episode, which becomes a trial in a new version of the adaptation.

    Without rewards and `success` the trial is not scored, and the policy learns little from it.
    """
    body = request.read(FinishRequest)
    adaptation = container.adaptations.read(request.tenant, adaptation_id)
    model = container.adaptations.model(adaptation)
    observation = to_observation(body.observation, model.spec)
    after = container.episode_recorder.finish(
        adaptation, episode_id, observation, body.reward, body.success, request.idempotency_key
    )
    container.metrics.episodes.labels("trial").inc()
    recorded = container.repository.context(after.id, after.version, since=after.version)
    if container.drift_watch is not None:
        version = container.episode_recorder.acting_version(adaptation, episode_id)
        acted = container.adaptations.read(request.tenant, adaptation_id, version)
        container.drift_watch.watch(acted, *recorded.trials)
    return request.answer(upload_answer(container, after, model, recorded, None))
