"""Reach in worlds that differ: what an action does is turned by an unknown angle and scaled by an unknown gain.

The demonstrator is somebody else, in the usual world: the demonstration says which objects, never how to move.
Only moving tells that; and only trials tell which of the candidates is meant.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from metalearn.data.episode import Array
from metalearn.tasks.envs.reach import Reach, ReachVectorEnv
from metalearn.tasks.family import Scene

GAINS = (0.5, 1.5)


@dataclass(frozen=True)
class ReachDynamics(Reach):
    """Reach, where a task also has a turn (uniform on the circle) and a gain (uniform in `GAINS`).

    The M tasks of one group share both, as they share their candidates, so siblings differ in the target alone.
    """

    def turn(self, index: int) -> Float[np.ndarray, "2 2"]:
        """What turns and scales the actions of task `index`: gain times a rotation."""
        rng = np.random.default_rng([0xD1A, self.n_objects, self.n_candidates, index // self.n_candidates])
        angle, gain = rng.uniform(0, 2 * np.pi), rng.uniform(*GAINS)
        return gain * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    def make_vec(self, indices: Sequence[int], scene: Scene = "trial") -> ReachVectorEnv:
        """The tasks `indices`, stepped together in numpy."""
        return ReachVectorEnv(self, indices, scene) if scene == "demo" else TurnedVectorEnv(self, indices, scene)


class TurnedVectorEnv(ReachVectorEnv):
    """`turns [b, 2, 2]` take actions to velocities."""

    def __init__(self, family: ReachDynamics, indices: Sequence[int], scene: Scene = "trial") -> None:
        super().__init__(family, indices, scene)
        self.turns = np.stack([family.turn(int(index)) for index in indices]).astype(np.float32)

    def velocities(self, actions: Array, rows: Array) -> Array:
        """`turn @ action` in each of `rows`."""
        return np.einsum("bij,bj->bi", self.turns[rows], actions)

    def expert_actions(self) -> Float[np.ndarray, "b 2"]:
        """The action that gives the velocity wanted, scaled down in its direction where it is out of reach."""
        wanted = super().expert_actions()
        actions = np.linalg.solve(self.turns, wanted[..., None])[..., 0]
        return (actions / np.maximum(1, np.abs(actions).max(-1, keepdims=True))).astype(np.float32)
