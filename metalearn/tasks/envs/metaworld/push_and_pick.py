"""Push and pick-place of Meta-World as families: a task is a hidden goal, the puck's place is drawn anew in
every episode, and the reward is sparse. The puck's place never depends on the goal, so a start tells nothing.

Knows goals, rewards and experts; the physics is in `sawyer`.
"""

import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from jaxtyping import Bool, Float32, Float64

from metalearn.data.episode import Array
from metalearn.data.errors import InvalidConfig
from metalearn.data.spec import Spec
from metalearn.tasks.envs.metaworld.arm import FRAME, HAND_HIGH, HAND_LOW, RATE_HZ, Arms, load_table
from metalearn.tasks.envs.metaworld.view import View, make_view
from metalearn.tasks.family import SPLITS, Scene, TaskVectorEnv

HORIZON = 150

PUCK_LOW, PUCK_HIGH = np.array([-0.1, 0.6]), np.array([0.1, 0.7])
"""Meta-World's region of the puck at the start. It would draw again where the puck is within 0.15 of the
goal; here it does not, because then the puck would tell something about the goal."""

LINGER = 20
"""Steps that a demonstration goes on after it has solved the task, so that it shows how to come to rest."""

RELEASE_RADIUS = 0.02
"""How near the goal the expert of `Push` lets go of the puck."""


def sawyer_spec(horizon: int) -> Spec:
    """39 numbers in (two frames, and zeros where Meta-World's goal is), 4 out."""
    frame_low = np.hstack((HAND_LOW, 0.0, np.full(FRAME - 4, -np.inf)))
    frame_high = np.hstack((HAND_HIGH, 1.0, np.full(FRAME - 4, np.inf)))
    low = np.hstack((frame_low, frame_low, np.zeros(3))).astype(np.float32)
    high = np.hstack((frame_high, frame_high, np.zeros(3))).astype(np.float32)
    return Spec(
        observation_space=spaces.Box(low, high),
        action_space=spaces.Box(-1.0, 1.0, (4,)),
        horizon=horizon,
        rate_hz=RATE_HZ,
    )


@dataclass(frozen=True)
class MetaWorld:
    """A Meta-World task whose goal is hidden. `radius` (metres): how near the puck must come to it.
    `horizon`: most steps of an episode.
    """

    name: str
    task: str
    radius: float
    goal_low: tuple[float, float, float]
    goal_high: tuple[float, float, float]
    version: int = 1
    horizon: int = HORIZON

    @property
    def spec(self) -> Spec:
        """39 numbers in (the last three, Meta-World's goal, are 0), 4 out."""
        return sawyer_spec(self.horizon)

    @property
    def splits(self) -> Mapping[str, range]:
        """Tasks are generated from their index."""
        return SPLITS

    def goal(self, index: int) -> Float64[np.ndarray, "3"]:
        """Where the puck has to go in task `index`, whatever the radius. Raises InvalidConfig."""
        if index < 0:
            raise InvalidConfig(f"{self.name}: expected a task index of at least 0, got {index}")
        rng = np.random.default_rng((zlib.crc32(self.task.encode()), index))
        goal = rng.uniform(self.goal_low, self.goal_high)
        if self.goal_low[2] == self.goal_high[2]:  # on the table: as high as the puck lies there
            goal[2] = load_table(self.task).puck_z
        return goal

    def shown_goal(self, index: int) -> Float64[np.ndarray, "3"]:
        """Where the puck goes in the demonstrations of task `index`: to its goal. Raises InvalidConfig."""
        return self.goal(index)

    def rewards(
        self, distances: Float64[np.ndarray, " b"], solved: Bool[np.ndarray, " b"]
    ) -> Float64[np.ndarray, " b"]:
        """1 at the step that solves the task, else 0. `distances` (metres): of the puck from the goal."""
        return solved.astype(float)

    def expert(self, seen: Float64[np.ndarray, "39"]) -> Float32[np.ndarray, "4"]:
        """What Meta-World's scripted policy does, who sees the goal in the last three places of `seen`."""
        action: Float32[np.ndarray, "4"] = load_table(self.task).policy.get_action(seen)
        return action

    def make(self, index: int, scene: Scene = "trial", render_mode: str | None = None) -> "MetaWorldEnv":
        """Task `index` as a Gymnasium environment."""
        return MetaWorldEnv(self, index, scene, render_mode)

    def make_vec(self, indices: Sequence[int], scene: Scene = "trial") -> "MetaWorldVectorEnv":
        """The tasks `indices`, one row each, on simulations that are pooled within the process."""
        return MetaWorldVectorEnv(self, indices, scene)


