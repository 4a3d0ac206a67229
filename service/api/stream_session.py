"""One conversation over a stream: frames in, answers out, one hypothesis per episode. Knows no WebSocket.

Frames are msgpack maps with arrays in openpi's convention:

    {observation, reward?}            the next action; the reward is that of the previous one
    {observation, reward?, success}   the end: the episode becomes a trial, the adaptation goes one version on
    {reset: true, explore?}           drop what was not finished and begin anew
    any other map with one array of the model's shape, as openpi's clients send it: the next action

An episode lives here until it is finished: whoever goes away in the midst of one leaves nothing behind.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError

from metalearn.data.episode import Array, Episode
from metalearn.data.errors import InvalidData
from service.adaptations.acting import Acting, act_response
from service.adaptations.records import Adaptation
from service.adaptations.service import AdaptationService
from service.api.schemas.adaptations import FinishRequest, ResetRequest, StepRequest, to_observation
from service.api.validation import describe, to_problem
from service.codecs import decode_msgpack
from service.errors import EpisodeEmpty, EpisodeOver, MalformedBody
from service.registry.registry import Model

_OURS = frozenset({"observation", "reward", "success", "reset", "explore"})
_MAX_CONTAINERS = 10_000


@dataclass(eq=False)
class _Episode:
    """What happened since the reset."""

    version: int
    explore: bool
    stance: Array
    observations: list[Array] = field(default_factory=list)
    actions: list[Array] = field(default_factory=list)
    rewards: list[float | None] = field(default_factory=list)


class StreamSession:
    """The conversation with one client about one adaptation."""

    def __init__(
        self,
        adaptation: Adaptation,
        model: Model,
        acting: Acting,
        adaptations: AdaptationService,
        rng: np.random.Generator,
    ) -> None:
        self._adaptation, self._model = adaptation, model
        self._acting, self._adaptations, self._rng = acting, adaptations, rng
        self._horizon = model.spec.horizon
        self._episode: _Episode | None = None

    async def greeting(self) -> dict[str, Any]:
        """What the server says first."""
        episode = await self._begin(None)
        adaptation = self._adaptation
        return {
            "model": adaptation.model,
            "model_version": adaptation.model_version,
            "version": episode.version,
            "session": adaptation.id,
            "explore": episode.explore,
            "spec": self._model.spec.to_json(),
        }

    async def answer(self, frame: bytes) -> dict[str, Any]:
        """What to say to a frame. An error leaves everything as it was.

        Raises:
            MalformedBody, InvalidPayload, InvalidData: the frame cannot be used.
            EpisodeOver, EpisodeEmpty, TooManyEpisodes, AdaptationNotFound, Busy: see there.
        """
        started_s = time.perf_counter()
        message = decode_msgpack(frame, _MAX_CONTAINERS)
        if not isinstance(message, dict) or not {str}.issuperset(map(type, message)):
            raise MalformedBody("a frame must be a map whose keys are text")
        if "reset" in message:
            return await self._reset(message)
        if "success" in message:
            return await self._finish(message)
        observation, reward = self._read(message)
        decoded_s = time.perf_counter()
        await self._look_again()
        episode = self._episode or await self._begin(None)
        self._check(episode, reward)
        stance = self._after(episode, observation)
        acted = await self._acting.act(self._model, stance, observation[None])
        if episode.actions:
            episode.rewards.append(reward)
        episode.stance = stance
        episode.observations.append(observation)
        episode.actions.append(acted.actions[0])
        if self._adaptations.touch_due(self._adaptation):
            await self._acting.touch(self._adaptation)
        return act_response(acted, (decoded_s - started_s) * 1e3, (time.perf_counter() - started_s) * 1e3)

    async def _begin(self, explore: bool | None) -> _Episode:
        adaptation = self._adaptation
        understood = await self._acting.understood(adaptation)
        explore = not adaptation.scored if explore is None else explore
        hypothesis = understood.belief.draw(self._rng) if explore else understood.belief.most_probable
        stance = understood.stance_under(hypothesis, self._model.runtime)
        self._episode = _Episode(adaptation.version, explore, stance)
        return self._episode

    async def _look_again(self) -> None:
        """Another server, or another client, may have changed the adaptation. Raises AdaptationNotFound."""
        tenant, adaptation_id = self._adaptation.tenant, self._adaptation.id
        known = self._acting.cached_adaptation(tenant, adaptation_id)
        self._adaptation = known or await self._acting.find(tenant, adaptation_id)

    async def _reset(self, message: Mapping[str, Any]) -> dict[str, Any]:
        request = _parse(ResetRequest, message)
        await self._look_again()
        episode = await self._begin(request.explore)
        return {"reset": True, "version": episode.version, "explore": episode.explore}

    async def _finish(self, message: Mapping[str, Any]) -> dict[str, Any]:
        request = _parse(FinishRequest, message)
        observation = to_observation(request.observation, self._model.spec)
        episode = self._episode
        if episode is None or not episode.actions:
            raise EpisodeEmpty("no action was asked for in this episode: there is nothing to learn from")
        rewards = [*episode.rewards, request.reward]
        trial = Episode.of(
            observations=np.stack([*episode.observations, observation]),
            actions=np.stack(episode.actions),
            rewards=None if all(reward is None for reward in rewards) else [reward or 0.0 for reward in rewards],
            success=request.success,
        )
        self._model.spec.check(trial)
        self._adaptation = await run_in_threadpool(self._adaptations.learn, self._adaptation, "trial", [trial])
        self._episode = None
        after = self._adaptation
        return {"finished": True, "version": after.version, "n_trials": after.n_trials, "steps": len(trial)}

    def _read(self, message: Mapping[str, Any]) -> tuple[Array, float | None]:
        """The observation and the reward, in our form or in openpi's. Raises InvalidData, InvalidPayload."""
        spec = self._model.spec
        if "observation" in message:
            if len(message) == 1:
                return to_observation(message["observation"], spec), None
            request = _parse(StepRequest, message)
            return to_observation(request.observation, spec), request.reward
        shape = spec.observation_space.shape
        found = [value for value in message.values() if isinstance(value, np.ndarray) and value.shape == shape]
        if len(found) != 1 or not _OURS.isdisjoint(message):
            got = ", ".join(f"{key}: {describe(value)}" for key, value in sorted(message.items())[:8])
            expected = f"`observation`, or one array of shape {list(shape)} under a name of your own"
            raise InvalidData("observation", expected, got or "an empty map")
        return to_observation(found[0], spec), None

    def _check(self, episode: _Episode, reward: float | None) -> None:
        if len(episode.actions) >= self._horizon:
            raise EpisodeOver(f"the episode has its {self._horizon} steps and can only be finished or reset")
        if reward and not episode.actions:
            raise InvalidData("reward", "none before the first action", str(reward))

    def _after(self, episode: _Episode, observation: Array) -> Array:
        """The stance now that the last action is known to have led here."""
        if not episode.actions or not self._model.runtime.learns_while_acting:
            return episode.stance
        around = np.stack([episode.observations[-1], observation])
        return self._model.runtime.after(episode.stance, around, episode.actions[-1][None])


def _parse(schema: Any, message: Mapping[str, Any]) -> Any:
    try:
        return schema.model_validate(message)
    except ValidationError as error:
        raise to_problem(error) from error
