"""The observation and action spaces of a model, as its policy needs them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from metalearn.data.episode import Array
from metalearn.data.errors import InvalidData
from metalearn.data.values import numbers


class ModelSpaces:
    """The spaces in the spec of a model card."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self._shape = tuple(spec["observation_space"]["shape"])
        self._discrete = spec["action_space"]["type"] == "discrete"

    def observed(self, observation: object) -> Array:
        """An observation of an environment, or a batch of them, as an array. Raises InvalidData.

        Where the model observes one number, the environment may leave out its axis: a number, or `[n]`.
        """
        array = numbers("observation", observation, keep_uint8=True)
        if self._shape == (1,) and array.ndim < 2 and array.shape != (1,):
            return array.reshape(1) if array.ndim == 0 else array[:, None]
        return array

    def is_single(self, observation: Array) -> bool:
        """Return True for one observation `[*o]`, False for a batch `[n, *o]`. Raises InvalidData for other shapes."""
        if observation.shape == self._shape:
            return True
        if observation.ndim == len(self._shape) + 1 and observation.shape[1:] == self._shape:
            return False
        expected = ", ".join(map(str, self._shape))
        raise InvalidData("observation", f"shape [{expected}] or [n, {expected}]", f"shape {list(observation.shape)}")

    def to_env_action(self, action: Any) -> Array | int:
        """Convert an action for `env.step`: an int for discrete actions, else an array."""
        return int(action) if self._discrete else np.asarray(action)


def no_open_episode() -> InvalidData:
    """Make the error for finishing an episode that was not started."""
    return InvalidData("episode", "one that was started with reset()", "none")
