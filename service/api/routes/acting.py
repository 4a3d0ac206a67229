"""Acting without an episode: any number of observations, nothing remembered. Most are answered by `shortcut`."""

import time

from fastapi import APIRouter, Response

from service.adaptations.acting import server_timing, told
from service.api.dependencies import AdaptationId, ServiceDep, Version, WireDep
from service.api.openapi import PROBLEMS, takes
from service.api.schemas.adaptations import ActAnswer, ActRequest, to_observations

router = APIRouter(prefix="/v1/adaptations", tags=["adaptations"], responses=PROBLEMS)


@router.post("/{adaptation_id}/act", response_model=ActAnswer, openapi_extra=takes(ActRequest))
def act(wire: WireDep, service: ServiceDep, adaptation_id: AdaptationId, version: Version = None) -> Response:
    """Observations to actions, under the most probable hypothesis. Remembers nothing."""
    body = wire.read(ActRequest)
    adaptation = service.sessions.read(wire.tenant, adaptation_id, version)
    model = service.sessions.model(adaptation)
    observations = to_observations("observations", body.observations, model.spec, service.settings.max_rows)
    conditioning = service.sessions.adapted_policy(adaptation).conditioning
    service.sessions.touch(adaptation)
    acted = service.engine.act(model.runtime, conditioning, observations)
    encode_s = time.perf_counter()
    answer = wire.answer(told(acted, wire.decode_ms, (encode_s - wire.started_s) * 1e3))
    answer.headers["Server-Timing"] = server_timing(acted, wire.decode_ms, (time.perf_counter() - encode_s) * 1e3)
    return answer
