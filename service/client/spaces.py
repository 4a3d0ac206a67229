"""What a policy knows of a model's spaces: the shape of one observation, and what `env.step` takes."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from metalearn.data.episode import Array
from metalearn.data.errors import InvalidData


class ModelSpaces:
    """The spaces in a model's spec, as a model card has them."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self._shape = tuple(spec["observation_space"]["shape"])
        self._discrete = spec["action_space"]["type"] == "discrete"

    def is_single(self, observation: Array) -> bool:
        """Whether this is one observation `[*o]`, and not a batch `[n, *o]`. Raises InvalidData: it is neither."""
        if observation.shape == self._shape:
            return True
        if observation.ndim == len(self._shape) + 1 and observation.shape[1:] == self._shape:
            return False
        expected = ", ".join(map(str, self._shape))
        raise InvalidData("observation", f"shape [{expected}] or [n, {expected}]", f"shape {list(observation.shape)}")

    def to_env_action(self, action: Any) -> Array | int:
        """What `env.step` takes: an int where actions are discrete."""
        return int(action) if self._discrete else np.asarray(action)


def no_open_episode() -> InvalidData:
    """The error for an episode that is finished and was never begun."""
    return InvalidData("episode", "one that was begun with reset()", "none")
