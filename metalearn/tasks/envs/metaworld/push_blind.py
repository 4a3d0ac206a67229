"""Push with a demonstration to a different goal: it shows how to push, and only trials reveal the goal.

The tasks of a group share their demonstrations. Each task has a goal of its own, the same as in `Push` at that index.
Knows nothing of the physics.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int

from metalearn.tasks.envs.metaworld.push_and_pick import PuckVectorEnv, Push
from metalearn.tasks.family import Scene

GROUP = 10
"""Number of consecutive tasks that share their demonstrations."""

HORIZON = 100
"""Most steps of an episode, fewer than in `Push`: its expert needs 90, and a failed attempt runs to the end."""


@dataclass(frozen=True)
class PushBlind(Push):
    """push-v3 with a demonstration to a goal drawn independently of the hidden one."""

    name: str = "push-blind"
    horizon: int = HORIZON

    @property
    def n_aims(self) -> int:
        """Two places: with the puck's radius around them they cover most of the goals."""
        return 2

    def aim(self, number: int) -> Float64[np.ndarray, "3"]:
        """Place `number` to push to without knowing the goal: the middle of the left or of the right half."""
        low, high = np.array(self.goal_low), np.array(self.goal_high)
        goal = (low + high) / 2
        goal[0] = low[0] + (number + 0.5) / self.n_aims * (high[0] - low[0])
        goal[2] = self.goal(0)[2]
        return goal

    def make_vec(self, indices: Sequence[int], scene: Scene = "trial") -> "PushBlindVectorEnv":
        """The tasks `indices`, one row each, on simulations from a pool."""
        goal = self.shown_goal if scene == "demo" else self.goal
        return PushBlindVectorEnv(self, np.stack([goal(index) for index in indices]), scene)

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


class PushBlindVectorEnv(PuckVectorEnv):
    """Rows whose expert can also be sent to the family's fixed places."""

    def __init__(self, family: PushBlind, goals: Float64[np.ndarray, "b 3"], scene: Scene) -> None:
        super().__init__(family, goals, scene)
        self._aims = np.stack([family.aim(number) for number in range(family.n_aims)])

    def aimed_actions(self, aims: Int[np.ndarray, " b"]) -> Float32[np.ndarray, "b 4"]:
        """The actions of Meta-World's scripted expert, sent to place `aims[row]` in each row."""
        return self._experts_for(self._aims[aims])
