"""The protocol of a task family: many tasks that share a spec, each of them a Gymnasium environment.

A task is named by its index. The split follows from the index, so training tasks and test tasks cannot overlap.
Every task has two scenes: in "demo" the expert demonstrates it (perhaps ambiguously), in "trial" the policy acts.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, create_empty_array
from jaxtyping import Float, Float32, Int, Shaped, UInt8

from metalearn.data.episode import Array, Episode
from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.data.spaces import in_parts
from metalearn.data.spec import Spec
from metalearn.tasks.user_code import user_code

Scene = Literal["demo", "trial"]

SPLITS: Mapping[str, range] = {
    "train": range(0, 1_000_000),
    "validation": range(1_000_000, 2_000_000),
    "test": range(2_000_000, 3_000_000),
}
"""The splits of a family that generates its tasks from their index."""


@dataclass(frozen=True)
class TaskId:
    """`family/index`, for example `reach-m2/2000017`."""

    family: str
    index: int

    def __str__(self) -> str:
        return f"{self.family}/{self.index:04d}"

    @classmethod
    def parse(cls, text: str) -> "TaskId":
        """Read an id that `str` wrote. Raises InvalidConfig."""
        family, slash, index = text.rpartition("/")
        if not slash or not index.isdecimal():
            raise InvalidConfig(f"task id: expected family/index, got {text!r}")
        return cls(family, int(index))


class TaskVectorEnv(VectorEnv[Any, Any, Any]):
    """b tasks of a family stepped in lockstep, one row each: a Gymnasium vector environment without autoreset.

    A row that has ended keeps its last observation, ignores actions and gives reward 0 until the next `reset`.
    Every value in `infos` is an array with one entry per row; `infos["success"]` is a bool array `[b]`.
    Observations are as Gymnasium batches them: `[b, *o]`, or a dictionary or tuple of arrays for Dict and Tuple.
    """

    metadata = {"autoreset_mode": AutoresetMode.DISABLED}

    def __init__(self, spec: Spec, n_tasks: int) -> None:
        self.num_envs, self.task_spec = n_tasks, spec
        self.single_observation_space = spec.observation_space
        self.single_action_space = spec.action_space
        self.observation_space = batch_space(spec.observation_space, n_tasks)
        self.action_space = batch_space(spec.action_space, n_tasks)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode in every row; `seed` is one seed for all rows or one per row."""
        raise NotImplementedError

    def expert_actions(self) -> Shaped[np.ndarray, "b *a"] | None:
        """The actions of the expert, who knows each task, in the current states; None without an expert."""
        raise NotImplementedError

    def aimed_actions(self, aims: Int[np.ndarray, " b"]) -> Shaped[np.ndarray, "b *a"]:
        """The actions of an expert that is sent to place `aims[row]` in each row, of an `AimedFamily` alone."""
        raise NotImplementedError

    def render_row(self, row: int) -> UInt8[np.ndarray, "h w 3"] | None:
        """A picture of one row; None unless the family draws one."""
        return None

    def pointer_action(self, row: int, x: float, y: float) -> Shaped[np.ndarray, "*a"] | None:
        """The action with which a row goes to a place in its picture, 0 to 1 from the left and the top edge.

        None unless the family can tell. A person who demonstrates steers with it.
        """
        return None

    def goal_at(self, row: int, x: float, y: float) -> Float32[np.ndarray, " g"] | None:
        """The goal, as `achieved_goal` has it, at a place in a row's picture, 0 to 1 from the left and the top edge.

        None unless goals are places that can be seen. A person who asks for a goal points with it.
        """
        return None

    def place_of_goal(self, row: int, goal: Float32[np.ndarray, " g"]) -> tuple[float, float] | None:
        """Where a goal is in a row's picture, as `goal_at` has it; None unless goals are places that can be seen."""
        return None

    def keys_to_action(self) -> dict[str, int]:
        """The discrete action of each key, for a person who demonstrates; empty unless the family names them."""
        return {}

    def row_seeds(self, seed: int | Sequence[int | None] | None) -> Sequence[int | None]:
        """The seed of each row, from the argument that `reset` was given."""
        seeds = seed if isinstance(seed, Sequence | np.ndarray) else [seed] * self.num_envs
        if len(seeds) != self.num_envs:
            raise ValueError(f"seed: expected one seed for each of {self.num_envs} rows, got {len(seeds)}")
        return seeds

    def reseed(self, rngs: list[np.random.Generator], seed: int | Sequence[int | None] | None) -> None:
        """Replace the generators of the rows that `reset` was given a seed for; the others go on."""
        for row, row_seed in enumerate(self.row_seeds(seed)):
            if row_seed is not None:
                rngs[row] = np.random.default_rng(row_seed)


