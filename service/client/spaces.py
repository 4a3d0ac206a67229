"""The observation and action spaces of a model, as its policy needs them."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from metalearn.data.episode import Array
from metalearn.data.errors import InvalidData
from metalearn.data.parts import SEPARATOR, named
from metalearn.data.values import numbers


class ModelSpaces:
    """The spaces in the spec of a model card."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self._shapes = dict(_shapes(spec["observation_space"]))
        self._one_number = spec["action_space"]["type"] == "discrete"

    def observed(self, observation: object) -> Any:
        """An observation of an environment, or a batch of them, as an array, or one for each part. Raises InvalidData.

        Where the model observes one number, the environment may leave out its axis: a number, or `[n]`.
        """
        if self._composite:
            given = named(observation)
            return {name: numbers(f"observation.{name}", part, keep_uint8=True) for name, part in given.items()}
        array = numbers("observation", observation, keep_uint8=True)
        if self._shapes[""] == (1,) and array.ndim < 2 and array.shape != (1,):
            return array.reshape(1) if array.ndim == 0 else array[:, None]
        return array

    def by_name(self, observation: Any) -> Any:
        """An observation that an environment gives as a tuple, by the names of its parts; others as they are."""
        return named(observation) if self._composite and isinstance(observation, tuple) else observation

    def is_single(self, observation: Any) -> bool:
        """Return True for one observation `[*o]`, False for a batch `[n, *o]`. Raises InvalidData for other shapes."""
        parts = observation if self._composite else {"": observation}
        field = "observation"
        if parts.keys() != self._shapes.keys():
            raise InvalidData(field, f"the parts {', '.join(self._shapes)}", ", ".join(parts) or "none")
        singles = {name: self._is_single(name, part) for name, part in parts.items()}
        if len(set(singles.values())) > 1:
            raise InvalidData(field, "one of every part, or a batch of every part", f"{singles}")
        return next(iter(singles.values()))

    def to_env_action(self, action: Any) -> Array | int:
        """Convert an action for `env.step`: an int for one integer, else an array."""
        return int(action) if self._one_number else np.asarray(action)

    def one_row(self, observation: Any) -> Any:
        """One observation as a batch of one."""
        return {name: part[None] for name, part in observation.items()} if self._composite else observation[None]

    @property
    def _composite(self) -> bool:
        return "" not in self._shapes

    def _is_single(self, name: str, part: Array) -> bool:
        shape = self._shapes[name]
        if part.shape == shape:
            return True
        if part.ndim == len(shape) + 1 and part.shape[1:] == shape:
            return False
        expected, field = ", ".join(map(str, shape)), f"observation.{name}" if name else "observation"
        raise InvalidData(field, f"shape [{expected}] or [n, {expected}]", f"shape {list(part.shape)}")


def _shapes(space: Mapping[str, Any], name: str = "") -> Iterator[tuple[str, tuple[int, ...]]]:
    """The shape of each part by its name; "" where there is one part only."""
    match space["type"]:
        case "dict" | "tuple":
            members = space["spaces"]
            for key, inner in members.items() if isinstance(members, Mapping) else enumerate(members):
                yield from _shapes(inner, f"{name}{SEPARATOR}{key}" if name else str(key))
        case "discrete":
            yield name, () if name else (1,)
        case "multi_discrete":
            yield name, np.shape(space["nvec"])
        case "multi_binary":
            yield name, tuple(np.atleast_1d(space["n"]).tolist())
        case _:
            yield name, tuple(space["shape"])


def no_open_episode() -> InvalidData:
    """Make the error for finishing an episode that was not started."""
    return InvalidData("episode", "one that was started with reset()", "none")
