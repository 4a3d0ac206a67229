"""What an episode of one kind of task looks like: spaces, horizon, control rate.

The one place that checks an episode against its spaces, and that makes an example of one.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from gymnasium import spaces

from metalearn.data.episode import Array, Episode
from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.data.names import refuse_unknown
from metalearn.data.values import components

_FIELDS = ("observation_space", "action_space", "horizon", "rate_hz", "version")
_SPACES = {"box": ("type", "shape", "low", "high", "dtype"), "discrete": ("type", "n", "start")}
_MOST_COMPONENTS = 2**23
"""Numbers in one observation: a spec of a few bytes must not take the memory of the machine that reads it."""


def observation_vectors(observations: Array) -> Array:
    """A copy of observations `[n, *o]` as float32 vectors `[n, o]`: how everything but their encoders hands them on."""
    return observations.reshape(len(observations), -1).astype(np.float32)


@dataclass(frozen=True)
class Spec:
    """Spaces, horizon (most steps an episode may have), control rate in Hz, version of the meaning."""

    observation_space: spaces.Box
    action_space: spaces.Box | spaces.Discrete[Any]
    horizon: int
    rate_hz: float
    version: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.observation_space, spaces.Box):
            got = type(self.observation_space).__name__
            raise InvalidConfig(f"observation space: expected Box, got {got}")
        if not isinstance(self.action_space, spaces.Box | spaces.Discrete):
            raise InvalidConfig(f"action space: expected Box or Discrete, got {type(self.action_space).__name__}")
        if isinstance(self.action_space, spaces.Box) and len(self.action_space.shape) != 1:
            raise InvalidConfig(f"action space: expected a Box of shape [a], got {self.action_space.shape}")
        for name, box in (("observation", self.observation_space), ("action", self.action_space)):
            if isinstance(box, spaces.Box) and not np.prod(box.shape):
                raise InvalidConfig(f"{name} space: expected at least one component, got shape {list(box.shape)}")
            if isinstance(box, spaces.Box) and not np.all(box.low <= box.high):
                raise InvalidConfig(f"{name} space: expected low <= high, got low {box.low} and high {box.high}")
        if self.horizon < 1:
            raise InvalidConfig(f"horizon: expected at least 1, got {self.horizon}")
        if not 0 < self.rate_hz < np.inf:
            raise InvalidConfig(f"rate_hz: expected a positive number, got {self.rate_hz}")

    @property
    def observation_size(self) -> int:
        """o, the numbers in one observation."""
        return int(np.prod(self.observation_space.shape))

    @property
    def discrete(self) -> bool:
        """Whether actions are integers."""
        return isinstance(self.action_space, spaces.Discrete)

    @property
    def action_size(self) -> int:
        """a: components of a continuous action, or the number of discrete actions."""
        if isinstance(self.action_space, spaces.Discrete):
            return int(self.action_space.n)
        return int(self.action_space.shape[0])

    def fit(self, episode: Episode) -> Episode:
        """The episode as one of this kind, checked: how everything that comes from outside meets its spaces.

        An action of one component may come without its axis (`[t]`), a discrete one with it (`[t, 1]`) or as whole
        floats, and a state as uint8.

        Raises:
            InvalidData: naming field, expected and got.
        """
        return self.check(self._shaped(episode))

    def clip(self, episode: Episode) -> Episode:
        """The episode with its actions moved into the bounds of a Box; the same object if they are inside already."""
        shaped = self._shaped(episode)
        if not isinstance(self.action_space, spaces.Box) or shaped.actions is None:
            return episode
        if shaped.actions.shape[1:] != self.action_space.shape:
            return episode  # `fit` says what is wrong with it
        inside = np.clip(shaped.actions, self.action_space.low, self.action_space.high).astype(np.float32)
        return episode if np.array_equal(inside, shaped.actions) else replace(shaped, actions=inside)

    def _shaped(self, episode: Episode) -> Episode:
        observations, actions = episode.observations, episode.actions
        if observations.dtype == np.uint8 and self.observation_space.dtype != np.uint8:
            observations = observations.astype(np.float32)
        if actions is not None:
            actions = self._fit_actions(actions)
        if observations is episode.observations and actions is episode.actions:
            return episode
        return replace(episode, observations=observations, actions=actions)

    def _fit_actions(self, actions: Array) -> Array:
        if not self.discrete:
            return components(actions).astype(np.float32) if actions.ndim == 1 else actions
        if actions.ndim == 2 and actions.shape[1] == 1 and bool((actions == np.floor(actions)).all()):
            return actions[:, 0].astype(np.int64)
        return actions

    def check(self, episode: Episode) -> Episode:
        """Return `episode` if it is one of this kind.

        Raises:
            InvalidData: naming field, expected and got.
        """
        if len(episode) > self.horizon:
            raise InvalidData("observations", f"at most {self.horizon} steps", f"{len(episode)} steps")
        self.check_observations(episode.observations)
        if episode.actions is not None:
            self._check_actions(episode.actions)
        return episode

    def check_observations(self, observations: Array) -> Array:
        """Return `[n, *o]` observations if they have this spec's shape. Raises InvalidData."""
        shape = self.observation_space.shape
        if observations.shape[1:] != shape:
            raise InvalidData("observations", f"shape [n, {_join(shape)}]", f"shape {list(observations.shape)}")
        if self.observation_space.dtype == np.uint8 and observations.dtype != np.uint8:
            raise InvalidData("observations", "uint8", str(observations.dtype))
        return observations

    def _check_actions(self, actions: Array) -> None:
        if isinstance(self.action_space, spaces.Discrete):
            low, n = int(self.action_space.start), int(self.action_space.n)
            if actions.ndim != 1 or actions.dtype.kind != "i":
                raise InvalidData("actions", "[t] integers", f"{actions.dtype} of shape {list(actions.shape)}")
            wrong = (actions < low) | (actions >= low + n)
            expected = f"integers from {low} to {low + n - 1}"
        else:
            if actions.shape[1:] != self.action_space.shape:
                shape = _join(self.action_space.shape)
                raise InvalidData("actions", f"shape [t, {shape}]", f"shape {list(actions.shape)}")
            slack = _slack(self.action_space)
            wrong = (actions < self.action_space.low - slack) | (actions > self.action_space.high + slack)
            expected = "values within the action space"
        if wrong.any():
            where = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise InvalidData("actions", expected, f"{actions[where]} at {list(where)}")

    def example_episode(self, rng: np.random.Generator, n_steps: int | None = None) -> Episode:
        """A random episode that `check` accepts: for tests, documentation and first requests."""
        n = n_steps or min(self.horizon, 5)
        box = self.observation_space
        if box.dtype == np.uint8:
            observations: Any = rng.integers(box.low, box.high, (n + 1, *box.shape), dtype=np.uint8, endpoint=True)
        else:
            observations = rng.uniform(*_usual(box), (n + 1, *box.shape))
        if isinstance(self.action_space, spaces.Discrete):
            start = int(self.action_space.start)
            actions: Array = rng.integers(start, start + int(self.action_space.n), n)
        else:
            actions = rng.uniform(*_usual(self.action_space), (n, self.action_size))
        return self.check(Episode.of(observations, actions, np.zeros(n), True))

    @classmethod
    def of_episodes(cls, episodes: Sequence[Episode], rate_hz: float, horizon: int | None = None) -> "Spec":
        """The spec of recordings that nobody described: actions are bounded by those that were recorded.

        Raises:
            InvalidData: episodes of several kinds, or none with actions.
        """
        done = [episode.actions for episode in episodes if episode.actions is not None]
        if not done:
            raise InvalidData("episodes", "actions to imitate", "none in any episode")
        seen = [episode.observations for episode in episodes]
        for name, arrays in (("observations", seen), ("actions", done)):
            kind = str(arrays[0].dtype), arrays[0].shape[1:]
            for array in arrays:
                if (str(array.dtype), array.shape[1:]) != kind:
                    got = f"{array.dtype} of shape [{_join(array.shape[1:])}]"
                    raise InvalidData(f"episodes.{name}", f"{kind[0]} of shape [{_join(kind[1])}], as in others", got)
        actions = np.concatenate(done)
        low, high = actions.min(0), actions.max(0)
        action_space: spaces.Box | spaces.Discrete[Any] = (
            spaces.Discrete(int(high - low) + 1, start=int(low)) if actions.dtype.kind == "i" else spaces.Box(low, high)
        )
        pictures = seen[0].dtype == np.uint8
        lowest, highest = (0, 255) if pictures else (-np.inf, np.inf)
        observation_space = spaces.Box(lowest, highest, seen[0].shape[1:], np.uint8 if pictures else np.float32)
        return cls(observation_space, action_space, horizon or max(map(len, episodes)), rate_hz)

    def to_json(self) -> dict[str, Any]:
        """A JSON value that `from_json` turns into an equal spec. Infinite bounds become null."""
        return {
            "observation_space": _box_to_json(self.observation_space),
            "action_space": {
                "type": "discrete",
                "n": int(self.action_space.n),
                "start": int(self.action_space.start),
            }
            if isinstance(self.action_space, spaces.Discrete)
            else _box_to_json(self.action_space),
            "horizon": self.horizon,
            "rate_hz": self.rate_hz,
            "version": self.version,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Spec":
        """The spec that `to_json` wrote. Raises InvalidConfig."""
        _has_fields("spec", value, _FIELDS)
        action_space = _space_from_json("action_space", value["action_space"], "box", "discrete")
        observation_space = _space_from_json("observation_space", value["observation_space"], "box")
        horizon, version = (_whole(name, value[name]) for name in ("horizon", "version"))
        rate_hz = value["rate_hz"]
        if isinstance(rate_hz, bool) or not isinstance(rate_hz, int | float) or rate_hz > sys.float_info.max:
            raise InvalidConfig(f"rate_hz: expected a positive number, got {rate_hz!r:.80}")
        return cls(observation_space, action_space, horizon, float(rate_hz), version)


def _has_fields(what: str, value: object, fields: Sequence[str]) -> None:
    """Do nothing if a value is an object with these fields and no others. Raises InvalidConfig."""
    if not isinstance(value, dict):
        raise InvalidConfig(f"{what}: expected an object, got {type(value).__name__}")
    try:
        refuse_unknown(value, fields)
    except InvalidData as error:
        raise InvalidConfig(f"{what}.{error}") from error
    if missing := [name for name in fields if name not in value]:
        raise InvalidConfig(f"{what}.{missing[0]}: expected a value, got none")


def _whole(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**63:
        raise InvalidConfig(f"{name}: expected an integer, got {value!r:.80}")
    return value


def _usual(box: spaces.Box) -> tuple[Array, Array]:
    """Bounds within those of a box, of numbers of a usual size: of -1 .. 1 if it has any of these, else its own."""
    low, high = box.low.astype(np.float64), box.high.astype(np.float64)
    usual = (low <= 1) & (high >= -1)
    beside = np.where(np.isfinite(low), low, high - 1), np.where(np.isfinite(high), high, low + 1)
    return np.where(usual, np.maximum(low, -1), beside[0]), np.where(usual, np.minimum(high, 1), beside[1])


def _slack(box: spaces.Box) -> Array:
    """What float32 and round trips through JSON and robot drivers may add to an action, in its own unit."""
    low, high = (np.where(np.isfinite(bound), bound, 0).astype(np.float64) for bound in (box.low, box.high))
    bounded = np.isfinite(box.low) & np.isfinite(box.high)
    rounding: Array = 4 * np.finfo(np.float32).eps * np.maximum(np.abs(low), np.abs(high))
    return rounding + np.where(bounded, 1e-4 * (high - low) / 2, 0)


def _join(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))


def _box_to_json(box: spaces.Box) -> dict[str, Any]:
    def bounds(values: Array) -> float | list[Any] | None:
        if np.all(values == values.flat[0]):
            return float(values.flat[0]) if np.isfinite(values.flat[0]) else None
        return [float(v) if np.isfinite(v) else None for v in values.ravel()]

    return {
        "type": "box",
        "shape": list(box.shape),
        "low": bounds(box.low),
        "high": bounds(box.high),
        "dtype": str(np.dtype(box.dtype)),
    }


def _space_from_json(name: str, value: object, *types: str) -> Any:
    """The space that `to_json` described. Raises InvalidConfig."""
    kind = value.get("type") if isinstance(value, dict) else None
    if not isinstance(value, dict) or kind not in types:
        raise InvalidConfig(f"{name}: expected an object whose type is {' or '.join(types)}, got {value!r:.80}")
    _has_fields(name, value, _SPACES[kind])
    try:
        return _box_from_json(name, value) if kind == "box" else spaces.Discrete(value["n"], start=value["start"])
    except InvalidConfig:
        raise
    except (TypeError, ValueError, OverflowError, AssertionError) as error:
        raise InvalidConfig(f"{name}: expected a {kind} space, got {' '.join(str(error).split())[:200]}") from error


def _box_from_json(name: str, value: Mapping[str, Any]) -> spaces.Box:
    sizes = value["shape"] if isinstance(value["shape"], list) else [value["shape"]]
    shape = tuple(_whole(f"{name}.shape", size) for size in sizes)
    if not all(0 <= size <= _MOST_COMPONENTS for size in shape) or math.prod(shape) > _MOST_COMPONENTS:
        raise InvalidConfig(f"{name}.shape: expected at most {_MOST_COMPONENTS} components, got {sizes!r:.80}")
    dtype = np.dtype(value["dtype"])
    if dtype.kind not in "iuf":
        raise InvalidConfig(f"{name}.dtype: expected integers or floats, got {dtype}")

    def bounds(end: str, missing: float) -> Array:
        given = value[end]
        if not isinstance(given, list):
            return np.full(shape, missing if given is None else given).astype(dtype)
        if len(given) != math.prod(shape):
            raise InvalidConfig(f"{name}.{end}: expected one number or {math.prod(shape)}, got {len(given)}")
        return np.array([missing if v is None else v for v in given]).reshape(shape).astype(dtype)

    return spaces.Box(bounds("low", -np.inf), bounds("high", np.inf), shape, dtype.type)
