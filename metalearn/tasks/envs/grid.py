"""Errands in the dark: a grid in which one sees nothing but one's own cell, and cells to be visited in order.

Steps many errands together. Knows nothing of which errands make a task: that is `dark`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np
from jaxtyping import Bool, Float32, Int64

from metalearn.data.episode import Array, Episode
from metalearn.data.spec import Spec
from metalearn.tasks.family import Scene, TaskVectorEnv
from metalearn.tasks.rendering import draw_scene, raster

SIDE = 9
CENTRE = (SIDE - 1) / 2
MOVES = np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])  # stay, east, west, north, south


@dataclass(frozen=True)
class Errand:
    """What one episode asks for: from `start [2]` to `stops [n 2]` in order, staying `pauses [n]` steps at each."""

    start: Int64[np.ndarray, "2"]
    stops: Int64[np.ndarray, "n 2"]
    pauses: Int64[np.ndarray, " n"]

    @property
    def n_steps(self) -> int:
        """The fewest steps that it can be done in."""
        path = np.concatenate([self.start[None], self.stops])
        return int(np.abs(np.diff(path, axis=0)).sum() + self.pauses.sum())


@runtime_checkable
class ErrandFamily(Protocol):
    """What the environments ask of a family."""

    @property
    def spec(self) -> Spec:
        """Spaces and horizon."""
        ...

    @property
    def tolerance(self) -> float:
        """An episode succeeds within so many times the fewest possible steps."""
        ...

    def errand(self, index: int, scene: Scene, rng: np.random.Generator) -> Errand:
        """What an episode of task `index` asks for, its start drawn from `rng`."""
        ...

    def places(self, index: int) -> Int64[np.ndarray, "n 2"]:
        """The cells of task `index` worth drawing; those that end an episode last."""
        ...


class ErrandVectorEnv(TaskVectorEnv):
    """b errands in lockstep: state is the own cell `at [b 2]` and how many stops are done, `stage [b]`."""

    def __init__(self, family: ErrandFamily, indices: Sequence[int], scene: Scene = "trial") -> None:
        super().__init__(family.spec, len(indices))
        self._family, self._scene = family, scene
        self._horizon, self._size = family.spec.horizon, family.spec.observation_size
        self._indices = [int(index) for index in indices]
        self._errands: list[Errand] = []
        self.at = np.zeros((len(indices), 2), np.int64)
        self.stage, self._waited, self._steps, self.optimal_steps = np.zeros((4, len(indices)), np.int64)
        self._ended = np.ones(len(indices), bool)
        self._success = np.zeros(len(indices), bool)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Draw a start for every row; `seed` is one seed per row."""
        seeds = seed if isinstance(seed, Sequence | np.ndarray) else [seed] * self.num_envs
        self._rngs = [np.random.default_rng(row_seed) for row_seed in seeds]
        self._errands = [
            self._family.errand(index, self._scene, rng) for index, rng in zip(self._indices, self._rngs, strict=True)
        ]
        self.at = np.stack([errand.start for errand in self._errands])
        self._stops = np.stack([errand.stops for errand in self._errands])
        self._pauses = np.stack([errand.pauses for errand in self._errands])
        self.optimal_steps = np.array([errand.n_steps for errand in self._errands])
        self.stage[:] = self._waited[:] = self._steps[:] = 0
        self._ended[:] = self._success[:] = False
        return self._observe(), {"optimal_steps": self.optimal_steps.copy()}

    def step(
        self, actions: Array
    ) -> tuple[Array, Float32[np.ndarray, " b"], Bool[np.ndarray, " b"], Bool[np.ndarray, " b"], dict[str, Any]]:
        """Move every row that has not ended; walls stop it."""
        live = ~self._ended
        self.at[live] = np.clip(self.at[live] + MOVES[np.asarray(actions)[live]], 0, SIDE - 1)
        self._steps[live] += 1
        pause = np.take_along_axis(self._pauses, self._next()[:, None], 1)[:, 0]
        here = live & (self.at == self._target()).all(-1)
        done = here & (self._waited >= pause)
        self._waited = np.where(here & ~done, self._waited + 1, 0)
        self.stage += done
        terminated = live & (self.stage == self._stops.shape[1])
        truncated = live & ~terminated & (self._steps >= self._horizon)
        self._success |= terminated & (self._steps <= self._family.tolerance * self.optimal_steps)
        self._ended |= terminated | truncated
        rewards = done.astype(np.float32) * (self._scene == "trial")
        infos = {"success": self._success.copy(), "optimal_steps": self.optimal_steps.copy()}
        return self._observe(), rewards, self._ended & ~truncated, truncated, infos

    def expert_actions(self) -> Int64[np.ndarray, " b"]:
        """The shortest way to the next stop: along the longer axis first; in a demonstration in any order."""
        offset = self._target() - self.at
        length = np.abs(offset)
        along_y = length[:, 1] > length[:, 0]
        if self._scene == "demo":
            chance = np.array([rng.random() for rng in self._rngs])
            along_y = chance * length.sum(-1) < length[:, 1]
        east = np.where(offset[:, 0] > 0, 1, 2)
        north = np.where(offset[:, 1] > 0, 3, 4)
        return np.where(length.sum(-1) == 0, 0, np.where(along_y, north, east)).astype(np.int64)

    def _next(self) -> Int64[np.ndarray, " b"]:
        """Number of the stop that comes next; of the last one when all are done."""
        return np.minimum(self.stage, self._stops.shape[1] - 1)

    def _target(self) -> Int64[np.ndarray, "b 2"]:
        return np.take_along_axis(self._stops, self._next()[:, None, None], 1)[:, 0]

    def _observe(self) -> Float32[np.ndarray, "b o"]:
        """The own cell, and where something is carried whether it is; a demonstration does not show that."""
        own = (self.at - CENTRE) / CENTRE
        held = (self.stage > 0) & (self._scene == "trial")
        return np.concatenate([own, held[:, None]], -1).astype(np.float32)[:, : self._size]


