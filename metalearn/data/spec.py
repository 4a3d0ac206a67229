"""What an episode of one kind of task looks like: spaces, horizon, control rate.

The one place that checks an episode against its spaces, and that makes an example of one.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from jaxtyping import Float32

from metalearn.data.actions import Actions, space_of_actions
from metalearn.data.episode import Array, Episode
from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.data.names import refuse_unknown
from metalearn.data.parts import SEPARATOR, joined, split
from metalearn.data.space_json import has_fields, space_from_json, space_to_json, whole
from metalearn.data.spaces import Part, composite, in_parts, layout_of, parts_of

_FIELDS = ("observation_space", "action_space", "horizon", "rate_hz", "version")
RATE_HZ = 20.0
"""Of environments that do not say how fast they are."""
BULKY = 1024  # bytes of an observation with pictures, from which on compressing it is worth the time


@dataclass(frozen=True)
class Spec:
    """What an episode of one kind of task looks like.

    Attributes:
        observation_space: of parts that networks read (`metalearn.data.spaces.parts_of`).
        action_space: Box, Discrete, MultiDiscrete or MultiBinary, of any shape.
        horizon: the most steps that an episode may have.
        rate_hz: steps per second.
        version: of the meaning.

    Raises:
        InvalidConfig: naming field, expected and got.
    """

    observation_space: spaces.Space[Any]
    action_space: spaces.Space[Any]
    horizon: int
    rate_hz: float
    version: int = 1

    def __post_init__(self) -> None:
        assert self.parts and self.actions  # which check the spaces
        if self.horizon < 1:
            raise InvalidConfig(f"horizon: expected at least 1, got {self.horizon}")
        if not 0 < self.rate_hz < np.inf:
            raise InvalidConfig(f"rate_hz: expected a positive number, got {self.rate_hz}")

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The parts of an observation, in the order of their numbers."""
        return parts_of(self.observation_space)

    @cached_property
    def observation_layout(self) -> tuple[np.dtype[Any], tuple[int, ...]]:
        """Dtype and shape of one observation: `np.zeros((n, *shape), dtype)` has room for n of them."""
        return layout_of(self.observation_space)

    @property
    def pictures(self) -> tuple[Part, ...]:
        """The parts that have the shape of a picture."""
        return tuple(part for part in self.parts if part.kind == "image")

    @cached_property
    def bulky(self) -> bool:
        """Whether observations hold pictures so large that episodes which wait in memory are better compressed."""
        dtype, shape = self.observation_layout
        return bool(self.pictures) and dtype.itemsize * math.prod(shape) >= BULKY

    @cached_property
    def composite(self) -> bool:
        """Whether observations are arrays with fields, one per part."""
        return composite(self.observation_space)

    @cached_property
    def top_names(self) -> frozenset[str]:
        """What the outermost mapping of an observation calls its members: whole names of parts, or their beginnings."""
        names = [part.name for part in self.parts]
        return frozenset(names) | {name.partition(SEPARATOR)[0] for name in names}

    @property
    def observation_size(self) -> int:
        """o, the numbers in the vector of one observation."""
        return self.parts[-1].numbers.stop

    @cached_property
    def actions(self) -> Actions:
        """What is known of actions by their space."""
        return Actions(self.action_space)

    @property
    def discrete(self) -> bool:
        """Whether actions are integers."""
        return self.actions.discrete

    @property
    def action_choices(self) -> tuple[int, ...]:
        """How many choices each component of a discrete action has; none for a continuous one."""
        return self.actions.choices

    @property
    def action_size(self) -> int:
        """a: components of a continuous action, or the choices of all components of a discrete one."""
        return self.actions.size

    def fit(self, episode: Episode) -> Episode:
        """The episode as one of this kind, checked: how everything that comes from outside meets its spaces.

        An observation or action of one component may come with or without its axis (`[t]` or `[t, 1]`), a discrete
        action as whole floats, a state as uint8, and a picture as whole numbers from 0 to 255.

        Raises:
            InvalidData: naming field, expected and got.
        """
        return self.check(self.shaped(episode))

    def clip(self, episode: Episode) -> Episode:
        """The episode with its actions moved into the bounds of a Box; the same object if they are inside already."""
        shaped = self.shaped(episode)
        if shaped.actions is None:
            return episode
        inside = self.actions.clip(shaped.actions)
        return episode if inside is shaped.actions else replace(shaped, actions=inside)

    def as_array(self, observations: Any) -> Array:
        """The n observations that a vector environment gave, in one array. Raises InvalidData for other parts."""
        given = in_parts(observations, self.observation_space)
        parts = {part.name: np.asarray(given[part.name], part.dtype) for part in self.parts}
        return joined(parts) if self.composite else parts[""].reshape(-1, *self.parts[0].shape)

    def vector(self, observation: Any) -> Float32[np.ndarray, " o"]:
        """The vector of one observation that an environment gave. Raises InvalidData for other parts."""
        given = in_parts(observation, self.observation_space)
        return np.concatenate([np.ravel(given[part.name]) for part in self.parts], dtype=np.float32)

    def fit_observations(self, observations: Array) -> Array:
        """The observations `[n, *o]` that were meant: pixels as uint8, states as float32, axes of one component."""
        given = split(observations)
        if given.keys() != {part.name for part in self.parts}:
            return observations  # `check_observations` says what is wrong with them
        fitted = {part.name: part.fit(given[part.name]) for part in self.parts}
        if all(array is given[name] for name, array in fitted.items()):
            return observations
        return joined(fitted) if self.composite else fitted[""]

    def shaped(self, episode: Episode) -> Episode:
        """The episode in the shapes and dtypes of this spec, where it can be; not checked."""
        observations, actions = self.fit_observations(episode.observations), episode.actions
        if actions is not None:
            actions = self.actions.fit(actions)
        if observations is episode.observations and actions is episode.actions:
            return episode
        return replace(episode, observations=observations, actions=actions)

    def check(self, episode: Episode) -> Episode:
        """Return `episode` if it is one of this kind.

        Raises:
            InvalidData: naming field, expected and got.
        """
        if len(episode) > self.horizon:
            raise InvalidData("observations", f"at most {self.horizon} steps", f"{len(episode)} steps")
        self.check_observations(episode.observations)
        if episode.actions is not None:
            self.actions.check(episode.actions)
        return episode

    def check_observations(self, observations: Array) -> Array:
        """Return `[n, *o]` observations if they have the parts of this spec, and those their shapes.

        Raises:
            InvalidData: naming the part (`observations.camera`), expected and got.
        """
        given = split(observations)
        if self.composite and not observations.dtype.names:
            names = ", ".join(part.name for part in self.parts)
            raise InvalidData("observations", f"the parts {names}", f"one array of shape {list(observations.shape)}")
        if not self.composite and observations.dtype.names:
            shape = _join(("n", *self.parts[0].shape))
            raise InvalidData("observations", f"one array of shape [{shape}]", f"the parts {', '.join(given)}")
        if self.composite:
            refuse_unknown_parts(given, self.parts)
        for part in self.parts:
            part.check(given[part.name])
        return observations

    def example_episode(self, rng: np.random.Generator, n_steps: int | None = None) -> Episode:
        """A random episode that `check` accepts: for tests, documentation and first requests."""
        n = n_steps or min(self.horizon, 5)
        seen = {part.name: part.example(rng, n + 1) for part in self.parts}
        actions = self.actions.example(rng, n)
        return self.fit(Episode.of(seen if self.composite else seen[""], actions, np.zeros(n), True))

    @classmethod
    def of_env(cls, env: gym.Env[Any, Any], horizon: int | None = None, rate_hz: float | None = None) -> "Spec":
        """The spec of an environment as Gymnasium registers it.

        Args:
            env: with its spaces.
            horizon: the most steps of an episode; those of `env.spec.max_episode_steps` if absent.
            rate_hz: steps per second; `env.metadata["render_fps"]` if absent, and RATE_HZ without that.

        Raises:
            InvalidConfig: a space that no network reads, or a horizon that nobody gives.
        """
        horizon = horizon or getattr(env.spec, "max_episode_steps", None)
        if horizon is None:
            raise InvalidConfig(
                f"horizon: expected the most steps of an episode, got none: {env} has no spec.max_episode_steps"
            )
        rate = rate_hz or env.metadata.get("render_fps") or RATE_HZ
        return cls(env.observation_space, env.action_space, int(horizon), float(rate))

    @classmethod
    def of_episodes(cls, episodes: Sequence[Episode], rate_hz: float, horizon: int | None = None) -> "Spec":
        """The spec of recordings that nobody described: actions are bounded by those that were recorded.

        Raises:
            InvalidData: episodes of several kinds, or none with actions.
        """
        done = [episode.actions for episode in episodes if episode.actions is not None]
        if not done:
            raise InvalidData("episodes", "actions to imitate", "none in any episode")
        seen = [split(episode.observations) for episode in episodes]
        for given in seen:
            if given.keys() != seen[0].keys():
                expected = f"the parts {', '.join(seen[0])}, as in others"
                raise InvalidData("episodes.observations", expected, ", ".join(given))
        parts: dict[str, spaces.Space[Any]] = {name: _box_of(name, [given[name] for given in seen]) for name in seen[0]}
        observation_space = parts[""] if "" in parts else spaces.Dict(parts)
        _alike("episodes.actions", done)
        action_space = space_of_actions(np.concatenate(done))
        return cls(observation_space, action_space, horizon or max(map(len, episodes)), rate_hz)

    def to_json(self) -> dict[str, Any]:
        """A JSON value that `from_json` turns into an equal spec. Infinite bounds become null."""
        return {
            "observation_space": space_to_json(self.observation_space),
            "action_space": space_to_json(self.action_space),
            "horizon": self.horizon,
            "rate_hz": self.rate_hz,
            "version": self.version,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Spec":
        """The spec that `to_json` wrote. Raises InvalidConfig."""
        has_fields("spec", value, _FIELDS)
        action_space = space_from_json("action_space", value["action_space"], nested=False)
        observation_space = space_from_json("observation_space", value["observation_space"])
        horizon, version = (whole(name, value[name]) for name in ("horizon", "version"))
        rate_hz = value["rate_hz"]
        if isinstance(rate_hz, bool) or not isinstance(rate_hz, int | float) or rate_hz > sys.float_info.max:
            raise InvalidConfig(f"rate_hz: expected a positive number, got {rate_hz!r:.80}")
        return cls(observation_space, action_space, horizon, float(rate_hz), version)


def refuse_unknown_parts(given: Mapping[str, Array], parts: Sequence[Part]) -> None:
    """Do nothing if there are these parts and no others. Raises InvalidData, naming the first that is not."""
    try:
        refuse_unknown(given, [part.name for part in parts])
    except InvalidData as error:
        raise error.within("observations") from error
    if missing := [part for part in parts if part.name not in given]:
        raise InvalidData(missing[0].field, "a value", "none")


def _box_of(name: str, arrays: Sequence[Array]) -> spaces.Box:
    """The space of a part of recorded observations: pictures have bounds."""
    _alike(f"episodes.observations.{name}" if name else "episodes.observations", arrays)
    shape = arrays[0].shape[1:]
    if arrays[0].dtype == np.uint8:
        return spaces.Box(0, 255, shape, np.uint8)
    return spaces.Box(-np.inf, np.inf, shape, np.float32)


def _alike(field: str, arrays: Sequence[Array]) -> None:
    """Do nothing if arrays differ in length alone. Raises InvalidData."""
    dtype, shape = arrays[0].dtype, arrays[0].shape[1:]
    for array in arrays:
        if (array.dtype, array.shape[1:]) != (dtype, shape):
            got = f"{array.dtype} of shape [{_join(array.shape[1:])}]"
            raise InvalidData(field, f"{dtype} of shape [{_join(shape)}], as in others", got)


def _join(shape: Sequence[object]) -> str:
    return ", ".join(map(str, shape))
