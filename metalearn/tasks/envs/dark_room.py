"""Dark Room and Dark Key-to-Door: hidden cells of a grid, of which the agent observes only the cell it is in.

After Laskin et al., "In-context reinforcement learning with algorithm distillation" (2022), with demonstrations added.
In Dark Room a demonstration ends on the goal. In Key-to-Door it visits every place where the key may lie, so that only
a trial reveals the right one. Knows the route of each task; `grid` steps it.
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
from metalearn.tasks.envs.grid import MOVES, SIDE, GridVectorEnv, Route, draw_episode, visited_cells
from metalearn.tasks.family import SPLITS, Scene, TaskVectorEnv
from metalearn.tasks.single_row import SingleRowEnv

CELLS = np.stack(np.divmod(np.arange(SIDE**2), SIDE), -1)
CLASSES = {"train": (2, 3, 4), "validation": (1,), "test": (0,)}  # of cells, or of (key, door) pairs
LEG = 2 * (SIDE - 1)  # steps of a demonstration for each place; the demonstrator waits there when it is early
APART = 4  # least distance between two places, so that there are starts between them


@dataclass(frozen=True)
class DarkRoom:
    """One hidden goal cell, on which the episode ends. A demonstration ends there too, and so reveals it.

    The paper's room has 9 x 9 cells, 20 steps, a start in the middle and a reward at every step on the goal. Here the
    start is drawn anew in every episode, and arriving ends the episode, so a shorter path is better.
    """

    name: str = "dark-room"
    version: int = 1
    tolerance: float = math.inf

    @property
    def splits(self) -> Mapping[str, range]:
        """Every index within `SPLITS` is a task; no cell is a goal in two splits."""
        return SPLITS

    @property
    def spec(self) -> Spec:
        """Observation: the agent's cell `[2]`, with 0 for the middle and -1 and 1 for the cells at the walls."""
        box = spaces.Box(-1.0, 1.0, (2,), np.float32)
        return Spec(box, spaces.Discrete(len(MOVES)), 20, rate_hz=1.0, version=self.version)

    def goal(self, index: int) -> Int64[np.ndarray, "2"]:
        """The goal cell; the cells of a split are equally likely."""
        cells = CELLS[np.isin((CELLS @ (1, 2)) % 5, CLASSES[split_of(index)])]
        return cells[int(np.random.default_rng([0xDA2C, index]).integers(len(cells)))]

    def route(self, index: int, scene: Scene, rng: np.random.Generator) -> Route:
        """From any other cell to the goal."""
        goal = self.goal(index)
        elsewhere = CELLS[(goal != CELLS).any(-1)]
        return Route(elsewhere[int(rng.integers(len(elsewhere)))], goal[None], np.zeros(1, np.int64))

    def places(self, index: int) -> Int64[np.ndarray, "1 2"]:
        """The goal."""
        return self.goal(index)[None]

    def make(self, index: int, scene: Scene = "trial", render_mode: str | None = None) -> gym.Env[Any, Any]:
        """Task `index` as a Gymnasium environment."""
        return SingleRowEnv(self, index, scene, render_mode)

    def make_vec(self, indices: Sequence[int], scene: Scene = "trial") -> TaskVectorEnv:
        """The tasks `indices`, stepped together in numpy."""
        return GridVectorEnv(self, indices, scene)

    def optimal_steps(self, index: int, episode: Episode) -> int:
        """The fewest steps in which a trial with the start of `episode` can succeed."""
        return Route(visited_cells(episode)[0], self.places(index), np.zeros(1, np.int64)).n_steps

    def draw(self, axes: Any, episode: Episode, index: int) -> None:
        """Draw an episode from above into matplotlib axes."""
        draw_episode(axes, episode, self.places(index), 0)


