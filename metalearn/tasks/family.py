"""What a family of tasks is: many tasks that share a spec, each a Gymnasium environment.

A task has an index; the index range decides the split, so train and test cannot leak into each other.
Two scenes: in "demo" the expert shows the task (perhaps ambiguously), in "trial" the policy acts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import Float32, Shaped

from metalearn.data.episode import Array
from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.data.spec import Spec
from metalearn.tasks.user_code import users_code

Scene = Literal["demo", "trial"]
Split = Literal["train", "validation", "test"]

SPLITS: Mapping[str, range] = {
    "train": range(0, 1_000_000),
    "validation": range(1_000_000, 2_000_000),
    "test": range(2_000_000, 3_000_000),
}
"""Index ranges of a family whose tasks are generated from their index."""


@dataclass(frozen=True)
class TaskId:
    """`family/index`, for example `reach-m2/2000017`."""

    family: str
    index: int

    def __str__(self) -> str:
        return f"{self.family}/{self.index:04d}"

    @classmethod
    def parse(cls, text: str) -> "TaskId":
        """The id that `str` wrote. Raises InvalidConfig."""
        family, slash, index = text.rpartition("/")
        if not slash or not index.isdecimal():
            raise InvalidConfig(f"task id: expected family/index, got {text!r}")
        return cls(family, int(index))


class TaskVectorEnv(VectorEnv[Any, Any, Any]):
    """b tasks of a family stepped in lockstep, one row each: a Gymnasium vector environment without autoreset.

    Rows that have ended keep their last observation, ignore actions and give reward 0 until `reset`.
    `reset(seed=[...])` takes one seed per row. `infos["success"]` is a bool array `[b]`.
    """

    metadata = {"autoreset_mode": AutoresetMode.DISABLED}

    def __init__(self, spec: Spec, n_tasks: int) -> None:
        self.num_envs = n_tasks
        self.single_observation_space = spec.observation_space
        self.single_action_space = spec.action_space
        self.observation_space = batch_space(spec.observation_space, n_tasks)
        self.action_space = batch_space(spec.action_space, n_tasks)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Start an episode in every row; `seed` is one seed per row."""
        raise NotImplementedError

    def expert_actions(self) -> Shaped[np.ndarray, "b *a"] | None:
        """What the expert, who knows each task, does in the present states; None if there is no expert."""
        raise NotImplementedError


@runtime_checkable
class Family(Protocol):
    """The small protocol a family implements; ours and the user's own (`wtl train --family module:Class`)."""

    @property
    def name(self) -> str:
        """What task ids begin with."""
        ...

    @property
    def version(self) -> int:
        """Counted up whenever the tasks change, so that figures of different tasks are never compared."""
        ...

    @property
    def spec(self) -> Spec:
        """Spaces, horizon and rate of every task."""
        ...

    @property
    def splits(self) -> Mapping[str, range]:
        """Task indices of "train", "validation" and "test", disjoint."""
        ...

    def make(self, index: int, scene: Scene = "trial", render_mode: str | None = None) -> gym.Env[Any, Any]:
        """Task `index` in a scene. `step` puts `success` into its info; the end of an episode is
        `terminated` or `truncated`, at the latest after `spec.horizon` steps. If the unwrapped
        environment has a method `expert_action()`, it is the expert's action in the present state.
        """
        ...


@runtime_checkable
class VectorFamily(Family, Protocol):
    """A family that steps many tasks at once faster than one by one."""

    def make_vec(self, indices: Sequence[int], scene: Scene = "trial") -> TaskVectorEnv:
        """The tasks `indices`, one row each."""
        ...


@runtime_checkable
class BoundedFamily(Family, Protocol):
    """A family whose Bayes-optimal success is known."""

    def bayes_success(self, n_trials: int) -> float:
        """Best possible success of the attempt after `n_trials` own trials, over all tasks."""
        ...

    def sibling(self, index: int, rng: np.random.Generator) -> int:
        """A task with the same demonstration and a target drawn independently of `index`'s target."""
        ...


