"""The protocol of a stream: a response to each frame, one hypothesis per episode. Knows no WebSocket.

Frames are msgpack maps with arrays in openpi's convention:

    {observation, reward?}            asks for the next action; the reward is that of the previous action
    {observation, reward?, success}   ends the episode, which becomes a trial in a new version of the adaptation
    {reset: true, explore?}           drops the unfinished episode and starts a new one
    any other map with one array of the model's shape, as openpi's clients send it, asks for the next action; for a
    model of observations with parts, the map that has them by name (observation/image)

A rule may begin episodes without `reset`, and an answer may hold several actions (`service.api.stream_options`). The
policy plans for one step, so in a chunk its action is held; and since nobody observes what happens meanwhile, such an
episode is neither adapted to nor made a trial.

An episode is kept in memory until it is finished. It is lost if the client disconnects before.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError

from metalearn.data.episode import Array
from metalearn.data.errors import InvalidData
from metalearn.data.spec import Spec
from service.adaptations.acting import Acting, Actor, OnlineConditioning
from service.adaptations.episode_builder import EpisodeBuilder, commit
from service.adaptations.records import Adaptation
from service.adaptations.service import AdaptationService
from service.api.presenters import act_response, offered_asks
from service.api.request_body import plain
from service.api.schemas.adaptations import FinishRequest, ResetRequest, StepRequest
from service.api.schemas.observations import to_observation
from service.api.stream_options import EpisodeRule, Mark, StreamOptions
from service.api.validation import describe, to_problem
from service.codecs import decode_msgpack
from service.errors import EpisodeOver, MalformedBody
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
    number: int


@dataclass(eq=False, slots=True)
class _Asked:
    """A frame that asks for an action."""

    observation: Array
    reward: float | None
    mark: Mark | None
    started_s: float
    decode_ms: float


@dataclass(eq=False, slots=True)
class _Step:
    """A step that lacks its action."""

    session: "StreamSession"
    episode: _Episode
    asked: _Asked
    conditioning: Array
    call: Answered | None = None

    def take(self, result: ActResult | Exception) -> None:
        """Answer with a result that came without a coroutine."""
        assert self.call is not None
        self.call(result if isinstance(result, Exception) else self.session.take(self, result))


class StreamSession:
    """The state of a stream: one client, one adaptation, at most one episode in progress."""

    def __init__(
        self,
        actor: Actor,
        acting: Acting,
        adaptations: AdaptationService,
        rng: np.random.Generator,
        options: StreamOptions,
    ) -> None:
        """Raise InvalidData if the options do not suit the model."""
        self._actor, self._acting, self._adaptations, self._rng = actor, acting, adaptations, rng
        self._options = options.within(adaptations.horizon(actor.model))
        self._rule = EpisodeRule(self._options)
        self._has_rule, self._chunk = options.new_episode != "reset", options.chunk
        self._episode: _Episode | None = None
        self._n_episodes = 0

    async def greeting(self) -> dict[str, Any]:
        """Start an episode and return the first message of the server."""
        episode = self._enter(await self._begin(None))
        adaptation = self._actor.adaptation
        return {
            "model": adaptation.model,
            "model_version": adaptation.model_version,
            "version": episode.version,
            "session": adaptation.id,
            "explore": episode.explore,
            "spec": self._actor.model.spec.to_json(),
            "ask": dict(adaptation.ask),
            "asks": plain(offered_asks(self._actor.model.asks)),
            **self._options.to_metadata(),
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
        asked = self._read(message, started_s)
        await self._refresh()
        episode = self._episode
        if episode is None or self._rule.begins(asked.mark, len(episode.steps) * self._chunk):
            episode, asked.reward = await self._begin(None), asked.reward if episode is None else None
        step = self._step(episode, asked)
        return self.take(step, await self._acting.act_once(self._actor, asked.observation[None], step.conditioning))

    def answer_soon(self, frame: bytes, call: Answered) -> bool:
        """Answer a frame without a coroutine if all that it needs is in memory; otherwise return False.

        `call` gets the response, or the error, now or later, and must not raise. Raises what `answer` raises.
        """
        started_s = time.perf_counter()
        message, before = _decode(frame), self._actor.adaptation
        newest = self._acting.cached_adaptation(before.tenant, before.id)
        if newest is None or "success" in message:
            return False
        self._follow(newest)
        if self._acting.rested(self._actor):
            return False
        if "reset" in message:
            explore = self._explore(message)
            actor = self._acting.cached_actor(newest.tenant, newest.id)
            if actor is not None:
                call(_reset_response(self._enter(self._new_episode(actor, explore))))
            return actor is not None
        asked = self._read(message, started_s)
        episode = self._episode
        if episode is None or self._rule.begins(asked.mark, len(episode.steps) * self._chunk):
            actor = self._acting.cached_actor(newest.tenant, newest.id)
            if actor is None:
                return False
            episode, asked.reward = self._new_episode(actor, None), asked.reward if episode is None else None
        step = self._step(episode, asked)
        step.call = call
        result = self._acting.act_soon(self._actor, asked.observation[None], step.conditioning, step.take)
        if result is not None:
            step.take(result)
        return True

    def take(self, step: _Step, result: ActResult) -> dict[str, Any]:
        """Add a step with its action to its episode, and return the response."""
        episode, asked = step.episode, step.asked
        episode.steps.append(asked.observation, result.actions[0], asked.reward)
        episode.conditioning.keep(step.conditioning, episode.steps)
        self._enter(episode)
        self._rule.stepped(asked.mark)
        response = act_response(result, asked.decode_ms, (time.perf_counter() - asked.started_s) * 1e3)
        if self._chunk > 1:
            response["actions"] = np.repeat(result.actions, self._chunk, axis=0)
        if self._has_rule:
            response["episode"] = episode.number
        return response

    def _step(self, episode: _Episode, asked: _Asked) -> _Step:
        """Make the next step of the episode, to be taken with an action. Raises EpisodeOver, InvalidData."""
        if self._chunk > 1 and len(episode.steps) >= episode.steps.horizon:
            raise EpisodeOver(f"the episode has the {len(episode.steps)} chunks of its horizon; begin a new one")
        episode.steps.check(asked.reward)
        conditioning = episode.conditioning.value
        if self._chunk == 1:
            conditioning = episode.conditioning.at(self._actor.model.runtime, episode.steps, asked.observation)
        return _Step(self, episode, asked, conditioning)

    async def _begin(self, explore: bool | None) -> _Episode:
        return self._new_episode(await self._acting.find_actor(self._actor.adaptation), explore)

    def _new_episode(self, actor: Actor, explore: bool | None) -> _Episode:
        """Make an episode of this actor, for `_enter`."""
        self._actor = actor
        explores, hypothesis = commit(actor.adaptation, actor.policy.belief, explore, self._rng)
        conditioning = actor.policy.conditioning_under(hypothesis, actor.model.runtime)
        steps = EpisodeBuilder(math.ceil(self._adaptations.horizon(actor.model) / self._chunk))
        online = OnlineConditioning(conditioning)
        return _Episode(actor.adaptation.version, explores, online, steps, self._n_episodes + 1)

    def _enter(self, episode: _Episode) -> _Episode:
        """Make this the episode in progress, if it is not."""
        self._episode, self._n_episodes = episode, episode.number
        return episode

    async def _refresh(self) -> None:
        """Read the adaptation again, which other clients may have changed. Raises AdaptationNotFound."""
        before = self._actor.adaptation
        self._follow(await self._acting.find_adaptation(before.tenant, before.id))

    def _follow(self, newest: Adaptation) -> None:
        if newest is not self._actor.adaptation:
            self._actor = replace(self._actor, adaptation=newest)

    async def _reset(self, message: dict[str, Any]) -> dict[str, Any]:
        explore = self._explore(message)
        await self._refresh()
        return _reset_response(self._enter(await self._begin(explore)))

    def _explore(self, message: dict[str, Any]) -> bool | None:
        """Read a frame that begins an episode. Raises InvalidPayload."""
        message.pop(self._options.field or "", None)
        request: ResetRequest = _parse(ResetRequest, message)
        return request.explore

    async def _finish(self, message: dict[str, Any]) -> dict[str, Any]:
        if self._chunk > 1:
            expected = "none on a stream with chunks: nobody observed what the held actions did"
            raise InvalidData("success", expected, describe(message["success"]))
        message.pop(self._options.field or "", None)
        request = _parse(FinishRequest, message)
        spec = self._actor.model.spec
        observation = to_observation(request.observation, spec)
        steps = EpisodeBuilder(0) if self._episode is None else self._episode.steps
        trial = spec.check(steps.finish(observation, request.reward, request.success))
        after = await run_in_threadpool(self._adaptations.learn, self._actor.adaptation, "trial", [trial])
        self._actor, self._episode = replace(self._actor, adaptation=after), None
        return {"finished": True, "version": after.version, "n_trials": after.n_trials, "steps": len(trial)}

    def _read(self, message: dict[str, Any], started_s: float) -> _Asked:
        """Read our frame, or openpi's. Raises InvalidData, InvalidPayload."""
        mark, spec, reward = self._rule.mark_of(message), self._actor.model.spec, None
        if "observation" in message and not (spec.composite and message.keys() - _FIELDS):
            value = message["observation"]
            if len(message) > 1:
                request = _parse(StepRequest, message)
                value, reward = request.observation, request.reward
        else:
            value = _openpi_observation(message, spec)
        observation = to_observation(value, spec)
        return _Asked(observation, reward, mark, started_s, (time.perf_counter() - started_s) * 1e3)


def _reset_response(episode: _Episode) -> dict[str, Any]:
    return {"reset": True, "version": episode.version, "explore": episode.explore}


def _openpi_observation(message: Mapping[str, Any], spec: Spec) -> Any:
    """Return the observation in a frame of openpi's clients. Raises InvalidData.

    It is the one array of the model's shape, or the parts that the model reads: what a client says besides, such as its
    prompt, is not for this model.
    """
    if spec.composite:
        return {key: value for key, value in message.items() if key in spec.top_names}
    shape = spec.observation_layout[1]
    arrays = [value for value in message.values() if isinstance(value, np.ndarray) and value.shape == shape]
    if len(arrays) != 1 or not _FIELDS.isdisjoint(message):
        got = ", ".join(f"{key}: {describe(value)}" for key, value in sorted(message.items())[:8])
        expected = f"`observation`, or one array of shape {list(shape)} under a name of your own"
        raise InvalidData("observation", expected, got or "an empty map")
    return arrays[0]


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
