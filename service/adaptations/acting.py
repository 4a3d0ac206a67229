"""Acting from the event loop: everything that is in memory is answered without a change of threads.

What is not there is read, loaded or encoded in a thread, by the same code that serves every other request.
"""

from collections.abc import Awaitable
from typing import Any

from fastapi.concurrency import run_in_threadpool

from metalearn.data.episode import Array
from service.adaptations.records import Adaptation
from service.adaptations.row_cache import AdaptationCache
from service.adaptations.service import AdaptationService
from service.inference import Acted, Engine, Understood
from service.registry.registry import Model, Registry


class Acting:
    """The short way to an action."""

    def __init__(
        self, cache: AdaptationCache, registry: Registry, adaptations: AdaptationService, engine: Engine
    ) -> None:
        self._cache, self._registry, self._adaptations, self._engine = cache, registry, adaptations, engine

    def cached_adaptation(self, tenant: str, adaptation_id: str) -> Adaptation | None:
        """An adaptation in its newest version, if that is in memory. Never waits."""
        found = self._cache.get(tenant, adaptation_id)
        return found if found is not None and not self._adaptations.expired(found) else None

    async def find(self, tenant: str, adaptation_id: str) -> Adaptation:
        """The same, from wherever it is. Raises AdaptationNotFound."""
        known = self.cached_adaptation(tenant, adaptation_id)
        return known if known is not None else await run_in_threadpool(self._adaptations.read, tenant, adaptation_id)

    async def model(self, adaptation: Adaptation) -> Model:
        """The model that it was made with. Raises ModelUnavailable."""
        loaded = self._registry.cached_model(adaptation.model, adaptation.model_version)
        return loaded if loaded is not None else await run_in_threadpool(self._adaptations.model, adaptation)

    async def understood(self, adaptation: Adaptation) -> Understood:
        """What the model makes of this version. Raises Busy."""
        known = self._engine.recall((adaptation.id, adaptation.version))
        return known if known is not None else await run_in_threadpool(self._adaptations.understood, adaptation)

    async def touch(self, adaptation: Adaptation) -> None:
        """Note that it is in use, now and then."""
        if self._adaptations.touch_due(adaptation):
            await run_in_threadpool(self._adaptations.touch, adaptation)

    def act(self, model: Model, stance: Array, observations: Array) -> Awaitable[Acted]:
        """Actions for `[n, *o]` observations. Raises Busy."""
        return self._engine.act_soon(model.runtime, stance, observations)


def act_response(acted: Acted, decode_ms: float, total_ms: float) -> dict[str, Any]:
    """Actions as an answer tells them, and where the time went."""
    timing = {"decode_ms": decode_ms, "queue_ms": acted.queue_ms, "infer_ms": acted.infer_ms, "total_ms": total_ms}
    return {"actions": acted.actions, "server_timing": timing}


def server_timing(acted: Acted, decode_ms: float, encode_ms: float) -> str:
    """The Server-Timing header."""
    return (
        f"decode;dur={decode_ms:.3f}, queue;dur={acted.queue_ms:.3f}, "
        f"infer;dur={acted.infer_ms:.3f}, encode;dur={encode_ms:.3f}"
    )