@dataclass(frozen=True)
class KeyToDoor:
    """A hidden key in one of `n_places` places, then a hidden door; each gives a reward of 1.

    The demonstrator visits all places in random order, 16 steps for each, and ends on the door. It has found the key by
    then, and the demonstration does not show in which place. A trial starts in a cell with no place on a shortest path
    to another, so the shortest attempt has to choose one place.
    """

    name: str = "key-to-door"
    n_places: int = 2
    tolerance: float = math.inf
    version: int = 1

    @property
    def splits(self) -> Mapping[str, range]:
        """Every index within `SPLITS` is a task; no (place, door) pair occurs in two splits."""
        return SPLITS

    @property
    def spec(self) -> Spec:
        """Observation: the agent's cell `[2]` as in `DarkRoom`, and whether the key is held (0 in a demonstration)."""
        box = spaces.Box(-1.0, 1.0, (3,), np.float32)
        return Spec(box, spaces.Discrete(len(MOVES)), 50, rate_hz=1.0, version=self.version)

    def layout(self, index: int) -> tuple[Int64[np.ndarray, "m 2"], Int64[np.ndarray, "2"], int]:
        """The places, the door, and the number of the place with the key; a group of M tasks shares places and door."""
        group, target = divmod(index, self.n_places)
        places, door, _ = _group(self.n_places, split_of(index), group)
        return places, door, target

    def route(self, index: int, scene: Scene, rng: np.random.Generator) -> Route:
        """To all places and the door in a demonstration; to the key and the door in a trial."""
        places, door, target = self.layout(index)
        if scene == "trial":
            starts = _group(self.n_places, split_of(index), index // self.n_places)[2]
            start = starts[int(rng.integers(len(starts)))]
            return Route(start, np.stack([places[target], door]), np.zeros(2, np.int64))
        waypoints = np.concatenate([rng.permutation(places), door[None]])
        starts = CELLS[(waypoints[0] != CELLS).any(-1)]
        start = starts[int(rng.integers(len(starts)))]
        early = LEG - np.abs(np.diff([start, *waypoints], axis=0)).sum(-1)
        return Route(start, waypoints, np.array([*early[:-2], early[-2] + early[-1], 0]))

    def places(self, index: int) -> Int64[np.ndarray, "n 2"]:
        """The places where the key may lie, and the door."""
        places, door, _ = self.layout(index)
        return np.concatenate([places, door[None]])

    def make(self, index: int, scene: Scene = "trial", render_mode: str | None = None) -> gym.Env[Any, Any]:
        """Task `index` as a Gymnasium environment."""
        return SingleRowEnv(self, index, scene, render_mode)

    def make_vec(self, indices: Sequence[int], scene: Scene = "trial") -> TaskVectorEnv:
        """The tasks `indices`, stepped together in numpy."""
        return GridVectorEnv(self, indices, scene)

    def optimal_steps(self, index: int, episode: Episode) -> int:
        """The fewest steps in which a trial with the start of `episode` can succeed."""
        places, door, target = self.layout(index)
        return Route(visited_cells(episode)[0], np.stack([places[target], door]), np.zeros(2, np.int64)).n_steps

    def draw(self, axes: Any, episode: Episode, index: int) -> None:
        """Draw an episode from above into matplotlib axes: path, places, key (with a rim), door (last, faint)."""
        draw_episode(axes, episode, self.places(index), index % self.n_places)


@dataclass(frozen=True)
class StrictKeyToDoor(KeyToDoor):
    """Key-to-Door in which only the fewest possible steps are a success. Its bound is exact."""

    name: str = "key-to-door-strict"
    tolerance: float = 1.0

    def bayes_success(self, n_trials: int) -> float:
        """Given a demonstration: 1 / M for the first attempt, then 1.

        No place lies on a shortest path to another, so the first attempt is optimal only after a right guess among M
        places. A failed attempt has 50 steps, enough to visit M <= 3 places at most 16 steps apart.
        """
        return 1 / self.n_places if n_trials == 0 else 1.0

    def sibling(self, index: int, rng: np.random.Generator) -> int:
        """A task of the same group, so with the same demonstrations, and a newly drawn place of the key."""
        return index - index % self.n_places + int(rng.integers(self.n_places))


def split_of(index: int) -> str:
    """The split of an index."""
    return next(name for name, indices in SPLITS.items() if index in indices)


def pair_class(key: Int64[np.ndarray, "*n 2"], door: Int64[np.ndarray, "2"]) -> Int64[np.ndarray, "*n"]:
    """The class, 0 to 4, that decides the split of a (key, door) pair. Neighbouring cells have different classes."""
    return (key @ (1, 2) + door @ (3, 4)) % 5


@lru_cache(maxsize=1 << 16)
def _group(n_places: int, split: str, group: int) -> tuple[Array, Array, Array]:
    """Places `[m, 2]`, door `[2]` and starts `[n, 2]` of a group of tasks. Cached: never write to them."""
    rng = np.random.default_rng([0xDA2D, n_places, group])
    while True:
        door = CELLS[rng.integers(len(CELLS))]
        allowed = CELLS[np.isin(pair_class(CELLS, door), CLASSES[split]) & (door != CELLS).any(-1)]
        places = rng.choice(allowed, n_places, replace=False)
        between = np.abs(places[:, None] - places).sum(-1)[np.triu_indices(n_places, 1)]
        if (between >= APART).all() and len(starts := open_starts(places)):
            return places, door, starts


def open_starts(places: Int64[np.ndarray, "m 2"]) -> Int64[np.ndarray, "n 2"]:
    """The cells that are no place themselves and from which no place lies on a shortest path to another."""
    to = np.abs(CELLS[:, None] - places).sum(-1)
    between = np.abs(places[:, None] - places).sum(-1)
    passes = to[:, :, None] + between == to[:, None, :]  # whether a shortest path to place j leads over place i
    return CELLS[~(passes & ~np.eye(len(places), dtype=bool)).any((1, 2))]
