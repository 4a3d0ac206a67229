"""Reach with unknown dynamics: every action is rotated by a hidden angle and scaled by a hidden gain.

The demonstrator acts under the usual dynamics, so a demonstration reveals the candidates and nothing about moving.
Moving reveals the dynamics, and only a trial reveals which of the candidates is the target.
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
    """Reach with a rotation (uniform on the circle) and a gain (uniform in `GAINS`) of its own in every task.

    The M tasks of one group share both, as they share their candidates, so siblings differ in the target alone.
    """

    def dynamics(self, index: int) -> Float[np.ndarray, "2 2"]:
        """The matrix from actions to velocities in task `index`: a rotation times the gain."""
        rng = np.random.default_rng([0xD1A, self.n_objects, self.n_candidates, index // self.n_candidates])
        angle, gain = rng.uniform(0, 2 * np.pi), rng.uniform(*GAINS)
        return gain * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    def make_vec(self, indices: Sequence[int], scene: Scene = "trial") -> ReachVectorEnv:
        """The tasks `indices`, stepped together in numpy; demonstrations have the usual dynamics."""
        return ReachVectorEnv(self, indices, scene) if scene == "demo" else ReachDynamicsVectorEnv(self, indices, scene)


class ReachDynamicsVectorEnv(ReachVectorEnv):
    """Reach tasks in lockstep, with a matrix `dynamics [b, 2, 2]` from actions to velocities."""

    def __init__(self, family: ReachDynamics, indices: Sequence[int], scene: Scene = "trial") -> None:
        super().__init__(family, indices, scene)
        self.dynamics = np.stack([family.dynamics(int(index)) for index in indices]).astype(np.float32)

    def velocities(self, actions: Array, rows: Array) -> Array:
        """`dynamics @ action` in each of `rows`."""
        return np.einsum("bij,bj->bi", self.dynamics[rows], actions)

    def expert_actions(self) -> Float[np.ndarray, "b 2"]:
        """The action for the wanted velocity, shortened in its direction where it exceeds the action space."""
        wanted = super().expert_actions()
        actions = np.linalg.solve(self.dynamics, wanted[..., None])[..., 0]
        return (actions / np.maximum(1, np.abs(actions).max(-1, keepdims=True))).astype(np.float32)


def reach_dynamics() -> ReachDynamics:
    """Four objects, two candidates."""
    return ReachDynamics("reach-dynamics", n_objects=4, n_candidates=2)