class ErrandEnv(gym.Env[Array, Any]):
    """One dark task: one row of `ErrandVectorEnv`."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}

    def __init__(
        self, family: ErrandFamily, index: int = 0, scene: Scene = "trial", render_mode: str | None = None
    ) -> None:
        self._row = ErrandVectorEnv(family, [index], scene)
        self._places = family.places(index)
        self.observation_space = family.spec.observation_space
        self.action_space = family.spec.action_space
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Draw a start."""
        super().reset(seed=seed)
        observations, infos = self._row.reset(seed=[int(self.np_random.integers(2**32)) if seed is None else seed])
        return observations[0], {"optimal_steps": int(infos["optimal_steps"][0])}

    def step(self, action: Any) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Stay, or move by one cell."""
        observations, rewards, terminated, truncated, infos = self._row.step(np.asarray(action)[None])
        info = {"success": bool(infos["success"][0]), "optimal_steps": int(infos["optimal_steps"][0])}
        return observations[0], float(rewards[0]), bool(terminated[0]), bool(truncated[0]), info

    def expert_action(self) -> np.int64:
        """What the expert does in the present state."""
        return self._row.expert_actions()[0]

    def render(self) -> Any:
        """The room from above, `[256, 256, 3]` uint8; the door or the goal has a rim."""
        places = (self._places - CENTRE) / CENTRE
        return raster((self._row.at[0] - CENTRE) / CENTRE, places, _palette(len(places)), len(places) - 1)


def draw_errand(axes: Any, episode: Episode, places: Int64[np.ndarray, "n 2"], key: int) -> None:
    """Draw an episode's path over the places of its task, of which number `key` gets a rim."""
    at = (places - CENTRE) / CENTRE
    colours = _palette(len(places))
    path = (own_cells(episode) - CENTRE) / CENTRE
    draw_scene(axes, path, at, list(range(max(1, len(at) - 1))), key, colours, episode.success)


def _palette(n: int) -> Array:
    return np.array([[0.0, 0.45, 0.70], [0.90, 0.62, 0.0], [0.0, 0.62, 0.45], [0.80, 0.47, 0.65]])[:n]


def own_cells(episode: Episode) -> Int64[np.ndarray, "t 2"]:
    """The cells (column, row) that an episode was in."""
    return np.round(episode.observations[:, :2] * CENTRE + CENTRE).astype(np.int64)
