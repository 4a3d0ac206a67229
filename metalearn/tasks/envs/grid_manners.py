"""A grid of 9 x 9 cells, walked by agents who differ in manner and in skill: discrete actions.

A task is a flag to go to and a demonstrator, who takes each step with probabilities of its own. They depend on the
cell and on where the flag is, and on nothing else, so that a policy without a memory can have them, and so that how
probable an episode is under its demonstrator is known exactly. Test tasks have new combinations of manners.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from jaxtyping import Float, Float32, Int64, UInt8

from metalearn.data.episode import Array, Episode
from metalearn.data.spec import Spec
from metalearn.tasks.envs.combinations import at_shares, draw_shares, draw_skill, sibling_of
from metalearn.tasks.envs.grid import CENTRE, KEYS, MOVES, SIDE
from metalearn.tasks.family import SPLITS, Scene, TaskVectorEnv
from metalearn.tasks.rendering import draw_plane
from metalearn.tasks.single_row import SingleRowEnv

HORIZON = 60
N_FLAGS = 2
FAR, NEAR = 4, 3  # steps to the flag: where walls are looked for, and where one hesitates
APART = 6  # least steps from the start to a flag

RANGES: Mapping[str, tuple[float, float]] = {
    "horizontal": (0.05, 0.95),  # probability of the horizontal step first, where both are due
    "wall": (0.0, 0.6),  # probability of a step to the nearest wall, far from the flag and not beside a wall
    "hesitation": (0.0, 0.7),  # probability of standing still, near the flag
    "detour": (-0.45, 0.45),  # probability of a step aside; to the left if it is positive, else to the right
}


@dataclass(frozen=True)
class Walk:
    """How a demonstrator walks; see `RANGES`. `skill` is 1 for an expert, 0 for uniformly random steps."""

    horizontal: float = 0.5
    wall: float = 0.0
    hesitation: float = 0.0
    detour: float = 0.0
    skill: float = 1.0


@dataclass(frozen=True)
class GridManners:
    """Two flags in sight, of which the demonstration shows the right one, and how to go there."""

    name: str = "grid-manners"
    version: int = 1

    @property
    def splits(self) -> Mapping[str, range]:
        """Every index within `SPLITS` is a task."""
        return SPLITS

    @property
    def spec(self) -> Spec:
        """Observation: the walker's cell `[2]`, -1 and 1 at the walls, and each flag's offset from it `[2]`."""
        box = spaces.Box(-2.0, 2.0, (2 + 2 * N_FLAGS,), np.float32)
        return Spec(box, spaces.Discrete(len(MOVES)), HORIZON, rate_hz=2.0, version=self.version)

    def manner(self, index: int) -> Walk:
        """The demonstrator of task `index`: one for each of the flags."""
        rng = np.random.default_rng([0x94D, index // N_FLAGS])
        shares = draw_shares(len(RANGES), index, rng)
        return Walk(**at_shares(RANGES, shares), skill=draw_skill(rng))

    def skill(self, index: int) -> float:
        """How skilled the demonstrator of a task is, from 0 to 1."""
        return self.manner(index).skill

    def sibling(self, index: int, rng: np.random.Generator) -> int:
        """A task with the same flag and another demonstrator."""
        return sibling_of(index, N_FLAGS, self.splits, rng)

    def bayes_success(self, n_trials: int) -> float:
        """1: a demonstration shows the flag."""
        return 1.0

    def make(self, index: int, scene: Scene = "trial", render_mode: str | None = None) -> gym.Env[Any, Any]:
        """Task `index` as a Gymnasium environment."""
        return SingleRowEnv(self, index, scene, render_mode)

    def make_vec(self, indices: Sequence[int], scene: Scene = "trial") -> "GridMannersVectorEnv":
        """The tasks `indices`, stepped together in numpy; both scenes are alike."""
        return GridMannersVectorEnv(self, indices)

    def statistics(self, episodes: Sequence[Episode], index: int) -> Float[np.ndarray, " 6"]:
        """How an agent walks in some episodes; NaN where it never was there.

        1. the share of horizontal ones among steps where both are due; 2. that of steps at a wall, far from the flag
        (> 4 steps); 3. and 4. that of standing still, near the flag (<= 3 steps) and elsewhere; 5. steps aside to the
        left less those to the right, as a share of all; 6. the share of steps that lead away from the flag.
        """
        cells, offsets, actions = (np.concatenate(c) for c in zip(*(_steps(e, index) for e in episodes), strict=True))
        due, moves = np.sign(offsets), MOVES[actions]
        distance, moved = np.abs(offsets).sum(-1), np.abs(moves).sum(-1) > 0
        both, far, near = (due != 0).all(-1), distance > FAR, distance <= NEAR
        towards = (moves * due).sum(-1) > 0
        aside = _left(offsets)
        return np.array([
            _mean((moves[:, 0] != 0)[both & towards]), _mean(_at_wall(cells)[far]), _mean(~moved[near]),
            _mean(~moved[~near]), _mean((moves * aside).sum(-1).astype(np.float64)), _mean((moves * due).sum(-1) < 0),
        ])  # fmt: skip

    def goal_of(self, episode: Episode) -> int | None:
        """The number of the flag that was reached; None if none was."""
        offsets = np.abs(episode.observations[-1, 2:].reshape(N_FLAGS, 2)).sum(-1)
        return int(offsets.argmin()) if offsets.min() == 0 else None

    def log_likelihood(self, index: int, episode: Episode) -> Float[np.ndarray, " t"]:
        """log p of each step under the demonstrator of task `index`: the truth, which no policy knows."""
        cells, offsets, actions = _steps(episode, index)
        p = step_probabilities(np.tile(astuple(self.manner(index)), (len(cells), 1)), cells, offsets)
        taken: Float[np.ndarray, " t"] = np.log(p[np.arange(len(cells)), actions])
        return taken


class GridMannersVectorEnv(TaskVectorEnv):
    """b walkers in lockstep. The state is `cells [b 2]` and `flags [b n 2]`, in cells.

    An episode ends on a flag, and succeeds on the right one.
    """

    def __init__(self, family: GridManners, indices: Sequence[int]) -> None:
        super().__init__(family.spec, len(indices))
        self._target = np.array([int(index) % N_FLAGS for index in indices], np.int64)
        self._manners = np.array([astuple(family.manner(int(index))) for index in indices]).reshape(len(indices), -1)
        self.cells = np.zeros((len(indices), 2), np.int64)
        self.flags = np.zeros((len(indices), N_FLAGS, 2), np.int64)
        self._rngs = [np.random.default_rng() for _ in indices]
        self._n_steps = 0
        self._ended = np.ones(len(indices), bool)
        self._success = np.zeros(len(indices), bool)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Draw a start and flags for every row."""
        self.reseed(self._rngs, seed)
        for row, rng in enumerate(self._rngs):
            self.cells[row], self.flags[row] = _layout(rng)
        self._n_steps = 0
        self._ended[:] = self._success[:] = False
        return self._observe(), {}

    def step(self, actions: Array) -> tuple[Any, Float32[np.ndarray, " b"], Array, Array, dict[str, Any]]:
        """Move every row that has not ended by at most one cell; walls stop it."""
        live = ~self._ended
        self.cells[live] = np.clip(self.cells[live] + MOVES[np.asarray(actions)[live]], 0, SIDE - 1)
        self._n_steps += 1
        on_flag = (self.flags == self.cells[:, None]).all(-1)
        terminated = live & on_flag.any(-1)
        succeeded = terminated & on_flag[np.arange(self.num_envs), self._target]
        truncated = live & ~terminated & (self._n_steps >= self.task_spec.horizon)
        self._success |= succeeded
        self._ended |= terminated | truncated
        infos = {"success": self._success.copy()}
        return self._observe(), succeeded.astype(np.float32), self._ended & ~truncated, truncated, infos

    def expert_actions(self) -> Int64[np.ndarray, " b"]:
        """A step of each demonstrator."""
        goal = self.flags[np.arange(self.num_envs), self._target]
        p = step_probabilities(self._manners, self.cells, goal - self.cells)
        drawn = np.array([rng.random() for rng in self._rngs])
        return np.minimum((drawn[:, None] > p.cumsum(-1)).sum(-1), len(MOVES) - 1).astype(np.int64)

    def keys_to_action(self) -> dict[str, int]:
        """The keys of `MOVES`."""
        return KEYS

    def render_row(self, row: int) -> UInt8[np.ndarray, "h w 3"]:
        """The grid from above, with a rim around the right flag."""
        flags, colours = (self.flags[row] - CENTRE) / CENTRE, np.array([[0.0, 0.45, 0.70], [0.90, 0.62, 0.0]])
        return draw_plane((self.cells[row] - CENTRE) / CENTRE, flags, colours, int(self._target[row]))

    def _observe(self) -> Float32[np.ndarray, "b 6"]:
        offsets = (self.flags - self.cells[:, None]) / CENTRE
        seen = np.concatenate([(self.cells - CENTRE) / CENTRE, offsets.reshape(self.num_envs, -1)], -1)
        return seen.astype(np.float32)


