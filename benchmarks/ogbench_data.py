"""What OGBench's pointmaze data sets hold, recorded anew in its environments, as a data set to train on.

As its own generator makes them (data_gen_scripts/generate_locomaze.py, with the arguments of commands.sh): an oracle
says which cell is next on the way to a goal, and Gaussian noise is added to the direction. Nothing tells whether an
episode was any good. Knows neither policies nor trainings. Needs the package `ogbench`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from jaxtyping import Float

from metalearn.data.dataset import Dataset, Demonstrator, TaskRecord
from metalearn.data.episode import Episode
from metalearn.data.parts import joined
from metalearn.data.spec import Spec

HORIZON, RATE_HZ, NOISE, STITCHED_CELLS = 1000, 10.0, 0.5, 4
N_RECORDS = 100  # that the episodes are shared out to: a tenth of them is held out to see when to stop
ACHIEVED = "achieved_goal"


@dataclass(frozen=True)
class Kind:
    """How a data set is recorded: one goal after another in long episodes, or one near goal in each short one."""

    n_episodes: int
    n_steps: int
    navigates: bool


KINDS = {
    f"{maze}-{name}": kind
    for maze, navigate in (("medium", (1000, 1001)), ("large", (1000, 1001)), ("giant", (500, 2001)))
    for name, kind in (("navigate", Kind(*navigate, True)), ("stitch", Kind(5000, 201, False)))
}
"""By name, as `medium-navigate`."""


def maze_of(name: str) -> str:
    """The maze that a data set is of."""
    return name.partition("-")[0]


def make(maze: str, **more: Any) -> Any:
    """OGBench's environment without its wrappers; its own randomness is numpy's global one."""
    import gymnasium
    import ogbench.locomaze  # noqa: F401 (which registers it)

    return gymnasium.make(f"pointmaze-{maze}-v0", disable_env_checker=True, **more).unwrapped


def observed(places: Float[np.ndarray, "n 2"]) -> Any:
    """Observations of these places: a point in a maze is where it is, and nothing else."""
    return joined({ACHIEVED: np.asarray(places, np.float32)})


SPEC = Spec(
    spaces.Dict({ACHIEVED: spaces.Box(-np.inf, np.inf, (2,), np.float32)}),
    spaces.Box(-1, 1, (2,), np.float32),
    horizon=max(HORIZON, *(kind.n_steps for kind in KINDS.values())),
    rate_hz=RATE_HZ,
)


def record(name: str, folder: Path, seed: int, share: float, say: Callable[[str, int, int], None]) -> None:
    """Record the data set `name` into a folder, or a share of its episodes, unless it is there already."""
    if folder.exists():
        return
    kind = KINDS[name]
    np.random.seed(seed)  # noqa: NPY002 (the environment's noise in goals and beginnings)
    walker, rng = Walker(make(maze_of(name), terminate_at_goal=False)), np.random.default_rng(seed)
    n = max(N_RECORDS, round(share * kind.n_episodes))
    episodes = []
    for i in range(n):
        episodes.append(walker.episode(kind, rng))
        say(f"record {name}", i + 1, n)
    tasks = (
        TaskRecord(f"{name}/{i}", (), (), others=(Demonstrator("play", 0.0, (), tuple(episodes[i::N_RECORDS])),))
        for i in range(N_RECORDS)
    )
    unfinished = folder.with_suffix(".part")
    Dataset(SPEC, tuple(tasks)).save(unfinished)
    unfinished.rename(folder)


class Walker:
    """Walks to goals in a maze, the way that its oracle says, with noise."""

    def __init__(self, env: Any) -> None:
        self._env, walls = env, env.maze_map
        self._free = [(int(i), int(j)) for i, j in np.argwhere(walls == 0)]
        self._turns = [cell for cell in self._free if not _hallway(walls, *cell)]
        self._next: dict[Any, Float[np.ndarray, " 2"]] = {}

    def episode(self, kind: Kind, rng: np.random.Generator) -> Episode:
        """One episode."""
        env, start = self._env, _one_of(self._free, rng)
        goal = _one_of(self._turns if kind.navigates else self._near(start), rng)
        env.reset(options={"task_info": {"init_ij": start, "goal_ij": goal}})
        places, actions = [env.get_xy()], []
        for _ in range(kind.n_steps):
            action = np.clip(self._direction(places[-1]) + rng.normal(0, NOISE, 2), -1, 1)
            info = env.step(action)[-1]
            actions.append(action)
            places.append(env.get_xy())
            if info["success"] and kind.navigates:
                env.set_goal(_one_of(self._turns, rng))
        return Episode(observed(np.array(places)), np.array(actions, np.float32))

    def _direction(self, place: Float[np.ndarray, " 2"]) -> Float[np.ndarray, " 2"]:
        """To the next cell on the way, of length 1."""
        goal = self._env.cur_goal_xy
        cells = self._env.xy_to_ij(place), self._env.xy_to_ij(goal)
        if cells not in self._next:  # the oracle searches the maze at every call, and sees no more than cells
            self._next[cells] = self._env.get_oracle_subgoal(place, goal)[0]
        towards = self._next[cells] - place
        direction: Float[np.ndarray, " 2"] = towards / (np.linalg.norm(towards) + 1e-6)
        return direction

    def _near(self, start: tuple[int, int]) -> list[tuple[int, int]]:
        """The cells that are so many cells away; where there are none, it stays."""
        place = self._env.ij_to_xy(start)
        distance = self._env.get_oracle_subgoal(place, place)[1]
        return [cell for cell in self._free if distance[cell] == STITCHED_CELLS] or [start]


def _hallway(walls: Any, i: int, j: int) -> bool:
    """Whether a free cell leads straight on and nowhere else: no goal of long episodes is there."""
    beside = bool(walls[i - 1, j]), bool(walls[i + 1, j]), bool(walls[i, j - 1]), bool(walls[i, j + 1])
    return beside in ((False, False, True, True), (True, True, False, False))


def _one_of(cells: list[tuple[int, int]], rng: np.random.Generator) -> tuple[int, int]:
    return cells[int(rng.integers(len(cells)))]
