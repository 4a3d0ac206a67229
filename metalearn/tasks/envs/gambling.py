"""Gambling: three arms, two of which pay well by luck and badly on average. Is an ask for a return about skill?

After Paster, McIlraith and Ba, "You can't count on luck: why decision transformers and RvS fail in stochastic
environments" (2022), section 5.1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from jaxtyping import Float32, Int64

from metalearn.data.episode import Array
from metalearn.data.spec import Spec
from metalearn.tasks.family import SPLITS, Scene, TaskVectorEnv
from metalearn.tasks.single_row import SingleRowEnv

PAYS = ((5.0, -15.0), (1.0, -6.0), (1.0, 1.0))
"""What each arm pays, either with probability 1/2: on average -5, -2.5 and 1."""
SAFE = 2


@dataclass(frozen=True)
class Gambling:
    """One choice between three arms; every task is the same, and a success is to have chosen the safe one."""

    name: str = "gambling"
    version: int = 1

    @property
    def spec(self) -> Spec:
        """Observation: the number 1. Action: which arm."""
        space = spaces.Box(0.0, 1.0, (1,), np.float32)
        return Spec(space, spaces.Discrete(len(PAYS)), horizon=1, rate_hz=1.0)

    @property
    def splits(self) -> Mapping[str, range]:
        """Every index within `SPLITS` is a task."""
        return SPLITS

    def make(self, index: int, scene: Scene = "trial", render_mode: str | None = None) -> gym.Env[Any, Any]:
        """Task `index` as a Gymnasium environment."""
        return SingleRowEnv(self, index, scene, render_mode)

    def make_vec(self, indices: Sequence[int], scene: Scene = "trial") -> "GamblingVectorEnv":
        """The tasks `indices`, one row each."""
        return GamblingVectorEnv(self.spec, len(indices))


class GamblingVectorEnv(TaskVectorEnv):
    """b gamblers, each of whom chooses once."""

    def __init__(self, spec: Spec, n_tasks: int) -> None:
        super().__init__(spec, n_tasks)
        self._rngs = [np.random.default_rng() for _ in range(n_tasks)]
        self._ended = np.ones(n_tasks, bool)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Let every row choose again."""
        self.reseed(self._rngs, seed)
        self._ended[:] = False
        return self._observations(), {}

    def step(self, actions: Array) -> tuple[Array, Float32[np.ndarray, " b"], Array, Array, dict[str, Any]]:
        """Pay, and end."""
        luck = np.array([rng.integers(2) for rng in self._rngs])
        paid = np.array(PAYS)[actions, luck] * ~self._ended
        success = (actions == SAFE) & ~self._ended
        self._ended[:] = True
        return self._observations(), paid.astype(np.float32), self._ended.copy(), ~self._ended, {"success": success}

    def expert_actions(self) -> Int64[np.ndarray, " b"]:
        """The safe arm."""
        return np.full(self.num_envs, SAFE)

    def _observations(self) -> Float32[np.ndarray, "b 1"]:
        return np.ones((self.num_envs, 1), np.float32)