@runtime_checkable
class Family(Protocol):
    """The protocol of a family, whether it ships with the project or is yours (`wtl train --family module:Class`)."""

    @property
    def name(self) -> str:
        """The family's name, with which its task ids begin."""
        ...

    @property
    def version(self) -> int:
        """A number that grows whenever the tasks change, so that results on different tasks are never compared."""
        ...

    @property
    def spec(self) -> Spec:
        """Spaces, horizon and rate, the same for every task."""
        ...

    @property
    def splits(self) -> Mapping[str, range]:
        """Disjoint ranges of task indices for "train", "validation" and "test"."""
        ...

    def make(self, index: int, scene: Scene = "trial", render_mode: str | None = None) -> gym.Env[Any, Any]:
        """Task `index` in a scene.

        `step` puts `success` into its info. An episode ends with `terminated` or `truncated`, after `spec.horizon`
        steps at the latest. An unwrapped environment with a method `expert_action()` has an expert: the method
        returns the expert's action in the current state. With a method `pointer_action(x, y)` a person can point to
        where it shall go in the picture (`wtl play`), and `get_keys_to_action()`, as Gymnasium has it, names keys.
        `goal_at(x, y)` and `place_of_goal(goal)` say which goal is where in the picture, to ask for one by a click.
        """
        ...


@runtime_checkable
class VectorFamily(Family, Protocol):
    """A family with a vector environment of its own, faster than stepping its tasks one by one."""

    def make_vec(self, indices: Sequence[int], scene: Scene = "trial") -> TaskVectorEnv:
        """The tasks `indices`, one row each."""
        ...


@runtime_checkable
class BoundedFamily(Family, Protocol):
    """A family with a known Bayes-optimal success rate."""

    def bayes_success(self, n_trials: int) -> float:
        """The best possible success rate, over all tasks, of the attempt after `n_trials` trials."""
        ...

    def sibling(self, index: int, rng: np.random.Generator) -> int:
        """A task with the same demonstration as `index` and an independently drawn target."""
        ...


@runtime_checkable
class GoalFamily(Family, Protocol):
    """A family that says what was achieved, so that goals can be asked for."""

    def achieved_goal(self, observations: Shaped[np.ndarray, "n *o"]) -> Float32[np.ndarray, "n g"]:
        """What is achieved in each of n observations, as episodes keep them; the numbers that a goal consists of."""
        ...


@runtime_checkable
class TypedFamily(Family, Protocol):
    """A family of several types of task, such as opening doors and pressing buttons.

    Success is reported for each type too, and intervals are over types where the evaluated tasks are of several.
    """

    def task_type(self, index: int) -> str:
        """The name of the type of task `index`."""
        ...


@runtime_checkable
class DescribedFamily(Family, Protocol):
    """A family whose tasks can be said in words."""

    def sentences(self, index: int) -> tuple[str, ...]:
        """Sentences that describe a task, each of them sufficient."""
        ...


@runtime_checkable
class AimedFamily(VectorFamily, Protocol):
    """A family whose expert can be sent to a few fixed places, whatever the goal is: a floor under trying."""

    @property
    def n_aims(self) -> int:
        """How many places there are; the vector environments have `aimed_actions(aims)` for them."""
        ...


@runtime_checkable
class ParaphrasedFamily(DescribedFamily, Protocol):
    """A family with sentences that no training sees, so that an evaluation can tell meaning from wording."""

    def held_out_sentences(self, index: int) -> tuple[str, ...]:
        """Sentences that describe the task, in words that `sentences` of no task has."""
        ...


@runtime_checkable
class SynonymFamily(ParaphrasedFamily, Protocol):
    """A family with sentences whose telling words no training has: what they mean has to come from the encoder."""

    def synonym_sentences(self, index: int) -> tuple[str, ...]:
        """Sentences that describe the task, and name what it is about in words that no other sentence has."""
        ...