@dataclass(frozen=True)
class Push(MetaWorld):
    """push-v3: push the puck to a hidden place on the table."""

    name: str = "push"
    task: str = "push-v3"
    radius: float = 0.05
    goal_low: tuple[float, float, float] = (-0.1, 0.8, 0.0)
    goal_high: tuple[float, float, float] = (0.1, 0.9, 0.0)

    def expert(self, seen: Float64[np.ndarray, "39"]) -> Float32[np.ndarray, "4"]:
        """Meta-World's policy holds on for ever, and lifts the puck a little where the arm is far out: this
        one lets go of it once it is there, without which a strict radius is missed in one task of five.
        """
        action = super().expert(seen)
        if np.linalg.norm(seen[4:6] - seen[-3:-1]) < RELEASE_RADIUS:
            action[3] = -1.0
        return action


@dataclass(frozen=True)
class PushStrict(Push):
    """The tasks of `Push` with half its radius: the goal cannot be hit by chance as often."""

    name: str = "push-strict"
    radius: float = 0.025


@dataclass(frozen=True)
class PickPlace(MetaWorld):
    """pick-place-v3: lift the puck to a hidden place in the air."""

    name: str = "pick-place"
    task: str = "pick-place-v3"
    radius: float = 0.07
    goal_low: tuple[float, float, float] = (-0.1, 0.8, 0.05)
    goal_high: tuple[float, float, float] = (0.1, 0.9, 0.3)

    def expert(self, seen: Float64[np.ndarray, "39"]) -> Float32[np.ndarray, "4"]:
        """Meta-World's policy carries its hand to the goal, and so the puck to a place 4 cm off: this one
        aims the puck, without which a strict radius is missed in four tasks of five.
        """
        aimed = seen.copy()
        aimed[-3:] += seen[:3] - seen[4:7]
        return super().expert(aimed)


@dataclass(frozen=True)
class PickPlaceStrict(PickPlace):
    """The tasks of `PickPlace` with half its radius."""

    name: str = "pick-place-strict"
    radius: float = 0.035


