"""Episodes on Meta-World's arm, stepped in lockstep: starts, ends, observations and scripted experts.

Knows neither the physics (`arm`, `scenes`) nor the goals and rewards of a family (`push_and_pick`, `ml10`).
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from jaxtyping import Bool, Float32, Float64, Int

from metalearn.data.episode import Array
from metalearn.data.spec import Spec
from metalearn.tasks.envs.metaworld.arm import FRAME_SIZE, HAND_HIGH, HAND_LOW, RATE_HZ, Arms
from metalearn.tasks.family import Scene, TaskVectorEnv

EXTRA_DEMO_STEPS = 20
"""Meta-World's steps by which a demonstration goes on after it has solved the task, to show where the puck stays."""


def metaworld_spec(horizon: int) -> Spec:
    """Observation: 39 numbers (two frames, and zeros in place of Meta-World's goal). Action: 4 numbers."""
    frame_low = np.hstack((HAND_LOW, 0.0, np.full(FRAME_SIZE - 4, -np.inf)))
    frame_high = np.hstack((HAND_HIGH, 1.0, np.full(FRAME_SIZE - 4, np.inf)))
    low = np.hstack((frame_low, frame_low, np.zeros(3))).astype(np.float32)
    high = np.hstack((frame_high, frame_high, np.zeros(3))).astype(np.float32)
    return Spec(
        observation_space=spaces.Box(low, high),
        action_space=spaces.Box(-1.0, 1.0, (4,)),
        horizon=horizon,
        rate_hz=RATE_HZ,
    )


class MetaWorldVectorEnv(TaskVectorEnv):
    """One arm and one hidden goal in each row.

    An episode ends when its task is solved (a demonstration `extra_demo_steps` steps later) or at the horizon.
    """

    def __init__(
        self,
        spec: Spec,
        arms: Arms,
        goals: Float64[np.ndarray, "b 3"],
        scene: Scene,
        extra_demo_steps: int = EXTRA_DEMO_STEPS,
    ) -> None:
        n = len(goals)
        super().__init__(spec, n)
        self.goals = goals
        self._arms = arms
        self._horizon = spec.horizon
        self._extra_steps = extra_demo_steps if scene == "demo" else 0
        self._rngs = [np.random.default_rng() for _ in range(n)]
        self._steps = np.zeros(n, int)
        self._solved_at = np.full(n, -1)
        self._ended = np.ones(n, bool)
        self._experts: Float32[np.ndarray, "b 4"] | None = None

    def _start(self, row: int, rng: np.random.Generator) -> None:
        """Put the objects of a row in their places for a new episode."""
        raise NotImplementedError

    def _reaches_goal(self, rows: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        """Which of `rows` satisfy the success rule of their task in the current state."""
        raise NotImplementedError

    def _rewards(self, rows: Int[np.ndarray, " n"], solved: Bool[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        """The rewards of a step: 1 where the step has solved the task, else 0."""
        return solved.astype(float)

    def _expert(self, row: int, observation: Float64[np.ndarray, "39"]) -> Float32[np.ndarray, "4"]:
        """The scripted expert's action in a row, from an observation with the goal."""
        raise NotImplementedError

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode in every row; a row without a seed goes on with its generator."""
        self.reseed(self._rngs, seed)
        for row, rng in enumerate(self._rngs):
            self._start(row, rng)
        self._steps[:], self._solved_at[:], self._ended[:] = 0, -1, False
        self._experts = None
        return self._observations(), {}

    def step(self, actions: Array) -> tuple[Any, Float32[np.ndarray, " b"], Array, Array, dict[str, Any]]:
        """Step every row that has not ended."""
        rows = np.flatnonzero(~self._ended)
        self._arms.step(rows, actions[rows])
        self._steps[rows] += 1
        solved = self._reaches_goal(rows) & (self._solved_at[rows] < 0)
        self._solved_at[rows[solved]] = self._steps[rows[solved]]
        rewards = np.zeros(self.num_envs, np.float32)
        rewards[rows] = self._rewards(rows, solved)
        success = self._solved_at >= 0
        terminated = success & (self._steps - self._solved_at >= self._extra_steps)
        truncated = ~terminated & (self._steps >= self._horizon)
        self._ended = terminated | truncated
        self._experts = None
        return self._observations(), rewards, terminated, truncated, {"success": success}

    def expert_actions(self) -> Float32[np.ndarray, "b 4"]:
        """The actions of Meta-World's scripted experts, who observe the goals; zeros in rows that have ended."""
        if self._experts is None:
            self._experts = self._experts_for(self.goals)
        return self._experts.copy()

    def _experts_for(self, goals: Float64[np.ndarray, "b 3"]) -> Float32[np.ndarray, "b 4"]:
        """The actions of the scripted experts if the goals were these."""
        experts = np.zeros((self.num_envs, 4), np.float32)
        observations = self._with_goals(goals)
        with warnings.catch_warnings():  # the experts warn of actions beyond 1, which are clipped here
            warnings.simplefilter("ignore")
            for row in np.flatnonzero(~self._ended).tolist():
                experts[row] = self._expert(row, observations[row])
        return np.clip(experts, -1.0, 1.0)

    def _observations(self) -> Any:
        """What is observed in every row, for the caller to keep."""
        return self._with_goals(np.zeros_like(self.goals)).astype(np.float32)

    def _with_goals(self, goals: Float64[np.ndarray, "b 3"]) -> Float64[np.ndarray, "b 39"]:
        return np.hstack((self._arms.frames, self._arms.previous, goals))
