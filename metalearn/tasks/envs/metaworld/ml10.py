"""Meta-World's ML10 as a family: ten task types for training, five others for testing, and the goal hidden in all.

The index of a task decides its type and, where Meta-World draws one, its goal; the places of objects are drawn anew in
every episode. Knows splits and goals; the physics is in `scenes`.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int, UInt8

from metalearn.data.errors import InvalidConfig
from metalearn.data.spec import Spec
from metalearn.tasks.envs.metaworld.scenes import SceneArms, load_scene_model
from metalearn.tasks.envs.metaworld.vector_env import MetaWorldVectorEnv, metaworld_spec
from metalearn.tasks.envs.metaworld.view import draw_frame
from metalearn.tasks.family import Scene
from metalearn.tasks.single_row import SingleRowEnv

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
"""Types alternate with the index, so the 250 test tasks are 50 of each type."""

HORIZON = 200
"""Most steps of an episode. Meta-World has 500; its experts need 50 to 110, and a failed attempt runs to the end."""

TOO_CLOSE = 0.15
"""Metres in the plane: with object and goal nearer to each other, Meta-World draws both again."""


@dataclass(frozen=True)
class ML10:
    """The family. "train" and "validation" have the same task types with different goals."""

    name: str = "ml10"
    version: int = 1

    @property
    def spec(self) -> Spec:
        """Observation: 39 numbers, of which the last three (Meta-World's goal) are 0. Action: 4 numbers."""
        return metaworld_spec(HORIZON)

    @property
    def splits(self) -> Mapping[str, range]:
        """Every index within `SPLITS` is a task."""
        return SPLITS

    def task_type(self, index: int) -> str:
        """The task type of `index`, by Meta-World's name. Raises InvalidConfig."""
        if index < 0:
            raise InvalidConfig(f"{self.name}: expected a task index of at least 0, got {index}")
        types = TEST if index >= SPLITS["test"].start else TRAIN
        return types[index % len(types)]

    def rand_vec(self, index: int, rng: np.random.Generator) -> Float64[np.ndarray, " v"]:
        """The numbers from which Meta-World starts an episode of task `index`. Raises InvalidConfig.

        The object's place (three numbers) comes from `rng`, the goal (three more in some types) from the index.
        """
        scene = load_scene_model(self.task_type(index))
        own = np.random.default_rng((zlib.crc32(b"ml10 goals"), index))
        goal = own.uniform(scene.low, scene.high)[3:]
        while True:
            vector = np.hstack((rng.uniform(scene.low, scene.high)[:3], goal))
            if len(goal) == 0 or np.linalg.norm(vector[:2] - goal[:2]) >= TOO_CLOSE:
                return vector

    def make(self, index: int, scene: Scene = "trial", render_mode: str | None = None) -> gym.Env[Any, Any]:
        """Task `index` as a Gymnasium environment."""
        return SingleRowEnv(self, index, scene, render_mode)

    def make_vec(self, indices: Sequence[int], scene: Scene = "trial") -> "ML10VectorEnv":
        """The tasks `indices`, one row each; a process has one simulation of each task type."""
        return ML10VectorEnv(self, indices, scene)


@dataclass(frozen=True)
class ML10Frozen(ML10):
    """ML10 with frozen objects, as in Meta-World: their place belongs to the task, the same in every episode."""

    name: str = "ml10-frozen"

    def rand_vec(self, index: int, rng: np.random.Generator) -> Float64[np.ndarray, " v"]:
        """The same numbers in every episode of task `index`. Raises InvalidConfig."""
        return super().rand_vec(index, np.random.default_rng((zlib.crc32(b"ml10 objects"), index)))


class ML10VectorEnv(MetaWorldVectorEnv):
    """ML10 tasks stepped in lockstep."""

    def __init__(self, family: ML10, indices: Sequence[int], scene: Scene = "trial") -> None:
        self.arms = SceneArms([load_scene_model(family.task_type(index)) for index in indices])
        super().__init__(family.spec, self.arms, self.arms.goals, scene)
        self._family, self._indices = family, list(indices)

    def _start(self, row: int, rng: np.random.Generator) -> None:
        self.arms.reset(row, self._family.rand_vec(self._indices[row], rng))

    def _reaches_goal(self, rows: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        return self.arms.solved(rows)

    def _expert(self, row: int, observation: Float64[np.ndarray, "39"]) -> Float32[np.ndarray, "4"]:
        action: Float32[np.ndarray, "4"] = self.arms.scenes[row].policy.get_action(observation)
        return action

    def render_row(self, row: int) -> UInt8[np.ndarray, "h w 3"]:
        """A drawing of hand, object and goal; observations hide the goal."""
        radius = self.arms.scenes[row].task_type.radius
        return draw_frame(self.arms.frames[row], self.arms.goals[row], radius)