def step_probabilities(
    manners: Float[np.ndarray, "b 5"], cells: Int64[np.ndarray, "b 2"], offsets: Int64[np.ndarray, "b 2"]
) -> Float[np.ndarray, "b 5"]:
    """The probability of each of `MOVES` for demonstrators in these cells, with these offsets to their flags.

    A demonstrator first hesitates or not, then goes aside or not, then to a wall or not, and else takes one of the due
    steps. All of it happens with probability `skill`, and a uniformly random step otherwise.
    """
    horizontal, wall, hesitation, detour, skill = manners.T
    distance = np.abs(offsets).sum(-1)
    stays = np.where((distance <= NEAR) & (distance > 0), hesitation, 0.0)
    aside = np.where(distance > NEAR, np.abs(detour), 0.0)
    hugs = np.where((distance > FAR) & ~_at_wall(cells), wall, 0.0)
    sideways = _left(offsets) * np.sign(detour).astype(np.int64)[:, None]
    share_x = np.where(offsets[:, 0] == 0, 0.0, np.where(offsets[:, 1] == 0, 1.0, horizontal))
    due = np.sign(offsets)
    p = np.zeros((len(cells), len(MOVES)))
    rows, left = np.arange(len(cells)), 1 - stays
    p[:, 0] = stays
    for chance, moves in ((aside, sideways), (hugs, _to_wall(cells))):
        p[rows, _numbers(moves)] += left * chance
        left = left * (1 - chance)
    p[rows, _numbers(due * [1, 0])] += left * share_x
    p[rows, _numbers(due * [0, 1])] += left * (1 - share_x)
    mixed: Float[np.ndarray, "b 5"] = skill[:, None] * p + (1 - skill[:, None]) / len(MOVES)
    return mixed


