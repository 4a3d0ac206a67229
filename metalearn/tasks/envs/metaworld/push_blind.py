"""Push with a demonstration to a different goal: it shows how to push, and only trials reveal the goal.

The tasks of a group share their demonstrations. Each task has a goal of its own, the same as in `Push` at that index.
Knows nothing of the physics.
"""

import zlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from metalearn.tasks.envs.metaworld.push_and_pick import Push

GROUP = 10
"""Number of consecutive tasks that share their demonstrations."""

HORIZON = 100
"""Most steps of an episode, fewer than in `Push`: its expert needs 90, and a failed attempt runs to the end."""


@dataclass(frozen=True)
class PushBlind(Push):
    """push-v3 with a demonstration to a goal drawn independently of the hidden one."""

    name: str = "push-blind"
    horizon: int = HORIZON

    def shown_goal(self, index: int) -> Float64[np.ndarray, "3"]:
        """The goal in demonstrations of task `index`. Raises InvalidConfig.

        All tasks of a group have the same one, drawn independently of their own goals.
        """
        goal = self.goal(index)
        rng = np.random.default_rng((zlib.crc32(b"push-blind demonstrations"), index // GROUP))
        goal[:2] = rng.uniform(self.goal_low, self.goal_high)[:2]
        return goal

    def sibling(self, index: int, rng: np.random.Generator) -> int:
        """A task with the same demonstrations as `index` and an independent goal."""
        other = int(rng.integers(GROUP - 1))
        first = index - index % GROUP
        return first + other + (first + other >= index)


@dataclass(frozen=True)
class PushBlindStrict(PushBlind):
    """The tasks of `PushBlind` with half its radius, so with more places to try."""

    name: str = "push-blind-strict"
    radius: float = 0.025


@dataclass(frozen=True)
class PushBlindDense(PushBlind):
    """The tasks of `PushBlind` with a reward at every step, the negative distance from puck to goal."""

    name: str = "push-blind-dense"

    def rewards(
        self, distances: Float64[np.ndarray, " b"], solved: Bool[np.ndarray, " b"]
    ) -> Float64[np.ndarray, " b"]:
        """The negative distances from puck to goal, in metres; solving the task adds nothing."""
        return -distances
