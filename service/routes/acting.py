"""The one address that is asked at the rate of a controller. Its handler runs on the event loop, and only there
where everything is in memory.
"""

import re
import time
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute

from service.errors import BadParameter, quote
from service.routes.parameters import PROBLEMS, takes
from service.schemas import ActAnswer, ActRequest, ServerTiming, to_observations
from service.state import Service
from service.wire import Wire

_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_SMALL = 64 * 1024  # bytes: what takes longer to decode than to change threads is decoded in one


class DirectRoute(APIRoute):
    """Documented like every route, and called with the request alone: resolving arguments costs more than acting."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The endpoint as it is."""
        return self.endpoint


router = APIRouter(prefix="/v1/adaptations", tags=["adaptations"], responses=PROBLEMS, route_class=DirectRoute)
_TAKES = takes(ActRequest)
_ID = {"name": "adaptation_id", "in": "path", "required": True, "schema": {"type": "string"},
       "description": "of the adaptation"}  # fmt: skip
_VERSION = {"name": "version", "in": "query", "required": False, "schema": {"type": "integer", "minimum": 1},
            "description": "of the adaptation; the newest if absent"}  # fmt: skip


@router.post(
    "/{adaptation_id}/act",
    response_model=ActAnswer,
    openapi_extra={**_TAKES, "parameters": [_ID, _VERSION, *_TAKES["parameters"]]},
)
async def act(request: Request) -> Response:
    """Observations to actions, under the most probable hypothesis. Remembers nothing."""
    started_s = time.perf_counter()
    service: Service = request.app.state.service
    wire = await Wire.receive(request, request.state.tenant, service.settings)
    small = len(wire.body) <= _SMALL and "content-encoding" not in request.headers
    body = wire.read(ActRequest) if small else await run_in_threadpool(wire.read, ActRequest)
    adaptation_id, version = request.path_params["adaptation_id"], _version(request)
    if version is None:
        adaptation = await service.acting.find(wire.tenant, adaptation_id)
    else:
        adaptation = await run_in_threadpool(service.sessions.read, wire.tenant, adaptation_id, version)
    model = await service.acting.model(adaptation)
    observations = to_observations("observations", body.observations, model.spec, service.settings.max_rows)
    acted = await service.acting.act(adaptation, model, observations)
    encode_s = time.perf_counter()
    timing = ServerTiming(
        decode_ms=wire.decode_ms,
        queue_ms=acted.queue_ms,
        infer_ms=acted.infer_ms,
        total_ms=(encode_s - started_s) * 1e3,
    )
    answer = wire.answer(ActAnswer.model_construct(actions=acted.actions, server_timing=timing))
    encode_ms = (time.perf_counter() - encode_s) * 1e3
    answer.headers["Server-Timing"] = (
        f"decode;dur={wire.decode_ms:.3f}, queue;dur={acted.queue_ms:.3f}, "
        f"infer;dur={acted.infer_ms:.3f}, encode;dur={encode_ms:.3f}"
    )
    return answer


def _version(request: Request) -> int | None:
    """Of the query. Raises BadParameter."""
    text = request.query_params.get("version")
    if text is None:
        return None
    if not _NUMBER.fullmatch(text):
        expected = "an integer from 1 on"
        raise BadParameter(f"version: expected {expected}", field="version", expected=expected, got=quote(text))
    return int(text)