def _layout(rng: np.random.Generator) -> tuple[Array, Array]:
    """A start, and flags that are far from it and from each other."""
    while True:
        places = rng.integers(0, SIDE, (N_FLAGS + 1, 2))
        apart = np.abs(places[:, None] - places[None]).sum(-1)
        if (apart[0, 1:] >= APART).all() and apart[1, 2] >= NEAR + 1:
            return places[0], places[1:]


def _steps(episode: Episode, index: int) -> tuple[Array, Array, Array]:
    """The cells, the offsets to the flag of task `index`, in cells, and the actions of every step."""
    assert episode.actions is not None
    seen, first = episode.observations[:-1], 2 + 2 * (index % N_FLAGS)
    cells = np.round(seen[:, :2] * CENTRE + CENTRE).astype(np.int64)
    return cells, np.round(seen[:, first : first + 2] * CENTRE).astype(np.int64), episode.actions


def _at_wall(cells: Int64[np.ndarray, "b 2"]) -> Array:
    found: Array = ((cells == 0) | (cells == SIDE - 1)).any(-1)
    return found


def _to_wall(cells: Int64[np.ndarray, "b 2"]) -> Int64[np.ndarray, "b 2"]:
    """A step to the nearest wall; to the west or to the south of two that are as near."""
    gaps = np.stack([cells[:, 0], cells[:, 1], SIDE - 1 - cells[:, 0], SIDE - 1 - cells[:, 1]], -1)
    steps: Array = np.array([[-1, 0], [0, -1], [1, 0], [0, 1]])[gaps.argmin(-1)]
    return steps


def _left(offsets: Int64[np.ndarray, "b 2"]) -> Int64[np.ndarray, "b 2"]:
    """A step to the left of the longer way to the flag."""
    along = np.abs(offsets[:, 0]) >= np.abs(offsets[:, 1])
    ahead = np.sign(offsets) * np.stack([along, ~along], -1)
    turned: Array = np.stack([-ahead[:, 1], ahead[:, 0]], -1)
    return turned


def _numbers(moves: Int64[np.ndarray, "b 2"]) -> Int64[np.ndarray, " b"]:
    """The number of each move in `MOVES`."""
    found: Array = (moves[:, None] == MOVES[None]).all(-1).argmax(-1)
    return found


def _mean(values: Array) -> float:
    return float(values.mean()) if len(values) else float("nan")
