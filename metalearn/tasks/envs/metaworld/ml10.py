"""Meta-World's ML10 as a family: ten task types to train on, five others to test on, the goal hidden in all.

Its index says a task's type and, where Meta-World draws one, its goal; the places of objects are drawn anew in
every episode. Knows splits, rewards and episodes; the physics is in `sawyer_scenes`.
"""

import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from jaxtyping import Float32, Float64

from metalearn.data.episode import Array
from metalearn.data.errors import InvalidConfig
from metalearn.data.spec import Spec
from metalearn.tasks.envs.metaworld.arm import RATE_HZ
from metalearn.tasks.envs.metaworld.push_and_pick import LINGER, sawyer_spec
from metalearn.tasks.envs.metaworld.scenes import Arms, load_scene
from metalearn.tasks.envs.metaworld.view import Drawing
from metalearn.tasks.family import Scene, TaskVectorEnv

TRAIN = (
    "reach-v3", "push-v3", "pick-place-v3", "door-open-v3", "drawer-close-v3", "button-press-topdown-v3",
    "peg-insert-side-v3", "window-open-v3", "sweep-v3", "basketball-v3",
)  # fmt: skip
TEST = ("drawer-open-v3", "door-close-v3", "shelf-place-v3", "sweep-into-v3", "lever-pull-v3")
"""Meta-World's own split of ML10 (Yu et al., CoRL 2019), version 3 of the environments."""

SPLITS: Mapping[str, range] = {
    "train": range(0, 1_000_000),
    "validation": range(1_000_000, 2_000_000),
    "test": range(2_000_000, 2_000_250),
}
"""Types alternate with the index. The test tasks are 50 of each type, and drawing all 250 draws as many of each."""

HORIZON = 200
"""Meta-World's is 500; its experts need 50 to 110 steps, and a failed attempt runs to the horizon."""

TOO_CLOSE = 0.15
"""Metres, in the plane: Meta-World draws again where object and goal are nearer."""


@dataclass(frozen=True)
class ML10:
    """The family. The types of "train" and "validation" are the same ones, with other goals."""

    name: str = "ml10"
    version: int = 1

    @property
    def spec(self) -> Spec:
        """39 numbers in (the last three, Meta-World's goal, are 0), 4 out."""
        return sawyer_spec(HORIZON)

    @property
    def splits(self) -> Mapping[str, range]:
        """Tasks are generated from their index."""
        return SPLITS

    def task(self, index: int) -> str:
        """Meta-World's name of the type of task `index`. Raises InvalidConfig."""
        if index < 0:
            raise InvalidConfig(f"{self.name}: expected a task index of at least 0, got {index}")
        types = TEST if index >= SPLITS["test"].start else TRAIN
        return types[index % len(types)]

    def rand_vec(self, index: int, rng: np.random.Generator) -> Float64[np.ndarray, " v"]:
        """What Meta-World starts an episode of task `index` with: the goal from the index where it draws one
        (the last three of six numbers), the object's place from `rng`. Raises InvalidConfig.
        """
        scene = load_scene(self.task(index))
        own = np.random.default_rng((zlib.crc32(b"ml10 goals"), index))
        goal = own.uniform(scene.low, scene.high)[3:]
        while True:
            vector = np.hstack((rng.uniform(scene.low, scene.high)[:3], goal))
            if len(goal) == 0 or np.linalg.norm(vector[:2] - goal[:2]) >= TOO_CLOSE:
                return vector

    def make(self, index: int, scene: Scene = "trial", render_mode: str | None = None) -> "ML10Env":
        """Task `index` as a Gymnasium environment."""
        return ML10Env(self, index, scene, render_mode)

    def make_vec(self, indices: Sequence[int], scene: Scene = "trial") -> "ML10VectorEnv":
        """The tasks `indices`, one row each; a process has one simulation of each type."""
        return ML10VectorEnv(self, indices, Arms([load_scene(self.task(index)) for index in indices]), scene)


@dataclass(frozen=True)
class ML10Frozen(ML10):
    """As Meta-World hands it out: the object's place belongs to the task too, so the demonstration starts where
    the attempts do.
    """

    name: str = "ml10-frozen"

    def rand_vec(self, index: int, rng: np.random.Generator) -> Float64[np.ndarray, " v"]:
        """The same in every episode of task `index`. Raises InvalidConfig."""
        return super().rand_vec(index, np.random.default_rng((zlib.crc32(b"ml10 objects"), index)))


class ML10VectorEnv(TaskVectorEnv):
    """Tasks stepped in lockstep. An episode ends when it is solved (a demonstration `LINGER` steps later) or at
    the horizon; the reward is 1 on the step that solves it, else 0.
    """

    def __init__(self, family: ML10, indices: Sequence[int], arms: Arms, scene: Scene = "trial") -> None:
        super().__init__(family.spec, len(indices))
        self.arms = arms
        self._family, self._indices = family, list(indices)
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
            self.arms.reset(row, self._family.rand_vec(self._indices[row], self._rngs[row]))
        self._steps[:], self._solved_at[:], self._ended[:] = 0, -1, False
        self._experts = None
        return self._observations(), {}

    def step(self, actions: Array) -> tuple[Array, Float32[np.ndarray, " b"], Array, Array, dict[str, Any]]:
        """Step every row that has not ended."""
        rows = np.flatnonzero(~self._ended)
        self.arms.step(rows, actions[rows])
        self._steps[rows] += 1
        solved = rows[self.arms.solved(rows) & (self._solved_at[rows] < 0)]
        self._solved_at[solved] = self._steps[solved]
        rewards = np.zeros(self.num_envs, np.float32)
        rewards[solved] = 1.0
        success = self._solved_at >= 0
        terminated = success & (self._steps - self._solved_at >= self._linger)
        truncated = ~terminated & (self._steps >= HORIZON)
        self._ended = terminated | truncated
        self._experts = None
        return self._observations(), rewards, terminated, truncated, {"success": success}

    def expert_actions(self) -> Float32[np.ndarray, "b 4"]:
        """Meta-World's scripted policies, who see the goals; zeros in rows that have ended."""
        if self._experts is None:
            experts = np.zeros((self.num_envs, 4), np.float32)
            seen = self._stacked(self.arms.goals)
            with warnings.catch_warnings():  # they warn of actions beyond 1, which are clipped here
                warnings.simplefilter("ignore")
                for row in np.flatnonzero(~self._ended):
                    experts[row] = self.arms.scenes[row].policy.get_action(seen[row])
            self._experts = np.clip(experts, -1.0, 1.0)
        return self._experts.copy()

    def _observations(self) -> Float32[np.ndarray, "b 39"]:
        return self._stacked(np.zeros_like(self.arms.goals)).astype(np.float32)

    def _stacked(self, goals: Float64[np.ndarray, "b 3"]) -> Float64[np.ndarray, "b 39"]:
        return np.hstack((self.arms.frames, self.arms.previous, goals))


class ML10Env(gym.Env[Array, Array]):
    """One task: a vector environment of one row, with a drawing of hand, object and goal."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": int(RATE_HZ)}

    def __init__(self, family: ML10, index: int, scene: Scene = "trial", render_mode: str | None = None) -> None:
        self.observation_space = family.spec.observation_space
        self.action_space = family.spec.action_space
        self.render_mode = render_mode
        self._row = family.make_vec([index], scene)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Start an episode: `seed` decides the places of objects."""
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
        arms = self._row.arms
        return Drawing().picture(arms.frames[0], arms.goals[0], arms.scenes[0].kind.radius)
