"""The protocol of a stream: a response to each frame, one hypothesis per episode. Knows no WebSocket.

Frames are msgpack maps with arrays in openpi's convention:

    {observation, reward?}            asks for the next action; the reward is that of the previous action
    {observation, reward?, success}   ends the episode, which becomes a trial in a new version of the adaptation
    {reset: true, explore?}           drops the unfinished episode and starts a new one
    any other map with one array of the model's shape, as openpi's clients send it, asks for the next action

An episode is kept in memory until it is finished. It is lost if the client disconnects before.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError

from metalearn.data.episode import Array
from metalearn.data.errors import InvalidData
from service.adaptations.acting import Acting, Actor, OnlineConditioning
from service.adaptations.episode_builder import EpisodeBuilder, commit
from service.adaptations.records import Adaptation
from service.adaptations.service import AdaptationService
from service.api.presenters import act_response
from service.api.schemas.adaptations import FinishRequest, ResetRequest, StepRequest, to_observation
from service.api.validation import describe, to_problem
from service.codecs import decode_msgpack
from service.errors import MalformedBody
from service.inference import ActResult

_FIELDS = frozenset({"observation", "reward", "success", "reset", "explore"})
_MAX_CONTAINERS = 10_000
Answered = Callable[[dict[str, Any] | Exception], None]
"""Gets the response to a frame, or its error; must not raise."""


@dataclass(eq=False)
class _Episode:
    """The episode that is in progress."""

    version: int
    explore: bool
    conditioning: OnlineConditioning
    steps: EpisodeBuilder


@dataclass(eq=False, slots=True)
class _Step:
    """A step that lacks its action."""

    episode: _Episode
    observation: Array
    reward: float | None
    conditioning: Array
    started_s: float
    decode_ms: float
    call: Answered | None = None

    def take(self, result: ActResult | Exception) -> None:
        """Answer with a result that came without a coroutine."""
        assert self.call is not None
        self.call(result if isinstance(result, Exception) else self.taken(result))

    def taken(self, result: ActResult) -> dict[str, Any]:
        """Add the step to its episode, and return the response."""
        episode = self.episode
        episode.steps.append(self.observation, result.actions[0], self.reward)
        episode.conditioning.keep(self.conditioning, episode.steps)
        return act_response(result, self.decode_ms, (time.perf_counter() - self.started_s) * 1e3)


class StreamSession:
    """The state of a stream: one client, one adaptation, at most one episode in progress."""

    def __init__(self, actor: Actor, acting: Acting, adaptations: AdaptationService, rng: np.random.Generator) -> None:
        self._actor, self._acting, self._adaptations, self._rng = actor, acting, adaptations, rng
        self._episode: _Episode | None = None

    async def greeting(self) -> dict[str, Any]:
        """Start an episode and return the first message of the server."""
        episode = await self._begin(None)
        adaptation = self._actor.adaptation
        return {
            "model": adaptation.model,
            "model_version": adaptation.model_version,
            "version": episode.version,
            "session": adaptation.id,
            "explore": episode.explore,
            "spec": self._actor.model.spec.to_json(),
        }

    async def answer(self, frame: bytes) -> dict[str, Any]:
        """Return the response to a frame. An error leaves the episode unchanged.

        Raises:
            MalformedBody, InvalidPayload, InvalidData: the frame cannot be used.
            EpisodeOver, EpisodeEmpty, TooManyEpisodes, QuotaExceeded, AdaptationNotFound, ModelUnavailable, Busy: see
                `service.errors`.
        """
        started_s = time.perf_counter()
        message = _decode(frame)
        if "reset" in message:
            return await self._reset(message)
        if "success" in message:
            return await self._finish(message)
        observation, reward = self._read(message)
        decoded_s = time.perf_counter()
        await self._refresh()
        episode = self._episode or await self._begin(None)
        step = self._step(episode, observation, reward, started_s, decoded_s)
        return step.taken(await self._acting.act_once(self._actor, observation[None], step.conditioning))

    def answer_soon(self, frame: bytes, call: Answered) -> bool:
        """Answer a frame without a coroutine if all that it needs is in memory; otherwise return False.

        `call` gets the response, or the error, now or later, and must not raise.

        Raises:
            The same as `answer`.
        """
        started_s = time.perf_counter()
        message, episode, before = _decode(frame), self._episode, self._actor.adaptation
        if episode is None or "reset" in message or "success" in message:
            return False
        observation, reward = self._read(message)
        decoded_s = time.perf_counter()
        newest = self._acting.cached_adaptation(before.tenant, before.id)
        if newest is None:
            return False
        self._follow(newest)
        if self._acting.rested(self._actor):
            return False
        step = self._step(episode, observation, reward, started_s, decoded_s)
        step.call = call
        result = self._acting.act_soon(self._actor, observation[None], step.conditioning, step.take)
        if result is not None:
            step.take(result)
        return True

    def _step(
        self, episode: _Episode, observation: Array, reward: float | None, started_s: float, decoded_s: float
    ) -> "_Step":
        """Make the next step of the episode, to be taken with an action. Raises EpisodeOver, InvalidData."""
        episode.steps.check(reward)
        conditioning = episode.conditioning.at(self._actor.model.runtime, episode.steps, observation)
        return _Step(episode, observation, reward, conditioning, started_s, (decoded_s - started_s) * 1e3)

    async def _begin(self, explore: bool | None) -> _Episode:
        self._actor = actor = await self._acting.find_actor(self._actor.adaptation)
        explores, hypothesis = commit(actor.adaptation, actor.policy.belief, explore, self._rng)
        conditioning = actor.policy.conditioning_under(hypothesis, actor.model.runtime)
        steps = EpisodeBuilder(self._adaptations.horizon(actor.model))
        online = OnlineConditioning(conditioning)
        self._episode = _Episode(actor.adaptation.version, explores, online, steps)
        return self._episode

    async def _refresh(self) -> None:
        """Read the adaptation again, which other clients may have changed. Raises AdaptationNotFound."""
        before = self._actor.adaptation
        self._follow(await self._acting.find_adaptation(before.tenant, before.id))

    def _follow(self, newest: Adaptation) -> None:
        if newest is not self._actor.adaptation:
            self._actor = replace(self._actor, adaptation=newest)

    async def _reset(self, message: Mapping[str, Any]) -> dict[str, Any]:
        request = _parse(ResetRequest, message)
        await self._refresh()
        episode = await self._begin(request.explore)
        return {"reset": True, "version": episode.version, "explore": episode.explore}

    async def _finish(self, message: Mapping[str, Any]) -> dict[str, Any]:
        request = _parse(FinishRequest, message)
        spec = self._actor.model.spec
        observation = to_observation(request.observation, spec)
        steps = EpisodeBuilder(0) if self._episode is None else self._episode.steps
        trial = spec.check(steps.finish(observation, request.reward, request.success))
        after = await run_in_threadpool(self._adaptations.learn, self._actor.adaptation, "trial", [trial])
        self._actor, self._episode = replace(self._actor, adaptation=after), None
        return {"finished": True, "version": after.version, "n_trials": after.n_trials, "steps": len(trial)}

    def _read(self, message: Mapping[str, Any]) -> tuple[Array, float | None]:
        """Read the observation and reward of our frame, or of openpi's. Raises InvalidData, InvalidPayload."""
        spec = self._actor.model.spec
        if "observation" in message:
            if len(message) == 1:
                return to_observation(message["observation"], spec), None
            request = _parse(StepRequest, message)
            return to_observation(request.observation, spec), request.reward
        shape = spec.observation_space.shape
        found = [value for value in message.values() if isinstance(value, np.ndarray) and value.shape == shape]
        if len(found) != 1 or not _FIELDS.isdisjoint(message):
            got = ", ".join(f"{key}: {describe(value)}" for key, value in sorted(message.items())[:8])
            expected = f"`observation`, or one array of shape {list(shape)} under a name of your own"
            raise InvalidData("observation", expected, got or "an empty map")
        return to_observation(found[0], spec), None


def _decode(frame: bytes) -> dict[str, Any]:
    message = decode_msgpack(frame, _MAX_CONTAINERS)
    if not isinstance(message, dict) or not {str}.issuperset(map(type, message)):
        raise MalformedBody("a frame must be a map whose keys are text")
    return message


def _parse(schema: Any, message: Mapping[str, Any]) -> Any:
    try:
        return schema.model_validate(message)
    except ValidationError as error:
        raise to_problem(error) from error
