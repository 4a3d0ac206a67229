"""A grid world of 9 x 9 cells: the agent observes its own cell and has to visit hidden waypoints in order.

Steps many rows together. Knows no tasks: the family says which route an episode has (`dark_room`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from metalearn.data.episode import Array, Episode
from metalearn.data.spec import Spec
from metalearn.tasks.family import Scene, TaskVectorEnv
from metalearn.tasks.rendering import draw_plane, draw_scene

SIDE = 9
CENTRE = (SIDE - 1) / 2
MOVES = np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])  # stay, east, west, north, south
KEYS = dict(zip((" ", "d", "a", "w", "s"), range(len(MOVES)), strict=True))


@dataclass(frozen=True)
class Route:
    """The task of one episode: from `start [2]` to the `waypoints [n 2]` in order, with `pauses [n]` steps at each."""

    start: Int64[np.ndarray, "2"]
    waypoints: Int64[np.ndarray, "n 2"]
    pauses: Int64[np.ndarray, " n"]

    @property
    def n_steps(self) -> int:
        """The number of steps on the shortest path, pauses included."""
        path = np.concatenate([self.start[None], self.waypoints])
        return int(np.abs(np.diff(path, axis=0)).sum() + self.pauses.sum())


@runtime_checkable
class GridFamily(Protocol):
    """The members of a family that the grid world uses."""

    @property
    def spec(self) -> Spec:
        """Spaces and horizon."""
        ...

    @property
    def tolerance(self) -> float:
        """An episode succeeds within this multiple of the fewest possible steps."""
        ...

    def route(self, index: int, scene: Scene, rng: np.random.Generator) -> Route:
        """The route of an episode of task `index`, with a start drawn from `rng`."""
        ...

    def places(self, index: int) -> Int64[np.ndarray, "n 2"]:
        """The cells to draw for task `index`; the last one is the cell on which an episode ends."""
        ...


class GridVectorEnv(TaskVectorEnv):
    """b routes in lockstep. The state is `cells [b 2]` and the number of waypoints reached, `n_reached [b]`."""

    def __init__(self, family: GridFamily, indices: Sequence[int], scene: Scene = "trial") -> None:
        super().__init__(family.spec, len(indices))
        self._family, self._scene = family, scene
        self._horizon, self._size = family.spec.horizon, family.spec.observation_size
        self._indices = [int(index) for index in indices]
        self.cells = np.zeros((len(indices), 2), np.int64)
        self.n_reached, self._waited, self._steps, self.optimal_steps = np.zeros((4, len(indices)), np.int64)
        self._ended = np.ones(len(indices), bool)
        self._success = np.zeros(len(indices), bool)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Draw a start for every row."""
        self._rngs = [np.random.default_rng(row_seed) for row_seed in self.row_seeds(seed)]
        routes = [
            self._family.route(index, self._scene, rng) for index, rng in zip(self._indices, self._rngs, strict=True)
        ]
        self.cells = np.stack([route.start for route in routes])
        self._waypoints = np.stack([route.waypoints for route in routes])
        self._pauses = np.stack([route.pauses for route in routes])
        self.optimal_steps = np.array([route.n_steps for route in routes])
        self.n_reached[:] = self._waited[:] = self._steps[:] = 0
        self._ended[:] = self._success[:] = False
        return self._observe(), {"optimal_steps": self.optimal_steps.copy()}

    def step(
        self, actions: Array
    ) -> tuple[Array, Float32[np.ndarray, " b"], Bool[np.ndarray, " b"], Bool[np.ndarray, " b"], dict[str, Any]]:
        """Move every row that has not ended by at most one cell; walls stop it."""
        live = ~self._ended
        self.cells[live] = np.clip(self.cells[live] + MOVES[np.asarray(actions)[live]], 0, SIDE - 1)
        self._steps[live] += 1
        pause = np.take_along_axis(self._pauses, self._next()[:, None], 1)[:, 0]
        here = live & (self.cells == self._target()).all(-1)
        done = here & (self._waited >= pause)
        self._waited = np.where(here & ~done, self._waited + 1, 0)
        self.n_reached += done
        terminated = live & (self.n_reached == self._waypoints.shape[1])
        truncated = live & ~terminated & (self._steps >= self._horizon)
        self._success |= terminated & (self._steps <= self._family.tolerance * self.optimal_steps)
        self._ended |= terminated | truncated
        rewards = done.astype(np.float32) * (self._scene == "trial")
        infos = {"success": self._success.copy(), "optimal_steps": self.optimal_steps.copy()}
        return self._observe(), rewards, self._ended & ~truncated, truncated, infos

    def expert_actions(self) -> Int64[np.ndarray, " b"]:
        """A shortest path to the next waypoint: along the longer axis first, or in random order in a demonstration."""
        offset = self._target() - self.cells
        length = np.abs(offset)
        along_y = length[:, 1] > length[:, 0]
        if self._scene == "demo":
            chance = np.array([rng.random() for rng in self._rngs])
            along_y = chance * length.sum(-1) < length[:, 1]
        east = np.where(offset[:, 0] > 0, 1, 2)
        north = np.where(offset[:, 1] > 0, 3, 4)
        return np.where(length.sum(-1) == 0, 0, np.where(along_y, north, east)).astype(np.int64)

    def _next(self) -> Int64[np.ndarray, " b"]:
        """The number of the next waypoint; of the last one once all have been reached."""
        return np.minimum(self.n_reached, self._waypoints.shape[1] - 1)

    def _target(self) -> Int64[np.ndarray, "b 2"]:
        return np.take_along_axis(self._waypoints, self._next()[:, None, None], 1)[:, 0]

    def render_row(self, row: int) -> UInt8[np.ndarray, "h w 3"]:
        """The grid from above, with a rim around the cell on which an episode ends."""
        places = (self._family.places(self._indices[row]) - CENTRE) / CENTRE
        return draw_plane((self.cells[row] - CENTRE) / CENTRE, places, _palette(len(places)), len(places) - 1)

    def keys_to_action(self) -> dict[str, int]:
        """The keys of `MOVES`."""
        return KEYS

    def _observe(self) -> Float32[np.ndarray, "b o"]:
        """The agent's cell, and in a room with a key whether it is held; a demonstration does not show that."""
        cells = (self.cells - CENTRE) / CENTRE
        held = (self.n_reached > 0) & (self._scene == "trial")
        return np.concatenate([cells, held[:, None]], -1).astype(np.float32)[:, : self._size]


def draw_episode(axes: Any, episode: Episode, places: Int64[np.ndarray, "n 2"], key: int) -> None:
    """Draw an episode's path over the places of its task, with a rim around place number `key`."""
    at = (places - CENTRE) / CENTRE
    colours = _palette(len(places))
    path = (visited_cells(episode) - CENTRE) / CENTRE
    draw_scene(axes, path, at, list(range(max(1, len(at) - 1))), key, colours, episode.success)


def _palette(n: int) -> Array:
    return np.array([[0.0, 0.45, 0.70], [0.90, 0.62, 0.0], [0.0, 0.62, 0.45], [0.80, 0.47, 0.65]])[:n]


def visited_cells(episode: Episode) -> Int64[np.ndarray, "t 2"]:
    """The cells (column, row) of an episode, one for each observation."""
    return np.round(episode.observations[:, :2] * CENTRE + CENTRE).astype(np.int64)
