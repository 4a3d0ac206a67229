"""The route that acts on any number of observations and records nothing. `middleware.fast_act` answers most calls."""

import time

from fastapi import APIRouter, Response
from fastapi.concurrency import run_in_threadpool

from metalearn.data.episode import Array
from service.adaptations.acting import Actor
from service.api.dependencies import AdaptationId, ContainerDep, RequestBodyDep, Version
from service.api.openapi import PROBLEMS, request_body_docs
from service.api.presenters import act_response, server_timing
from service.api.schemas.adaptations import ActAnswer, ActRequest
from service.api.schemas.observations import to_observations
from service.api.scopes import requires
from service.inference import ActResult

router = APIRouter(prefix="/v1/adaptations", tags=["adaptations"], responses=PROBLEMS, dependencies=[requires("adapt")])


@router.post("/{adaptation_id}/act", response_model=ActAnswer, openapi_extra=request_body_docs(ActRequest))
async def act(
    request: RequestBodyDep, container: ContainerDep, adaptation_id: AdaptationId, version: Version = None
) -> Response:
    """Return one action per observation, under the most probable hypothesis. Nothing is recorded.

    It is the most probable action, or, with `sample`, one as whoever was watched may take it: drawn, and as shaky.

    Observations have shape [n, ...o], for example of n robots that do the same task, or are a mapping with such an
    array for each part. Actions have shape [n, ...a], or [n] for one integer, in the units of the model's spec. The
    header Server-Timing has the duration of each stage.
    """

    def prepare() -> tuple[Actor, Array, ActResult | None]:
        body = request.read(ActRequest)
        actor = container.acting.actor(container.adaptations.read(request.tenant, adaptation_id, version))
        spec, max_rows = actor.model.spec, container.settings.max_rows
        observations = to_observations("observations", body.observations, spec, max_rows)
        return actor, observations, container.acting.sample(actor, observations) if body.sample else None

    def respond(result: ActResult) -> Response:
        encode_s = time.perf_counter()
        answer = request.answer(act_response(result, request.decode_ms, (encode_s - request.started_s) * 1e3))
        encode_ms = (time.perf_counter() - encode_s) * 1e3
        answer.headers["Server-Timing"] = server_timing(result, request.decode_ms, encode_ms)
        return answer

    actor, observations, sampled = await run_in_threadpool(prepare)
    result = sampled if sampled is not None else await container.acting.act_once(actor, observations)
    return await run_in_threadpool(respond, result)
