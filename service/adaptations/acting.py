"""Single actions of adapted policies: find the inputs, in memory if possible, and run the model.

The `act` route, its fast path and streams all act through `act_once`, on the event loop. Reading, loading and
inference of beliefs are done in a thread.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from fastapi.concurrency import run_in_threadpool

from metalearn.adapter import ActionHeads, sample_actions
from metalearn.data.episode import Array
from metalearn.data.units import Units
from metalearn.recognition.deviation import HeadsOf, watched_deviation
from service.adaptations.episode_builder import EpisodeBuilder
from service.adaptations.records import Adaptation
from service.adaptations.row_cache import AdaptationCache
from service.adaptations.service import AdaptationService
from service.errors import NotRecognisable
from service.inference import ActResult, AdaptedPolicy, Engine, NoHeads, Runtime
from service.registry.model_cache import units_of
from service.registry.registry import Model, Registry

_MOST_DEVIATIONS = 4096  # versions of adaptations whose deviation is kept


@dataclass(frozen=True, eq=False, slots=True)
class Actor:
    """The inputs of an action: an adaptation in one version, its model, and the adapted policy."""

    adaptation: Adaptation
    model: Model
    policy: AdaptedPolicy


@dataclass(eq=False)
class OnlineConditioning:
    """The conditioning of one episode, updated with its steps if the model adapts online.

    Attributes:
        value: the conditioning of the last action.
        n_updates: the number of steps in `value`, each with the observation that it led to.
    """

    value: Array
    n_updates: int = 0

    def at(self, runtime: Runtime, episode: EpisodeBuilder, observation: Array) -> Array:
        """Return the conditioning to act on `observation`, the result of the last action of the episode.

        `runtime` is that of the model. It is not kept: an abandoned episode would keep it in memory.
        """
        if not episode or not runtime.adapts_online:
            return self.value
        observations = np.stack([*episode.observations[self.n_updates :], observation])
        return runtime.update(self.value, observations, np.stack(episode.actions[self.n_updates :]))

    def keep(self, value: Array, episode: EpisodeBuilder) -> None:
        """Keep what `at` returned, now that the step is part of the episode: until then it may be repeated."""
        self.value, self.n_updates = value, len(episode) - 1


class Acting:
    """Finds actors and acts with them."""

    def __init__(
        self,
        cache: AdaptationCache,
        registry: Registry,
        adaptations: AdaptationService,
        engine: Engine,
        rng: np.random.Generator,
    ) -> None:
        self._cache, self._registry, self._adaptations, self._engine = cache, registry, adaptations, engine
        self._deviations: dict[tuple[str, int], Array] = {}
        self._lock, self._rng = threading.Lock(), rng

    def cached_adaptation(self, tenant: str, adaptation_id: str) -> Adaptation | None:
        """Return an adaptation in its newest version if it is in memory, else None. Never blocks."""
        found = self._cache.get(tenant, adaptation_id)
        return found if found is not None and not self._adaptations.expired(found) else None

    def cached_actor(self, tenant: str, adaptation_id: str) -> Actor | None:
        """Return the actor of the newest version if all of it is in memory, else None. Never blocks."""
        adaptation = self.cached_adaptation(tenant, adaptation_id)
        return None if adaptation is None else self._cached_actor_of(adaptation)

    async def find_adaptation(self, tenant: str, adaptation_id: str) -> Adaptation:
        """Return an adaptation in its newest version. Raises AdaptationNotFound."""
        cached = self.cached_adaptation(tenant, adaptation_id)
        return cached if cached is not None else await run_in_threadpool(self._adaptations.read, tenant, adaptation_id)

    def actor(self, adaptation: Adaptation) -> Actor:
        """Return the actor of this version of an adaptation. Blocks. Raises ModelUnavailable, Busy."""
        return Actor(adaptation, self._adaptations.model(adaptation), self._adaptations.adapted_policy(adaptation))

    async def find_actor(self, adaptation: Adaptation) -> Actor:
        """Return the actor of this version without blocking the event loop. Raises ModelUnavailable, Busy."""
        cached = self._cached_actor_of(adaptation)
        return cached if cached is not None else await run_in_threadpool(self.actor, adaptation)

    async def act_once(self, actor: Actor, observations: Array, conditioning: Array | None = None) -> ActResult:
        """Return actions for `[n, *o]` observations, and postpone the expiry of the adaptation.

        Args:
            actor: the actor.
            observations: observations that fit the spec of the model.
            conditioning: the conditioning to act under; that of the most probable hypothesis if absent.

        Raises:
            Busy: the queue is full, or the model took too long.
            InvalidData: the numbers overflow in the model.
        """
        if self.rested(actor):
            await run_in_threadpool(self._adaptations.touch, actor.adaptation)
        chosen = actor.policy.conditioning if conditioning is None else conditioning
        return await self._engine.act_async(actor.model.runtime, chosen, observations)

    def sample(self, actor: Actor, observations: Array) -> ActResult:
        """Return actions as whoever was watched may take them: drawn, with the deviation that was seen. Blocks.

        Under the most probable hypothesis, and without what a running episode has told.

        Raises:
            Busy: the queue is full, or the model took too long.
            NotRecognisable: the bundle of the model was exported before deviations were known.
            DamagedEpisode, AdaptationNotFound: the demonstrations are gone.
        """
        self._adaptations.touch(actor.adaptation)
        started_s = time.perf_counter()
        runtime, belief, units = actor.model.runtime, actor.policy.belief, units_of(actor.model)
        hypotheses = np.array([belief.map_hypothesis], np.int64)

        def heads_of(latents: Array, chosen: Array, seen: Array, done: Array) -> ActionHeads:
            return self._engine.heads(runtime, latents, chosen, seen, done)

        try:
            deviation = self._deviation(actor, heads_of, units)
            # Where steps are remembered every row is the first of an episode of its own.
            size = 1 if runtime.adapts_online else len(observations)
            out = [
                heads_of(belief.latent[None], hypotheses, np.concatenate([part, part[-1:]]), _idle(units, len(part)))
                for part in (observations[i : i + size] for i in range(0, len(observations), size))
            ]
        except NoHeads as error:
            raise NotRecognisable(actor.model.name, actor.model.version) from error
        actions = sample_actions(np.concatenate([one.out[0] for one in out]), deviation[None], units, self._rng)
        return ActResult(actions, 0.0, 1e3 * (time.perf_counter() - started_s))

    def _deviation(self, actor: Actor, heads_of: HeadsOf, units: Units) -> Array:
        key = (actor.adaptation.id, actor.adaptation.version)
        with self._lock:
            found = self._deviations.get(key)
        if found is None:
            context = self._adaptations.context(actor.adaptation)
            belief = actor.policy.belief
            found = watched_deviation(context, belief, belief.map_hypothesis, heads_of, units)
            with self._lock:
                self._deviations[key] = found
                while len(self._deviations) > _MOST_DEVIATIONS:
                    self._deviations.pop(next(iter(self._deviations)))
        return found

    def act_soon(
        self, actor: Actor, observations: Array, conditioning: Array, call: Callable[[ActResult | Exception], None]
    ) -> ActResult | None:
        """Return actions, or None: then `call` gets them, or the error, later. See `Engine.act_soon`. Raises Busy."""
        return self._engine.act_soon(actor.model.runtime, conditioning, observations, call)

    def rested(self, actor: Actor) -> bool:
        """Return True if acting must first postpone the expiry of the adaptation, which `act_once` does."""
        return self._adaptations.touch_due(actor.adaptation)

    def _cached_actor_of(self, adaptation: Adaptation) -> Actor | None:
        model = self._registry.cached_model(adaptation.model, adaptation.model_version)
        policy = self._engine.cached((adaptation.id, adaptation.version))
        return None if model is None or policy is None else Actor(adaptation, model, policy)


def _idle(units: Units, n: int) -> Array:
    """Return n actions of which nothing is wanted."""
    kind = units.spec.actions
    return (
        np.zeros((n, *kind.shape), np.int64) + kind.lowest if kind.discrete else np.zeros((n, *kind.shape), np.float32)
    )
