"""The operations on adaptations: create, extend, fork, read and delete.

Holds no state: everything is in storage or encoded again from there. Does not know HTTP.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from metalearn.data.asks import Ask
from metalearn.data.context import Context
from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidData
from service.adaptations.records import EVERYTHING, Adaptation, FinishRecording, Role, VersionRow, Wanted
from service.adaptations.repository import AdaptationRepository
from service.errors import AdaptationNotFound, Busy, ModelUnavailable
from service.ids import is_id, new_id
from service.inference import AdaptedPolicy, Engine
from service.registry.registry import Model, Registry
from service.storage.episode_store import DamagedEpisode
from service.storage.idempotency import IdempotencyKey
from service.storage.service_clock import ServiceClock


class AdaptationService:
    """The adaptations of one server."""

    def __init__(
        self,
        repository: AdaptationRepository,
        registry: Registry,
        engine: Engine,
        *,
        ttl_s: float,
        max_steps: int,
        now: Callable[[], float],
        clock: ServiceClock,
    ) -> None:
        self._repository, self._registry, self._engine = repository, registry, engine
        self._ttl_s, self._max_steps, self._now, self._clock = ttl_s, max_steps, now, clock

    def create(
        self, tenant: str, model: Model, context: Context, idempotency_key: IdempotencyKey | None = None
    ) -> Adaptation:
        """Create an adaptation, in version 1. Raises TooManyEpisodes, QuotaExceeded, InvalidData."""
        self._check_lengths("demos", context.demos)
        self._check_lengths("trials", context.trials)
        adaptation = Adaptation(
            id=new_id(),
            tenant=tenant,
            model=model.name,
            model_version=model.version,
            version=1,
            n_demos=len(context.demos),
            n_trials=len(context.trials),
            scored=context.scored,
            ask=context.ask.to_json(),
            created_at=self._now(),
            expires_at=self._clock.now() + self._ttl_s,
        )
        return self._repository.create(adaptation, context, idempotency_key)

    def fork(
        self, source: Adaptation, idempotency_key: IdempotencyKey | None = None, ask: Ask | None = None
    ) -> Adaptation:
        """Create an adaptation with the episodes of a version of another one, and its ask unless another one is given.

        Raises:
            QuotaExceeded: the tenant cannot have more adaptations.
        """
        expires_at = self._clock.now() + self._ttl_s
        new = replace(
            source,
            id=new_id(),
            version=1,
            created_at=self._now(),
            expires_at=expires_at,
            ask=source.ask if ask is None else ask.to_json(),
            origin=source.id,
            origin_version=source.version,
        )
        return self._repository.fork(source, new, idempotency_key)

    def read(self, tenant: str, adaptation_id: str, version: int | None = None) -> Adaptation:
        """Return one version, by default the newest. Raises AdaptationNotFound, VersionNotFound."""
        if not is_id(adaptation_id):
            raise AdaptationNotFound(adaptation_id)
        try:
            adaptation = self._repository.read(tenant, adaptation_id, version)
        except AdaptationNotFound:
            if self._repository.gone([adaptation_id]):  # another server may have deleted it
                self._engine.evict(adaptation_id)
            raise
        if self.expired(adaptation):
            raise AdaptationNotFound(adaptation_id)
        return adaptation

    def read_newest(self, tenant: str, ids: Sequence[str]) -> dict[str, Adaptation]:
        """Return the newest versions of many adaptations at once, by id; without those that there are not."""
        found = self._repository.read_newest(tenant, [one for one in ids if is_id(one)])
        return {name: adaptation for name, adaptation in found.items() if not self.expired(adaptation)}

    def page(
        self, tenant: str, limit: int, after: int | None, wanted: Wanted = EVERYTHING
    ) -> tuple[list[Adaptation], int | None]:
        """Return some adaptations of a tenant in the wanted order, and the position of the next page, or None."""
        return self._repository.page(tenant, limit, after, self._clock.now(), wanted)

    def family(self, adaptation: Adaptation, most: int) -> list[tuple[Adaptation, list[VersionRow]]]:
        """Return at most `most` adaptations with the same first origin, oldest first, each with its versions."""
        return self._repository.family(adaptation, most, self._clock.now())

    def versions(self, adaptation: Adaptation, limit: int, after: int) -> tuple[list[VersionRow], int | None]:
        """Return some versions of an adaptation, oldest first, and the position of the next page, or None."""
        return self._repository.versions(adaptation, limit, after)

    def completed(self, idempotency_key: IdempotencyKey | None) -> Adaptation | None:
        """Return the version that the first POST with this key made, or None. Raises IdempotencyKeyReused."""
        return self._repository.completed(idempotency_key)

    def learn(
        self,
        adaptation: Adaptation,
        role: Role,
        episodes: Sequence[Episode],
        idempotency_key: IdempotencyKey | None = None,
        ending: FinishRecording | None = None,
    ) -> Adaptation:
        """Add `episodes` to an adaptation, and return its next version.

        Raises:
            TooManyEpisodes, QuotaExceeded: there is no room for them.
            EpisodeFinished, StepConflict: the recording that they finish was changed by another server.
        """
        self._check_lengths(f"{role}s", episodes)
        return self._repository.extend(
            adaptation, role, episodes, self._clock.now() + self._ttl_s, idempotency_key, ending
        )

    def ask(self, adaptation: Adaptation, ask: Ask, idempotency_key: IdempotencyKey | None = None) -> Adaptation:
        """Ask for something else from the next version on, which is returned. Its episodes are the same."""
        return self._repository.change_ask(adaptation, ask, self._clock.now() + self._ttl_s, idempotency_key)

    def delete(self, tenant: str, adaptation_id: str) -> None:
        """Delete an adaptation and its episodes. Raises AdaptationNotFound."""
        self.read(tenant, adaptation_id)
        self._repository.delete(tenant, adaptation_id)
        self._engine.evict(adaptation_id)

    def horizon(self, model: Model) -> int:
        """Return the largest number of steps of an episode of this model."""
        return min(model.spec.horizon, self._max_steps)

    def model(self, adaptation: Adaptation) -> Model:
        """Return the model of an adaptation. Raises ModelUnavailable."""
        return self._registry.get(adaptation.model, adaptation.model_version)

    def adapted_policy(self, adaptation: Adaptation, version: int | None = None) -> AdaptedPolicy:
        """Return the policy adapted to this version, or to another one. Raises Busy, ModelUnavailable."""
        model, key = self.model(adaptation), (adaptation.id, version or adaptation.version)
        estimate = None if model.confidence is None else model.confidence.estimate
        return self._engine.adapt(key, model.runtime, lambda: self._repository.context(*key), estimate)

    def context(self, adaptation: Adaptation) -> Context:
        """Read what this version rests on. Raises AdaptationNotFound, DamagedEpisode."""
        return self._repository.context(adaptation.id, adaptation.version)

    def available_policy(self, adaptation: Adaptation) -> AdaptedPolicy | None:
        """Return the policy adapted to this version, with belief and confidence; None if it cannot be evaluated now.

        It is computed from the episodes if it is not in memory, so it is the same after a restart. Reading an
        adaptation must not fail because the model is busy or its files are gone.
        """
        try:
            return self.adapted_policy(adaptation)
        except (Busy, ModelUnavailable, DamagedEpisode, InvalidData):
            return None

    def ask_warnings(self, adaptation: Adaptation) -> tuple[str, ...]:
        """Return what of its ask the model takes for something else; nothing where the model's files are gone."""
        if not adaptation.ask:
            return ()
        try:
            return Ask.from_json(adaptation.ask).remarks(self.model(adaptation).asks)
        except (ModelUnavailable, InvalidData):
            return ()

    def touch(self, adaptation: Adaptation) -> None:
        """Postpone the expiry of an adaptation in use, not with every action: a write takes longer than one."""
        if self.touch_due(adaptation):
            self._repository.touch(adaptation, self._clock.now() + self._ttl_s)

    def touch_due(self, adaptation: Adaptation) -> bool:
        """Return True if `touch` would write."""
        return self._clock.now() + self._ttl_s - adaptation.expires_at > min(60.0, self._ttl_s / 100)

    def expired(self, adaptation: Adaptation) -> bool:
        """Return True if the adaptation has expired."""
        return adaptation.expires_at <= self._clock.now()

    def sweep(self) -> list[str]:
        """Delete adaptations that have expired for certain, and return their ids."""
        if self._clock.tick():
            self._repository.shorten(self._clock.now() + self._ttl_s)
        now = self._clock.certain()
        expired = [(tenant, adaptation_id) for tenant, adaptation_id in self._repository.expired(now)]
        return [
            adaptation_id for tenant, adaptation_id in expired if self._repository.delete(tenant, adaptation_id, now)
        ]

    def _check_lengths(self, field: str, episodes: Sequence[Episode]) -> None:
        for i, episode in enumerate(episodes):
            if len(episode) > self._max_steps:
                raise InvalidData(f"{field}[{i}]", f"at most {self._max_steps} steps", f"{len(episode)} steps")
