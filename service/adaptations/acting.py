"""One action of an adapted policy: what it takes, from memory where it is there, and the pass through the model.

The route, the fast path in front of the routes and streams act through `act_once`. It runs on the event loop; whatever
has to be read, loaded or inferred first is done in a thread, by the code that serves every other request.
"""

from dataclasses import dataclass

import numpy as np
from fastapi.concurrency import run_in_threadpool

from metalearn.data.episode import Array
from service.adaptations.episode_builder import EpisodeBuilder
from service.adaptations.records import Adaptation
from service.adaptations.row_cache import AdaptationCache
from service.adaptations.service import AdaptationService
from service.inference import ActResult, AdaptedPolicy, Engine, Runtime
from service.registry.registry import Model, Registry


@dataclass(frozen=True, eq=False, slots=True)
class Actor:
    """All that an action takes: an adaptation in one version, its model, and what the model infers from it."""

    adaptation: Adaptation
    model: Model
    policy: AdaptedPolicy


@dataclass(eq=False)
class OnlineConditioning:
    """The conditioning of one episode, updated with what its actions turned out to do where the model adapts online.

    Attributes:
        runtime: of the model.
        value: the conditioning after the first `n_updates` steps of the episode.
        n_updates: the steps that are in it.
    """

    runtime: Runtime
    value: Array
    n_updates: int = 0

    def at(self, episode: EpisodeBuilder, observation: Array) -> Array:
        """The conditioning to act on `observation`, to which the last action of the episode has led."""
        if not episode or not self.runtime.adapts_online:
            return self.value
        seen, done = episode.observations, episode.actions
        # Only steps that are part of the episode for good: the last one may come again with another observation.
        new = slice(self.n_updates, len(seen) - 1)
        if new.start < new.stop:
            observations = np.stack(seen[new.start : new.stop + 1])
            self.value = self.runtime.update(self.value, observations, np.stack(done[new]))
            self.n_updates = new.stop
        return self.runtime.update(self.value, np.stack([seen[-1], observation]), np.stack(done[-1:]))


class Acting:
    """Finds actors, and lets them act."""

    def __init__(
        self, cache: AdaptationCache, registry: Registry, adaptations: AdaptationService, engine: Engine
    ) -> None:
        self._cache, self._registry, self._adaptations, self._engine = cache, registry, adaptations, engine

    def cached_adaptation(self, tenant: str, adaptation_id: str) -> Adaptation | None:
        """An adaptation in its newest version, if that is in memory. Never waits."""
        found = self._cache.get(tenant, adaptation_id)
        return found if found is not None and not self._adaptations.expired(found) else None

    def cached_actor(self, tenant: str, adaptation_id: str) -> Actor | None:
        """The actor of the newest version, if all of it is in memory. Never waits."""
        adaptation = self.cached_adaptation(tenant, adaptation_id)
        if adaptation is None:
            return None
        model = self._registry.cached_model(adaptation.model, adaptation.model_version)
        policy = self._engine.cached((adaptation.id, adaptation.version))
        return None if model is None or policy is None else Actor(adaptation, model, policy)

    async def find_adaptation(self, tenant: str, adaptation_id: str) -> Adaptation:
        """An adaptation in its newest version. Raises AdaptationNotFound."""
        cached = self.cached_adaptation(tenant, adaptation_id)
        return cached if cached is not None else await run_in_threadpool(self._adaptations.read, tenant, adaptation_id)

    def actor(self, adaptation: Adaptation) -> Actor:
        """The actor of this version of an adaptation. Blocks. Raises ModelUnavailable, Busy."""
        return Actor(adaptation, self._adaptations.model(adaptation), self._adaptations.adapted_policy(adaptation))

    async def find_actor(self, adaptation: Adaptation) -> Actor:
        """The same, for a coroutine. Raises ModelUnavailable, Busy."""
        model = self._registry.cached_model(adaptation.model, adaptation.model_version)
        policy = self._engine.cached((adaptation.id, adaptation.version))
        if model is not None and policy is not None:
            return Actor(adaptation, model, policy)
        return await run_in_threadpool(self.actor, adaptation)

    async def act_once(self, actor: Actor, observations: Array, conditioning: Array | None = None) -> ActResult:
        """Actions for `[n, *o]` observations, and a note that the adaptation is in use.

        Args:
            actor: who acts.
            observations: checked against the model's spec.
            conditioning: of a hypothesis of one's own; that of the most probable one if absent.

        Raises:
            Busy: the queue is full, or the model took too long.
            InvalidData: numbers that overflow in the model.
        """
        if self._adaptations.touch_due(actor.adaptation):
            await run_in_threadpool(self._adaptations.touch, actor.adaptation)
        chosen = actor.policy.conditioning if conditioning is None else conditioning
        return await self._engine.act_async(actor.model.runtime, chosen, observations)
