"""Reach: a point robot in the plane and N objects, one of them the hidden target.

The demonstration goes to the middle of a tight cluster of M candidates and so does not single one out. In the trial
scene the candidates are far apart, and the first object touched ends the episode. After t failed trials an attempt
succeeds with a probability of at most 1 / (M - t); over all tasks the best success rate is (t + 1) / M, exactly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from jaxtyping import Bool, Float, Float32, Int, Shaped, UInt8

from metalearn.data.episode import Array, Episode
from metalearn.data.spec import Spec
from metalearn.tasks.envs import reach_words
from metalearn.tasks.family import SPLITS, Scene, TaskVectorEnv
from metalearn.tasks.rendering import EDGE, draw_plane, draw_scene
from metalearn.tasks.single_row import SingleRowEnv

HORIZON = 30
SPEED = 0.1  # distance per step at full action
TOUCH_RADIUS = 0.1
SLOWING_RADIUS = 0.3  # within this distance the expert slows down in proportion to it
COLOUR_CELLS = 4  # per axis of the colour cube; cells of even parity train, of odd parity test
COLOUR_DISTANCE = 0.6


@dataclass(frozen=True)
class Reach:
    """A family with `n_objects` objects; the demonstration cannot tell `n_candidates` of them apart.

    An object is identified by its slot in the observation. With `coloured` it is identified by a colour instead: slots
    are shuffled in every episode, and the colours of test tasks never occur in training. Its observations then have two
    parts, the robot and a set of objects. Of objects known by their slot all sets of candidates occur in training, and
    test tasks have new layouts of them; with `new_sets` test tasks have sets that never occur in training.
    """

    name: str
    n_objects: int
    n_candidates: int
    coloured: bool = False
    version: int = 1
    new_sets: bool = False

    @property
    def splits(self) -> Mapping[str, range]:
        """Every index within `SPLITS` is a task."""
        return SPLITS

    @property
    def spec(self) -> Spec:
        """Observation: the robot's position `[2]`, and each object's relative position `[2]` (and colour `[3]`)."""
        observation: spaces.Space[Any] = spaces.Box(-3.0, 3.0, (2 + 2 * self.n_objects,), np.float32)
        if self.coloured:
            robot, objects = (spaces.Box(-3.0, 3.0, shape, np.float32) for shape in ((2,), (self.n_objects, 5)))
            observation = spaces.Dict({"robot": robot, "objects": objects})
        return Spec(observation, spaces.Box(-1.0, 1.0, (2,), np.float32), HORIZON, rate_hz=10.0, version=self.version)

    def candidates(self, index: int) -> tuple[Array, int]:
        """The slots `[M]` (or colours `[M, 3]`) of a task's candidates, and the number of the target among them.

        The M tasks of one group share their candidates, and therefore their demonstrations.
        """
        group, target = divmod(index, self.n_candidates)
        rng = np.random.default_rng([0xEAC4, self.n_objects, self.n_candidates, self.coloured, group])
        if self.coloured:
            return _colours(rng, self.n_candidates, held_out(index), np.empty((0, 3))), target
        while True:
            slots = rng.permutation(self.n_objects)[: self.n_candidates]
            if not self.new_sets or held_out_set(slots) == (index in SPLITS["test"]):
                return slots, target

    def make(self, index: int, scene: Scene = "trial", render_mode: str | None = None) -> gym.Env[Any, Any]:
        """Task `index` as a Gymnasium environment."""
        return SingleRowEnv(self, index, scene, render_mode)

    def make_vec(self, indices: Sequence[int], scene: Scene = "trial") -> "ReachVectorEnv":
        """The tasks `indices`, stepped together in numpy."""
        return ReachVectorEnv(self, indices, scene)

    def bayes_success(self, n_trials: int) -> float:
        """(t + 1) / M: a failed trial rules out one candidate, and a successful trial is repeated."""
        return min(1.0, (n_trials + 1) / self.n_candidates)

    def sibling(self, index: int, rng: np.random.Generator) -> int:
        """A task of the same group, so with the same demonstrations, and a newly drawn target."""
        return index - index % self.n_candidates + int(rng.integers(self.n_candidates))

    def achieved_goal(self, observations: Shaped[np.ndarray, "n *o"]) -> Float32[np.ndarray, "n 2"]:
        """Where the robot is."""
        return self._parse(observations)[0].astype(np.float32)

    def sentences(self, index: int) -> tuple[str, ...]:
        """The target by its number, or by a word for its colour that no other candidate has."""
        return self._said(index, reach_words.BY_NUMBER, reach_words.BY_COLOUR)

    def held_out_sentences(self, index: int) -> tuple[str, ...]:
        """The same in other words."""
        return self._said(index, reach_words.BY_NUMBER_HELD_OUT, reach_words.BY_COLOUR_HELD_OUT)

    def _said(self, index: int, by_number: Sequence[str], by_colour: Sequence[str]) -> tuple[str, ...]:
        candidates, target = self.candidates(index)
        if self.coloured:
            return tuple(reach_words.coloured(candidates, target, by_colour))
        return tuple(reach_words.numbered(int(candidates[target]), by_number))

    def draw(self, axes: Any, episode: Episode, index: int) -> None:
        """Draw an episode from above into matplotlib axes: path, objects, candidates, target."""
        positions, relative, colours = self._parse(episode.observations)
        draw_scene(axes, positions, relative[0] + positions[0], *self.roles(colours[0], index), episode.success)

    def _parse(self, observations: Array) -> tuple[Array, Array, Array]:
        """The robot's positions `[t, 2]`, relative positions `[t, n, 2]`, colours `[t, n, 3]` (or empty)."""
        if self.coloured:
            return observations["robot"], observations["objects"][..., :2], observations["objects"][..., 2:]
        objects = observations[:, 2:].reshape(len(observations), self.n_objects, -1)
        return observations[:, :2], objects[..., :2], objects[..., 2:]

    def roles(self, colours: Array, index: int) -> tuple[list[int], int, Array]:
        """Slots of the candidates and of the target in one episode, and a colour in 0..1 for each of the n slots."""
        candidates, target = self.candidates(index)
        if not self.coloured:
            palette = np.array([[0.0, 0.45, 0.70], [0.90, 0.62, 0.0], [0.0, 0.62, 0.45], [0.80, 0.47, 0.65]])
            more = np.array([[0.34, 0.71, 0.91], [0.84, 0.37, 0.0]])
            return [int(c) for c in candidates], int(candidates[target]), np.vstack([palette, more])[: self.n_objects]
        slots = [int(np.abs(colours - colour).sum(-1).argmin()) for colour in candidates]
        return slots, slots[target], (colours + 1) / 2


