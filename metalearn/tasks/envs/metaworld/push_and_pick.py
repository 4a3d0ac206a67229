"""Meta-World's push and pick-place as families: a task is a hidden goal, and the reward is sparse.

The puck's place is drawn anew in every episode, independently of the goal, so the start of an episode reveals nothing
about the goal. Knows goals, rewards and experts; the physics is in `arm`.
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
from metalearn.tasks.envs.metaworld.arm import PuckArms, load_task_model
from metalearn.tasks.envs.metaworld.vector_env import EXTRA_DEMO_STEPS, MetaWorldVectorEnv, metaworld_spec
from metalearn.tasks.envs.metaworld.view import View, make_view
from metalearn.tasks.family import SPLITS, Scene
from metalearn.tasks.single_row import SingleRowEnv

HORIZON = 150

PUCK_LOW, PUCK_HIGH = np.array([-0.1, 0.6]), np.array([0.1, 0.7])
"""Meta-World's limits of the puck's place at the start of an episode. Meta-World draws again if the puck is within 0.15
of the goal. That would reveal something about the goal, so it is not done here."""

RELEASE_RADIUS = 0.02
"""Distance from the goal, in metres, within which the expert of `Push` lets go of the puck."""


@dataclass(frozen=True)
class PuckFamily:
    """Tasks of one Meta-World environment with hidden goals for the puck.

    Attributes:
        task: Meta-World's name of the environment.
        radius: greatest distance of the puck from the goal that counts as solved, in metres.
        goal_low, goal_high: limits of the goals.
        horizon: most steps of an episode.
        repeats: Meta-World's control steps that an action lasts.
    """

    name: str
    task: str
    radius: float
    goal_low: tuple[float, float, float]
    goal_high: tuple[float, float, float]
    version: int = 1
    horizon: int = HORIZON
    repeats: int = 1

    @property
    def spec(self) -> Spec:
        """Observation: 39 numbers, of which the last three (Meta-World's goal) are 0. Action: 4 numbers."""
        return metaworld_spec(self.horizon)

    @property
    def splits(self) -> Mapping[str, range]:
        """Every index within `SPLITS` is a task."""
        return SPLITS

    def goal(self, index: int) -> Float64[np.ndarray, "3"]:
        """The goal of task `index`, independent of the radius. Raises InvalidConfig."""
        if index < 0:
            raise InvalidConfig(f"{self.name}: expected a task index of at least 0, got {index}")
        rng = np.random.default_rng((zlib.crc32(self.task.encode()), index))
        goal = rng.uniform(self.goal_low, self.goal_high)
        if self.goal_low[2] == self.goal_high[2]:  # a goal on the table has the height of the puck
            goal[2] = load_task_model(self.task).puck_z
        return goal

    def shown_goal(self, index: int) -> Float64[np.ndarray, "3"]:
        """The goal in demonstrations of task `index`: here the goal of the task. Raises InvalidConfig."""
        return self.goal(index)

    def rewards(
        self, distances: Float64[np.ndarray, " b"], solved: Bool[np.ndarray, " b"]
    ) -> Float64[np.ndarray, " b"]:
        """The rewards of a step: 1 where it has solved the task, else 0. `distances` (metres) are from puck to goal."""
        return solved.astype(float)

    def expert(self, observation: Float64[np.ndarray, "39"]) -> Float32[np.ndarray, "4"]:
        """The action of Meta-World's scripted policy; the last three numbers of `observation` are the goal."""
        action: Float32[np.ndarray, "4"] = load_task_model(self.task).policy.get_action(observation)
        return action

    def make(self, index: int, scene: Scene = "trial", render_mode: str | None = None) -> gym.Env[Any, Any]:
        """Task `index` as a Gymnasium environment."""
        return SingleRowEnv(self, index, scene, render_mode)

    def make_vec(self, indices: Sequence[int], scene: Scene = "trial") -> "PuckVectorEnv":
        """The tasks `indices`, one row each, on simulations from a pool."""
        goal = self.shown_goal if scene == "demo" else self.goal
        return PuckVectorEnv(self, np.stack([goal(index) for index in indices]), scene)


@dataclass(frozen=True)
class Push(PuckFamily):
    """push-v3: push the puck to a hidden goal on the table."""

    name: str = "push"
    task: str = "push-v3"
    radius: float = 0.05
    goal_low: tuple[float, float, float] = (-0.1, 0.8, 0.0)
    goal_high: tuple[float, float, float] = (0.1, 0.9, 0.0)

    def expert(self, observation: Float64[np.ndarray, "39"]) -> Float32[np.ndarray, "4"]:
        """The action of Meta-World's policy, with the gripper opened once the puck is at the goal.

        Meta-World's policy never lets go, and an outstretched arm lifts the puck a little: in one task of five the puck
        then misses the strict radius.
        """
        action = super().expert(observation)
        if np.linalg.norm(observation[4:6] - observation[-3:-1]) < RELEASE_RADIUS:
            action[3] = -1.0
        return action


@dataclass(frozen=True)
class PushStrict(Push):
    """The tasks of `Push` with half its radius, so that the goal is less often hit by chance."""

    name: str = "push-strict"
    radius: float = 0.025


@dataclass(frozen=True)
class PickPlace(PuckFamily):
    """pick-place-v3: lift the puck to a hidden goal in the air."""

    name: str = "pick-place"
    task: str = "pick-place-v3"
    radius: float = 0.07
    goal_low: tuple[float, float, float] = (-0.1, 0.8, 0.05)
    goal_high: tuple[float, float, float] = (0.1, 0.9, 0.3)

    def expert(self, observation: Float64[np.ndarray, "39"]) -> Float32[np.ndarray, "4"]:
        """The action of Meta-World's policy for a goal moved by the offset between hand and puck.

        Meta-World's policy carries the hand to the goal, and the puck to a place 4 cm beside it: in four tasks of five
        the puck then misses the strict radius.
        """
        aimed = observation.copy()
        aimed[-3:] += observation[:3] - observation[4:7]
        return super().expert(aimed)


@dataclass(frozen=True)
class PickPlaceStrict(PickPlace):
    """The tasks of `PickPlace` with half its radius."""

    name: str = "pick-place-strict"
    radius: float = 0.035


class PuckVectorEnv(MetaWorldVectorEnv):
    """Goals of one family, each in a row of its own, stepped in lockstep."""

    def __init__(self, family: PuckFamily, goals: Float64[np.ndarray, "b 3"], scene: Scene) -> None:
        self.arms = PuckArms(load_task_model(family.task), len(goals), family.repeats)
        super().__init__(family.spec, self.arms, goals, scene, EXTRA_DEMO_STEPS // family.repeats)
        self._family = family
        self._view: View | None = None

    def _start(self, row: int, rng: np.random.Generator) -> None:
        self.arms.reset(row, rng.uniform(PUCK_LOW, PUCK_HIGH))

    def _reaches_goal(self, rows: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        return self._distances(rows) <= self._family.radius

    def _rewards(self, rows: Int[np.ndarray, " n"], solved: Bool[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        return self._family.rewards(self._distances(rows), solved)

    def _expert(self, row: int, observation: Float64[np.ndarray, "39"]) -> Float32[np.ndarray, "4"]:
        return self._family.expert(observation)

    def _distances(self, rows: Int[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        """Metres from puck to goal."""
        return np.linalg.norm(self.arms.frames[rows, 4:7] - self.goals[rows], axis=1)

    def render_row(self, row: int) -> UInt8[np.ndarray, "h w 3"]:
        """A picture of the arm, the puck and the goal; observations hide the goal."""
        if self._view is None:
            self._view = make_view(self.arms.model)
        return self._view.draw(self.arms, row, self.goals[row], self._family.radius)

    def close_extras(self, **kwargs: Any) -> None:
        """Release the simulations, and OpenGL where it was used."""
        if self._view is not None:
            self._view.close()
        self.arms.close()