class MetaWorldVectorEnv(TaskVectorEnv):
    """Tasks stepped in lockstep. An episode ends when it is solved (a demonstration `LINGER` steps later) or
    at the horizon; the family says what the reward is.
    """

    def __init__(self, family: MetaWorld, indices: Sequence[int], scene: Scene = "trial") -> None:
        super().__init__(family.spec, len(indices))
        self.arms = Arms(load_table(family.task), len(indices))
        goal = family.shown_goal if scene == "demo" else family.goal
        self.goals = np.stack([goal(index) for index in indices])
        self._family = family
        self._linger = LINGER if scene == "demo" else 0
        self._rngs = [np.random.default_rng() for _ in indices]
        self._steps = np.zeros(len(indices), int)
        self._solved_at = np.full(len(indices), -1)
        self._ended = np.ones(len(indices), bool)
        self._experts: Float32[np.ndarray, "b 4"] | None = None

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Start an episode in every row; `seed` is one seed per row."""
        seeds = seed if isinstance(seed, Sequence | np.ndarray) else [seed] * self.num_envs
        for row, row_seed in zip(range(self.num_envs), seeds, strict=True):
            if row_seed is not None:
                self._rngs[row] = np.random.default_rng(row_seed)
            self.arms.reset(row, self._rngs[row].uniform(PUCK_LOW, PUCK_HIGH))
        self._steps[:], self._solved_at[:], self._ended[:] = 0, -1, False
        self._experts = None
        return self._observations(), {}

    def step(self, actions: Array) -> tuple[Array, Float32[np.ndarray, " b"], Array, Array, dict[str, Any]]:
        """Step every row that has not ended."""
        rows = np.flatnonzero(~self._ended)
        self.arms.step(rows, actions[rows])
        self._steps[rows] += 1
        distances = np.linalg.norm(self.arms.frames[rows, 4:7] - self.goals[rows], axis=1)
        solved = (distances <= self._family.radius) & (self._solved_at[rows] < 0)
        self._solved_at[rows[solved]] = self._steps[rows[solved]]
        rewards = np.zeros(self.num_envs, np.float32)
        rewards[rows] = self._family.rewards(distances, solved)
        success = self._solved_at >= 0
        terminated = success & (self._steps - self._solved_at >= self._linger)
        truncated = ~terminated & (self._steps >= self._family.horizon)
        self._ended = terminated | truncated
        self._experts = None
        return self._observations(), rewards, terminated, truncated, {"success": success}

    def expert_actions(self) -> Float32[np.ndarray, "b 4"]:
        """Meta-World's scripted policy, who sees the goals; zeros in rows that have ended."""
        if self._experts is None:
            experts = np.zeros((self.num_envs, 4), np.float32)
            seen = self._stacked(self.goals)
            with warnings.catch_warnings():  # it warns of actions beyond 1, which are clipped here
                warnings.simplefilter("ignore")
                for row in np.flatnonzero(~self._ended):
                    experts[row] = self._family.expert(seen[row])
            self._experts = np.clip(experts, -1.0, 1.0)
        return self._experts.copy()

    def _observations(self) -> Float32[np.ndarray, "b 39"]:
        return self._stacked(np.zeros_like(self.goals)).astype(np.float32)

    def _stacked(self, goals: Float64[np.ndarray, "b 3"]) -> Float64[np.ndarray, "b 39"]:
        return np.hstack((self.arms.frames, self.arms.previous, goals))

    def close_extras(self, **kwargs: Any) -> None:
        """Give the simulations back to the pool."""
        self.arms.close()


class MetaWorldEnv(gym.Env[Array, Array]):
    """One task: a vector environment of one row, with a picture."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": int(RATE_HZ)}

    def __init__(self, family: MetaWorld, index: int, scene: Scene = "trial", render_mode: str | None = None) -> None:
        self.observation_space = family.spec.observation_space
        self.action_space = family.spec.action_space
        self.render_mode = render_mode
        self._radius = family.radius
        self._row = family.make_vec([index], scene)
        self._view: View | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Start an episode: `seed` decides the puck's place."""
        super().reset(seed=seed)
        observations, _ = self._row.reset(seed=[seed])
        return observations[0], {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """One control step. The info says `success`."""
        observations, rewards, terminated, truncated, infos = self._row.step(np.asarray(action)[None])
        success = {"success": bool(infos["success"][0])}
        return observations[0], float(rewards[0]), bool(terminated[0]), bool(truncated[0]), success

    def expert_action(self) -> Float32[np.ndarray, "4"]:
        """What Meta-World's scripted policy does in the present state."""
        return self._row.expert_actions()[0]

    def render(self) -> Array | None:  # type: ignore[override]
        """A picture `[h, w, 3]`, or None without a render mode. It shows the goal, which observations hide."""
        if self.render_mode is None:
            return None
        if self._view is None:
            self._view = make_view(self._row.arms.table)
        return self._view.draw(self._row.arms, 0, self._row.goals[0], self._radius)

    def close(self) -> None:
        """Give the simulation back to the pool."""
        if self._view is not None:
            self._view.close()
            self._view = None
        self._row.close()