def held_out(index: int) -> bool:
    """True for a task with colours from the held-out half of the colour cube."""
    return index not in SPLITS["train"]


def held_out_set(slots: Int[np.ndarray, " m"]) -> bool:
    """True for the sets of candidates that `new_sets` keeps for testing: those whose sum three divides.

    Two of the six pairs of four objects, in which every object is once; five of the fifteen fours of six.
    """
    return bool(slots.sum() % 3 == 0)


class ReachVectorEnv(TaskVectorEnv):
    """b reach tasks in lockstep. The state is `positions [b, 2]`, `objects [b, n, 2]` and `colours [b, n, 3]`."""

    def __init__(self, family: Reach, indices: Sequence[int], scene: Scene = "trial") -> None:
        super().__init__(family.spec, len(indices))
        self.family = family
        self.scene = scene
        self._tasks = [(int(index), *family.candidates(int(index))) for index in indices]
        b, n = len(indices), family.n_objects
        self.positions = np.zeros((b, 2), np.float32)
        self.objects = np.zeros((b, n, 2), np.float32)
        self.colours = np.zeros((b, n, 3), np.float32)
        self.goal = np.zeros((b, 2), np.float32)
        self.target = np.zeros(b, np.int64)
        self._steps = np.zeros(b, np.int64)
        self._ended = np.ones(b, bool)
        self._success = np.zeros(b, bool)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Draw a layout for every row."""
        for row, row_seed in enumerate(self.row_seeds(seed)):
            self._lay_out(row, np.random.default_rng(row_seed), *self._tasks[row])
        self._steps[:] = 0
        self._ended[:] = False
        self._success[:] = False
        return self._observe(), {}

    def step(self, actions: Array) -> tuple[Any, Array, Bool[np.ndarray, " b"], Bool[np.ndarray, " b"], dict[str, Any]]:
        """Move every row that has not ended by `SPEED` times its velocity."""
        live = ~self._ended
        self.positions[live] += SPEED * self.velocities(np.clip(actions[live], -1, 1), live)
        np.clip(self.positions, -1, 1, out=self.positions)
        self._steps[live] += 1
        if self.scene == "demo":
            arrived = np.linalg.norm(self.goal - self.positions, axis=-1) < TOUCH_RADIUS / 5
            terminated = arrived & live
            succeeded = terminated
        else:
            distance = np.linalg.norm(self.objects - self.positions[:, None], axis=-1)
            terminated = (distance.min(-1) < TOUCH_RADIUS) & live
            succeeded = terminated & (distance.argmin(-1) == self.target)
        truncated = live & ~terminated & (self._steps >= self.task_spec.horizon)
        self._success |= succeeded
        self._ended |= terminated | truncated
        rewards = succeeded.astype(np.float32)
        return self._observe(), rewards, self._ended & ~truncated, truncated, {"success": self._success.copy()}

    def velocities(self, actions: Array, rows: Array) -> Array:
        """The velocities `[n, 2]` of `rows` under these actions, in units of `SPEED`."""
        return actions

    def expert_actions(self) -> Float[np.ndarray, "b 2"]:
        """Straight towards the goal, at full speed from afar and in proportion to the distance nearby."""
        offset = self.goal - self.positions
        distance = np.linalg.norm(offset, axis=-1, keepdims=True)
        return (offset / np.maximum(distance, SLOWING_RADIUS)).astype(np.float32)

    def pointer_action(self, row: int, x: float, y: float) -> Float[np.ndarray, "2"]:
        """Straight towards the place, slower nearby, as the expert does it."""
        offset = self.goal_at(row, x, y) - self.positions[row]
        return (offset / max(float(np.linalg.norm(offset)), SLOWING_RADIUS)).astype(np.float32)

    def goal_at(self, row: int, x: float, y: float) -> Float32[np.ndarray, "2"]:
        """The place in the plane."""
        return (EDGE * np.array([2 * x - 1, 1 - 2 * y])).astype(np.float32)

    def place_of_goal(self, row: int, goal: Float32[np.ndarray, "2"]) -> tuple[float, float]:
        """The same, the other way round."""
        x, y = (goal / EDGE).tolist()
        return (1 + x) / 2, (1 - y) / 2

    def render_row(self, row: int) -> UInt8[np.ndarray, "h w 3"]:
        """The scene from above: in a trial with a rim around the target, in a demonstration a ring where it ends."""
        _, target, colours = self.family.roles(self.colours[row], self._tasks[row][0])
        if self.scene == "demo":
            return draw_plane(self.positions[row], self.objects[row], colours, goal=self.goal[row])
        return draw_plane(self.positions[row], self.objects[row], colours, target)

    def _observe(self) -> Any:
        relative = self.objects - self.positions[:, None]
        if self.family.coloured:
            return {"robot": self.positions.copy(), "objects": np.concatenate([relative, self.colours], -1)}
        return np.concatenate([self.positions, relative.reshape(self.num_envs, -1)], -1).astype(np.float32)

    def _lay_out(self, row: int, rng: np.random.Generator, index: int, candidates: Array, target: int) -> None:
        """Place the objects of one row. In the demo scene the layout does not depend on the target."""
        n, m = self.family.n_objects, self.family.n_candidates
        slots = candidates
        if self.family.coloured:
            slots = rng.permutation(n)[:m]
            others = np.setdiff1d(np.arange(n), slots)
            self.colours[row, slots] = candidates
            self.colours[row, others] = _colours(rng, n - m, held_out(index), candidates)
        self.positions[row] = rng.uniform(-0.1, 0.1, 2)
        if self.scene == "trial":
            self.objects[row] = _ring(rng, n)
            self.target[row] = slots[target]
            self.goal[row] = self.objects[row, slots[target]]
            return
        places = _ring(rng, n - m + 1)
        around = rng.uniform(0, 2 * np.pi) + 2 * np.pi * rng.permutation(m) / m
        self.objects[row, np.setdiff1d(np.arange(n), slots)] = places[1:]
        self.objects[row, slots] = places[0] + 0.08 * np.stack([np.cos(around), np.sin(around)], -1)
        self.goal[row] = places[0]


def _ring(rng: np.random.Generator, n: int) -> Float[np.ndarray, "n 2"]:
    """n places around the middle, each in a sector of its own: far apart, and none on the way to another."""
    sector = 2 * np.pi / n
    jitter = min(0.25 * sector, 0.35)
    angles = rng.uniform(0, 2 * np.pi) + sector * rng.permutation(n) + rng.uniform(-jitter, jitter, n)
    radii = rng.uniform(0.6, 0.9, n)
    return radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], -1)


def _colours(
    rng: np.random.Generator, n: int, odd: bool, apart_from: Float[np.ndarray, "m 3"]
) -> Float[np.ndarray, "n 3"]:
    """n colours in [-1, 1]^3, all of one cell parity, distant from each other and from `apart_from`."""
    taken = [*apart_from]
    while len(taken) < len(apart_from) + n:
        colour = rng.uniform(-1, 1, 3)
        if bool(_cell(colour).sum() % 2) != odd:
            continue
        if all(np.linalg.norm(colour - other) >= COLOUR_DISTANCE for other in taken):
            taken.append(colour)
    return np.array(taken[len(apart_from) :]).reshape(n, 3)


def _cell(colour: Float[np.ndarray, "3"]) -> Int[np.ndarray, "3"]:
    return np.minimum((colour + 1) / 2 * COLOUR_CELLS, COLOUR_CELLS - 1).astype(np.int64)


def reach_m2() -> Reach:
    """Four objects, two candidates."""
    return Reach("reach-m2", n_objects=4, n_candidates=2)


def reach_m4() -> Reach:
    """Six objects, four candidates."""
    return Reach("reach-m4", n_objects=6, n_candidates=4)


def reach_m2_unseen() -> Reach:
    """Four objects, two candidates; the pairs of test tasks never occur in training."""
    return Reach("reach-m2-unseen", n_objects=4, n_candidates=2, new_sets=True)


def reach_m4_unseen() -> Reach:
    """Six objects, four candidates; the fours of test tasks never occur in training."""
    return Reach("reach-m4-unseen", n_objects=6, n_candidates=4, new_sets=True)


def reach_colour() -> Reach:
    """Four objects identified by their colour, two candidates."""
    return Reach("reach-colour", n_objects=4, n_candidates=2, coloured=True)
