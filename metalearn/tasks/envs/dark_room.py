"""Dark Room and Dark Key-to-Door: hidden cells of a grid in which nothing can be seen but one's own cell.

After Laskin et al., "In-context reinforcement learning with algorithm distillation" (2022). Here an expert also
demonstrates: in the room the goal, before the door all places where the key may lie, so that only a trial
tells in which. Knows which errands make a task; stepping them is `errand`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from jaxtyping import Int64

from metalearn.data.episode import Array, Episode
from metalearn.data.spec import Spec
from metalearn.tasks.envs.grid import MOVES, SIDE, Errand, ErrandEnv, ErrandVectorEnv, draw_errand, own_cells
from metalearn.tasks.family import SPLITS, Scene, TaskVectorEnv

CELLS = np.stack(np.divmod(np.arange(SIDE**2), SIDE), -1)
CLASSES = {"train": (2, 3, 4), "validation": (1,), "test": (0,)}  # of cells, or of (key, door) pairs
LEG = 2 * (SIDE - 1)  # steps that a demonstrator has for each leg; it waits in the places when it is early
APART = 4  # least distance between two such places, so that there are starts between them


@dataclass(frozen=True)
class DarkRoom:
    """One hidden goal cell; the episode ends on it. A demonstration ends there too, and so reveals it.

    Differs from the paper (9 x 9, 20 steps, start in the middle, a reward at every step on the goal) in that
    starts are drawn anew and arrival ends the episode: shorter is better.
    """

    name: str = "dark-room"
    version: int = 1
    tolerance: float = math.inf

    @property
    def splits(self) -> Mapping[str, range]:
        """Any index within `SPLITS` makes a task; goal cells of different splits are different cells."""
        return SPLITS

    @property
    def spec(self) -> Spec:
        """Observation: own cell `[2]`, the middle being 0 and the walls -1 and 1."""
        box = spaces.Box(-1.0, 1.0, (2,), np.float32)
        return Spec(box, spaces.Discrete(len(MOVES)), 20, rate_hz=1.0, version=self.version)

    def goal(self, index: int) -> Int64[np.ndarray, "2"]:
        """The goal cell; within a split every cell is as likely as any other."""
        cells = CELLS[np.isin((CELLS @ (1, 2)) % 5, CLASSES[split_of(index)])]
        return cells[int(np.random.default_rng([0xDA2C, index]).integers(len(cells)))]

    def errand(self, index: int, scene: Scene, rng: np.random.Generator) -> Errand:
        """From anywhere else to the goal."""
        goal = self.goal(index)
        elsewhere = CELLS[(goal != CELLS).any(-1)]
        return Errand(elsewhere[int(rng.integers(len(elsewhere)))], goal[None], np.zeros(1, np.int64))

    def places(self, index: int) -> Int64[np.ndarray, "1 2"]:
        """The goal."""
        return self.goal(index)[None]

    def make(self, index: int, scene: Scene = "trial", render_mode: str | None = None) -> gym.Env[Any, Any]:
        """Task `index` as a Gymnasium environment."""
        return ErrandEnv(self, index, scene, render_mode)

    def make_vec(self, indices: Sequence[int], scene: Scene = "trial") -> TaskVectorEnv:
        """The tasks `indices`, stepped together in numpy."""
        return ErrandVectorEnv(self, indices, scene)

    def optimal_steps(self, index: int, episode: Episode) -> int:
        """The fewest steps in which a trial that starts like `episode` can succeed."""
        return Errand(own_cells(episode)[0], self.places(index), np.zeros(1, np.int64)).n_steps

    def draw(self, axes: Any, episode: Episode, index: int) -> None:
        """Draw an episode from above into matplotlib axes."""
        draw_errand(axes, episode, self.places(index), 0)


@dataclass(frozen=True)
class KeyToDoor:
    """A hidden key, then a hidden door, each 1 reward; the key lies in one of `n_places` places.

    The demonstrator visits all places, in any order, 16 steps for each, and ends on the door: it had the key by
    then, and which place it had it from is not to be seen. Starts of trials are drawn so that no place lies on a
    shortest way to another: a trial that is to be as short as possible has to choose one.
    """

    name: str = "key-to-door"
    n_places: int = 2
    tolerance: float = math.inf
    version: int = 1

    @property
    def splits(self) -> Mapping[str, range]:
        """Any index within `SPLITS` makes a task; no (place, door) pair of one split occurs in another."""
        return SPLITS

    @property
    def spec(self) -> Spec:
        """Observation: own cell `[2]` as in `DarkRoom`, and whether the key is held (`[1]`; in a demonstration 0)."""
        box = spaces.Box(-1.0, 1.0, (3,), np.float32)
        return Spec(box, spaces.Discrete(len(MOVES)), 50, rate_hz=1.0, version=self.version)

    def layout(self, index: int) -> tuple[Int64[np.ndarray, "m 2"], Int64[np.ndarray, "2"], int]:
        """The places, the door, and which place has the key. The M tasks of a group share places and door."""
        group, target = divmod(index, self.n_places)
        places, door, _ = _group(self.n_places, split_of(index), group)
        return places, door, target

    def errand(self, index: int, scene: Scene, rng: np.random.Generator) -> Errand:
        """In a demonstration to all places and the door; in a trial to the key and the door."""
        places, door, target = self.layout(index)
        if scene == "trial":
            starts = _group(self.n_places, split_of(index), index // self.n_places)[2]
            start = starts[int(rng.integers(len(starts)))]
            return Errand(start, np.stack([places[target], door]), np.zeros(2, np.int64))
        stops = np.concatenate([rng.permutation(places), door[None]])
        starts = CELLS[(stops[0] != CELLS).any(-1)]
        start = starts[int(rng.integers(len(starts)))]
        early = LEG - np.abs(np.diff([start, *stops], axis=0)).sum(-1)
        return Errand(start, stops, np.array([*early[:-2], early[-2] + early[-1], 0]))

    def places(self, index: int) -> Int64[np.ndarray, "n 2"]:
        """The places where the key may lie, and the door."""
        places, door, _ = self.layout(index)
        return np.concatenate([places, door[None]])

    def make(self, index: int, scene: Scene = "trial", render_mode: str | None = None) -> gym.Env[Any, Any]:
        """Task `index` as a Gymnasium environment."""
        return ErrandEnv(self, index, scene, render_mode)

    def make_vec(self, indices: Sequence[int], scene: Scene = "trial") -> TaskVectorEnv:
        """The tasks `indices`, stepped together in numpy."""
        return ErrandVectorEnv(self, indices, scene)

    def optimal_steps(self, index: int, episode: Episode) -> int:
        """The fewest steps in which a trial that starts like `episode` can succeed."""
        places, door, target = self.layout(index)
        return Errand(own_cells(episode)[0], np.stack([places[target], door]), np.zeros(2, np.int64)).n_steps

    def draw(self, axes: Any, episode: Episode, index: int) -> None:
        """Draw an episode from above into matplotlib axes: path, places, key (with a rim), door (last, faint)."""
        draw_errand(axes, episode, self.places(index), index % self.n_places)


@dataclass(frozen=True)
class StrictKeyToDoor(KeyToDoor):
    """Key-to-Door in which only the fewest possible steps are a success. Its bound is exact."""

    name: str = "key-to-door-strict"
    tolerance: float = 1.0

    def bayes_success(self, n_trials: int) -> float:
        """Given a demonstration: 1 / M, and 1 once there was time to look into every place.

        No place lies on a shortest way to another, so an optimal attempt is one right guess among M; a failed
        one has 50 steps, enough for M <= 3 places that are at most 16 apart.
        """
        return 1 / self.n_places if n_trials == 0 else 1.0

    def sibling(self, index: int, rng: np.random.Generator) -> int:
        """A task of the same group (same demonstrations), its key drawn anew."""
        return index - index % self.n_places + int(rng.integers(self.n_places))


def split_of(index: int) -> str:
    """The split that an index is in."""
    return next(name for name, indices in SPLITS.items() if index in indices)


def pair_class(key: Int64[np.ndarray, "*n 2"], door: Int64[np.ndarray, "2"]) -> Int64[np.ndarray, "*n"]:
    """0 .. 4, which decides the split that a (key, door) pair belongs to. Next cells are of other classes."""
    return (key @ (1, 2) + door @ (3, 4)) % 5


@lru_cache(maxsize=1 << 16)
def _group(n_places: int, split: str, group: int) -> tuple[Array, Array, Array]:
    """Places `[m, 2]`, door `[2]` and starts `[n, 2]` of a group of tasks. Remembered: not to be written to."""
    rng = np.random.default_rng([0xDA2D, n_places, group])
    while True:
        door = CELLS[rng.integers(len(CELLS))]
        allowed = CELLS[np.isin(pair_class(CELLS, door), CLASSES[split]) & (door != CELLS).any(-1)]
        places = rng.choice(allowed, n_places, replace=False)
        between = np.abs(places[:, None] - places).sum(-1)[np.triu_indices(n_places, 1)]
        if (between >= APART).all() and len(starts := open_starts(places)):
            return places, door, starts


def open_starts(places: Int64[np.ndarray, "m 2"]) -> Int64[np.ndarray, "n 2"]:
    """The cells from which no place lies on a shortest way to another (nor is one of them)."""
    to = np.abs(CELLS[:, None] - places).sum(-1)
    between = np.abs(places[:, None] - places).sum(-1)
    passes = to[:, :, None] + between == to[:, None, :]  # of the way to place j, whether it may lead over place i
    return CELLS[~(passes & ~np.eye(len(places), dtype=bool)).any((1, 2))]
