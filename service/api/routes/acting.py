"""Acting without an episode: any number of observations, nothing remembered. Most are answered by `shortcut`."""

import time

from fastapi import APIRouter, Response

from service.adaptations.acting import act_response, server_timing
from service.api.dependencies import AdaptationId, ContainerDep, RequestBodyDep, Version
from service.api.openapi import PROBLEMS, request_body_docs
from service.api.schemas.adaptations import ActAnswer, ActRequest, to_observations
from service.api.scopes import requires

router = APIRouter(prefix="/v1/adaptations", tags=["adaptations"], responses=PROBLEMS, dependencies=[requires("adapt")])


@router.post("/{adaptation_id}/act", response_model=ActAnswer, openapi_extra=request_body_docs(ActRequest))
def act(
    request: RequestBodyDep, container: ContainerDep, adaptation_id: AdaptationId, version: Version = None
) -> Response:
    """Observations to actions, under the most probable hypothesis. Remembers nothing."""
    body = request.read(ActRequest)
    adaptation = container.adaptations.read(request.tenant, adaptation_id, version)
    model = container.adaptations.model(adaptation)
    observations = to_observations("observations", body.observations, model.spec, container.settings.max_rows)
    stance = container.adaptations.understood(adaptation).stance
    container.adaptations.touch(adaptation)
    acted = container.engine.act(model.runtime, stance, observations)
    encode_s = time.perf_counter()
    answer = request.answer(act_response(acted, request.decode_ms, (encode_s - request.started_s) * 1e3))
    answer.headers["Server-Timing"] = server_timing(acted, request.decode_ms, (time.perf_counter() - encode_s) * 1e3)
    return answer
