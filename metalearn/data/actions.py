"""Actions as Gymnasium's spaces describe them: numbers within bounds, one choice, or several choices at once.

Does not know episodes or networks.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from gymnasium import spaces

from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.data.spaces import check_bounds, check_choices, choices, usual
from metalearn.data.values import Array


@dataclass(frozen=True)
class Actions:
    """The actions of a space: float32 `[t, *a]` of a Box, else int64: `[t]` of Discrete, `[t, k]` of k choices at once.

    Raises:
        InvalidConfig: another space, one of no component, or one of impossible bounds.
    """

    space: Any

    def __post_init__(self) -> None:
        if not isinstance(self.space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
            got = type(self.space).__name__
            raise InvalidConfig(f"action space: expected Box, Discrete, MultiDiscrete or MultiBinary, got {got}")
        if 0 in self.shape:
            raise InvalidConfig(f"action space: expected at least one component, got shape {list(self.shape)}")
        check_bounds("action space", self.space)

    @property
    def discrete(self) -> bool:
        """Whether they are integers."""
        return not isinstance(self.space, spaces.Box)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one action: `()` for Discrete, `(k,)` for k choices at once, `(a,)` for most boxes."""
        return tuple(self.space.shape)

    @property
    def n_components(self) -> int:
        """The numbers in one action."""
        return math.prod(self.shape)

    @cached_property
    def choices(self) -> tuple[int, ...]:
        """How many choices each component has; none if they are continuous."""
        return tuple(choices(self.space)[1].ravel().tolist()) if self.discrete else ()

    @cached_property
    def lowest(self) -> Array:
        """The lowest choice of each component, `[*shape]`."""
        return choices(self.space)[0]

    @property
    def size(self) -> int:
        """a: what networks have for an action, a number for each component, or for each choice of each component."""
        return sum(self.choices) if self.discrete else self.n_components

    def fit(self, actions: Array) -> Array:
        """The actions `[t, *shape]` that were meant; the same array where nothing has to change.

        One component comes with or without its axis, and choices may be whole floats.
        """
        if actions.shape[1:] != self.shape and math.prod(actions.shape[1:]) == self.n_components == 1:
            actions = actions.reshape(len(actions), *self.shape)
        if not self.discrete:
            return actions.astype(np.float32) if actions.dtype.kind == "i" else actions
        exact = actions.dtype.kind == "i" or bool((actions == np.floor(actions)).all())
        return actions.astype(np.int64, copy=False) if exact else actions

    def check(self, actions: Array) -> None:
        """Do nothing if these `[t, *shape]` actions are in the space, but for rounding. Raises InvalidData."""
        shape = f"[{', '.join(map(str, ('t', *self.shape)))}]"
        if self.discrete:
            if actions.shape[1:] != self.shape or actions.dtype.kind != "i":
                raise InvalidData("actions", f"{shape} integers", f"{actions.dtype} of shape {list(actions.shape)}")
            check_choices("actions", actions, self.space)
            return
        if actions.shape[1:] != self.shape:
            raise InvalidData("actions", f"shape {shape}", f"shape {list(actions.shape)}")
        slack = _slack(self.space)
        wrong = (actions < self.space.low - slack) | (actions > self.space.high + slack)
        if wrong.any():
            where = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise InvalidData("actions", "values within the action space", f"{actions[where]} at {list(where)}")

    def clip(self, actions: Array) -> Array:
        """The actions moved into the bounds of a Box; the same array if they are inside already, or of another kind."""
        if self.discrete or actions.shape[1:] != self.shape:
            return actions  # `check` says what is wrong with them
        inside: Array = np.clip(actions, self.space.low, self.space.high).astype(np.float32)
        return actions if np.array_equal(inside, actions) else inside

    def example(self, rng: np.random.Generator, n: int) -> Array:
        """Random actions `[n, *shape]`, of numbers of a usual size."""
        size = (n, *self.shape)
        if not self.discrete:
            return rng.uniform(*usual(self.space), size)
        low, counts = choices(self.space)
        return rng.integers(low, low + counts, size)


def space_of_actions(actions: Array) -> Any:
    """The space that holds recorded actions `[t, *a]` and no more."""
    low, high = actions.min(0), actions.max(0)
    if actions.dtype.kind != "i":
        return spaces.Box(low, high)
    if actions.ndim == 1:
        return spaces.Discrete(int(high - low) + 1, start=int(low))
    return spaces.MultiDiscrete(high - low + 1, start=low)


def _slack(box: spaces.Box) -> Array:
    """What float32 and round trips through JSON and robot drivers may add to an action, in its own unit."""
    low, high = (np.where(np.isfinite(bound), bound, 0).astype(np.float64) for bound in (box.low, box.high))
    bounded = np.isfinite(box.low) & np.isfinite(box.high)
    rounding = 4 * np.finfo(np.float32).eps * np.maximum(np.abs(low), np.abs(high))
    return np.asarray(rounding + np.where(bounded, 1e-4 * (high - low) / 2, 0))