class SerialVectorEnv(TaskVectorEnv):
    """Tasks stepped one after the other: the vector version of any family."""

    def __init__(self, family: Family, indices: Sequence[int], scene: Scene = "trial") -> None:
        super().__init__(family.spec, len(indices))
        self.envs: list[gym.Env[Any, Any]] = []  # there to be closed, whatever `make` does
        self._names = [TaskId(family.name, index) for index in indices]
        for index, name in zip(indices, self._names, strict=True):
            with users_code(f"task {name} cannot be made"):
                self.envs.append(family.make(index, scene))
        self._horizon = family.spec.horizon
        self._observations = np.zeros(
            (len(indices), *family.spec.observation_space.shape), family.spec.observation_space.dtype
        )
        self._ended = np.ones(len(indices), bool)
        self._success = np.zeros(len(indices), bool)
        self._scored = np.zeros(len(indices), bool)
        self._n_steps = 0

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Start an episode in every row; `seed` is one seed per row."""
        seeds = seed if isinstance(seed, Sequence | np.ndarray) else [seed] * self.num_envs
        for row, (env, row_seed) in enumerate(zip(self.envs, seeds, strict=True)):
            with users_code(f"reset of task {self._names[row]}"):
                observation, _ = env.reset(seed=None if row_seed is None else int(row_seed))
                self._see(row, observation)
        self._ended[:] = self._success[:] = self._scored[:] = False
        self._n_steps = 0
        return self._observations.copy(), {}

    def step(self, actions: Array) -> tuple[Array, Float32[np.ndarray, " b"], Array, Array, dict[str, Any]]:
        """Step every row that has not ended.

        Raises:
            InvalidConfig: an environment raised, never says whether it succeeded, or does not end.
        """
        rewards = np.zeros(self.num_envs, np.float32)
        terminated, truncated = self._ended.copy(), np.zeros(self.num_envs, bool)
        self._n_steps += 1
        for row in map(int, np.flatnonzero(~self._ended)):
            with users_code(f"step of task {self._names[row]}"):
                observation, rewards[row], terminated[row], truncated[row], info = self.envs[row].step(actions[row])
                self._see(row, observation)
                self._success[row] |= bool(info.get("success", False))
                self._scored[row] |= "success" in info
            self._check_end(row, bool(terminated[row] or truncated[row]))
        self._ended = terminated | truncated
        return self._observations.copy(), rewards, terminated, truncated, {"success": self._success.copy()}

    def _see(self, row: int, observation: object) -> None:
        array, expected = np.asarray(observation), self._observations.shape[1:]
        if array.shape != expected:
            raise InvalidData(
                f"{self._names[row]}: observation", f"shape {list(expected)}", f"shape {list(array.shape)}"
            )
        self._observations[row] = array

    def _check_end(self, row: int, ended: bool) -> None:
        if ended and not self._scored[row]:
            raise InvalidConfig(f"task {self._names[row]}: step never put 'success' into its info")
        if not ended and self._n_steps >= self._horizon:
            raise InvalidConfig(
                f"task {self._names[row]} goes on after the {self._horizon} steps of its spec's horizon"
            )

    def expert_actions(self) -> Shaped[np.ndarray, "b *a"] | None:
        """The expert's action in every row, or None if the environments have no `expert_action`."""
        if not all(hasattr(env.unwrapped, "expert_action") for env in self.envs):
            return None
        with users_code(f"expert_action of {self._names[0].family}"):
            actions = [env.unwrapped.expert_action() for env in self.envs]  # type: ignore[attr-defined]
            return np.asarray(actions, self.single_action_space.dtype)

    def close_extras(self, **kwargs: Any) -> None:
        """Close every environment."""
        for env in self.envs:
            env.close()


def make_vec(family: Family, indices: Sequence[int], scene: Scene = "trial") -> TaskVectorEnv:
    """The fastest vector environment that the family has for the tasks `indices`."""
    if isinstance(family, VectorFamily):
        return family.make_vec(indices, scene)
    return SerialVectorEnv(family, indices, scene)


def tasks_of(family: Family, split: str, n: int, seed: int) -> list[int]:
    """`n` distinct task indices of a split, drawn with `seed`. Raises InvalidConfig."""
    if split not in family.splits:
        raise InvalidConfig(f"split: expected one of {sorted(family.splits)}, got {split!r}")
    indices = family.splits[split]
    if n > len(indices):
        raise InvalidConfig(f"{family.name} has {len(indices)} {split} tasks, {n} were asked for")
    drawn = np.random.default_rng(seed).choice(len(indices), n, replace=False)
    return [indices[int(i)] for i in drawn]