@runtime_checkable
class MannerFamily(Family, Protocol):
    """A family whose demonstrators differ in manner and in skill, and are to be imitated in both."""

    def sibling(self, index: int, rng: np.random.Generator) -> int:
        """A task of the same split with the same goal as `index`, and another demonstrator."""
        ...

    def skill(self, index: int) -> float:
        """How skilled the demonstrator of task `index` is: 1 is an expert, 0 acts at random."""
        ...

    def statistics(self, episodes: Sequence[Episode], index: int) -> Float[np.ndarray, " s"]:
        """How whoever acted in some episodes of task `index` did it; NaN for what they do not show."""
        ...

    def goal_of(self, episode: Episode) -> int | None:
        """The goal that an episode reached: tasks whose index is that, modulo the number of goals, have it."""
        ...


class SerialVectorEnv(TaskVectorEnv):
    """Tasks stepped one after the other: the vector environment of any family that has none of its own."""

    def __init__(self, family: Family, indices: Sequence[int], scene: Scene = "trial") -> None:
        super().__init__(family.spec, len(indices))
        self.envs: list[gym.Env[Any, Any]] = []  # set first, so that `close` works even if `make` raises
        self._names = [TaskId(family.name, index) for index in indices]
        for index, name in zip(indices, self._names, strict=True):
            with user_code(f"task {name} cannot be made"):
                self.envs.append(family.make(index, scene))
        self._horizon = family.spec.horizon
        self._observations: Any = create_empty_array(family.spec.observation_space, len(indices), np.zeros)
        self._ended = np.ones(len(indices), bool)
        self._success = np.zeros(len(indices), bool)
        self._scored = np.zeros(len(indices), bool)
        self._n_steps = 0

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode in every row."""
        for row, (env, row_seed) in enumerate(zip(self.envs, self.row_seeds(seed), strict=True)):
            with user_code(f"reset of task {self._names[row]}"):
                observation, _ = env.reset(seed=None if row_seed is None else int(row_seed))
                self._store(row, observation)
        self._ended[:] = self._success[:] = self._scored[:] = False
        self._n_steps = 0
        return deepcopy(self._observations), {}

    def step(self, actions: Array) -> tuple[Any, Float32[np.ndarray, " b"], Array, Array, dict[str, Any]]:
        """Step every row that has not ended.

        Raises:
            InvalidConfig: an environment raised, never says whether it succeeded, or does not end.
        """
        rewards = np.zeros(self.num_envs, np.float32)
        terminated, truncated = self._ended.copy(), np.zeros(self.num_envs, bool)
        self._n_steps += 1
        for row in map(int, np.flatnonzero(~self._ended)):
            with user_code(f"step of task {self._names[row]}"):
                observation, rewards[row], terminated[row], truncated[row], info = self.envs[row].step(actions[row])
                self._store(row, observation)
                self._success[row] |= bool(info.get("success", False))
                self._scored[row] |= "success" in info
            self._check_end(row, bool(terminated[row] or truncated[row]))
        self._ended = terminated | truncated
        return deepcopy(self._observations), rewards, terminated, truncated, {"success": self._success.copy()}

    def _store(self, row: int, observation: object) -> None:
        space = self.single_observation_space
        try:
            kept = in_parts(self._observations, space)
            for name, part in in_parts(observation, space).items():
                array, expected = np.asarray(part), kept[name].shape[1:]
                if array.shape != expected:
                    field = f"observation.{name}" if name else "observation"
                    raise InvalidData(field, f"shape {list(expected)}", f"shape {list(array.shape)}")
                kept[name][row] = array
        except InvalidData as error:
            raise InvalidData(f"{self._names[row]}: {error.field}", error.expected, error.got) from error

    def _check_end(self, row: int, ended: bool) -> None:
        if ended and not self._scored[row]:
            raise InvalidConfig(f"task {self._names[row]}: step never put 'success' into its info")
        if not ended and self._n_steps >= self._horizon:
            raise InvalidConfig(
                f"task {self._names[row]} goes on after the {self._horizon} steps of its spec's horizon"
            )

    def expert_actions(self) -> Shaped[np.ndarray, "b *a"] | None:
        """The expert's action in every row; None if an environment has no `expert_action`."""
        if not all(hasattr(env.unwrapped, "expert_action") for env in self.envs):
            return None
        with user_code(f"expert_action of {self._names[0].family}"):
            actions = [env.unwrapped.expert_action() for env in self.envs]  # type: ignore[attr-defined]
            return np.asarray(actions, self.single_action_space.dtype)

    def close_extras(self, **kwargs: Any) -> None:
        """Close every environment."""
        for env in self.envs:
            env.close()


def make_vec(family: Family, indices: Sequence[int], scene: Scene = "trial") -> TaskVectorEnv:
    """The tasks `indices` in the family's own vector environment, or in a serial one if it has none."""
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
