"""Push with a demonstration to another goal: how the puck is pushed is shown, where to is not; only trials tell.

Tasks come in groups with one demonstration; each task has a goal of its own, the one that `Push` has at the
same index. Knows nothing of the physics.
"""

import zlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from metalearn.tasks.envs.metaworld.push_and_pick import Push

GROUP = 10
"""Consecutive tasks that share what is demonstrated."""

HORIZON = 100
"""Shorter than `Push`'s, whose expert needs 90 at most: a failed attempt runs to the horizon."""


@dataclass(frozen=True)
class PushBlind(Push):
    """push-v3 with a demonstration to a goal that was drawn independently of the hidden one."""

    name: str = "push-blind"
    horizon: int = HORIZON

    def shown_goal(self, index: int) -> Float64[np.ndarray, "3"]:
        """Where the puck goes in the demonstrations of task `index`: the same place in all tasks of its group,
        drawn independently of their goals. Raises InvalidConfig.
        """
        goal = self.goal(index)
        rng = np.random.default_rng((zlib.crc32(b"push-blind demonstrations"), index // GROUP))
        goal[:2] = rng.uniform(self.goal_low, self.goal_high)[:2]
        return goal

    def sibling(self, index: int, rng: np.random.Generator) -> int:
        """A task with the same demonstrations; its goal is independent of task `index`'s."""
        other = int(rng.integers(GROUP - 1))
        first = index - index % GROUP
        return first + other + (first + other >= index)


@dataclass(frozen=True)
class PushBlindStrict(PushBlind):
    """The tasks of `PushBlind` with half its radius: more places to try."""

    name: str = "push-blind-strict"
    radius: float = 0.025


@dataclass(frozen=True)
class PushBlindDense(PushBlind):
    """The tasks of `PushBlind` with a reward at every step: how far the puck still is from the goal."""

    name: str = "push-blind-dense"

    def rewards(
        self, distances: Float64[np.ndarray, " b"], solved: Bool[np.ndarray, " b"]
    ) -> Float64[np.ndarray, " b"]:
        """The negative distance of the puck from the goal, in metres; solving the task adds nothing."""
        return -distances
