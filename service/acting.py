"""Acting from the event loop: everything that is in memory is answered without a change of threads.

What is not there is read, loaded or encoded in a thread, by the same code that serves every other request.
"""

from fastapi.concurrency import run_in_threadpool

from metalearn.adapter import Belief
from metalearn.data.episode import Array
from service.engine import Acted, Engine
from service.queries import Adaptation
from service.recall import Recall
from service.registry import Model, Registry
from service.sessions import Sessions


class Acting:
    """The short way to an action."""

    def __init__(self, recall: Recall, registry: Registry, sessions: Sessions, engine: Engine) -> None:
        self._recall, self._registry, self._sessions, self._engine = recall, registry, sessions, engine

    async def find(self, tenant: str, adaptation_id: str) -> Adaptation:
        """An adaptation in its newest version. Raises AdaptationNotFound."""
        found = self._recall.get(tenant, adaptation_id)
        if found is not None and not self._sessions.expired(found):
            return found
        return await run_in_threadpool(self._sessions.read, tenant, adaptation_id)

    async def model(self, adaptation: Adaptation) -> Model:
        """The model that it was made with. Raises ModelUnavailable."""
        loaded = self._registry.loaded(adaptation.model, adaptation.model_version)
        return loaded if loaded is not None else await run_in_threadpool(self._sessions.model, adaptation)

    async def belief(self, adaptation: Adaptation, version: int | None = None) -> Belief:
        """What the model makes of this version, or of the one that is said. Raises Busy."""
        known = self._engine.recall((adaptation.id, version or adaptation.version))
        return known.belief if known else await run_in_threadpool(self._sessions.belief, adaptation, version)

    async def touch(self, adaptation: Adaptation) -> None:
        """Note that it is in use, now and then."""
        if self._sessions.touch_due(adaptation):
            await run_in_threadpool(self._sessions.touch, adaptation)

    async def act(self, adaptation: Adaptation, model: Model, observations: Array) -> Acted:
        """Actions for `[n, *o]` observations under the most probable hypothesis. Raises Busy."""
        belief = await self.belief(adaptation)
        await self.touch(adaptation)
        return await self._engine.act_soon(model.runtime, belief, belief.most_probable, observations)

    async def act_under(self, model: Model, belief: Belief, hypothesis: int, observation: Array) -> Acted:
        """The action for one `[*o]` observation under a hypothesis that was chosen before. Raises Busy."""
        return await self._engine.act_soon(model.runtime, belief, hypothesis, observation[None])
