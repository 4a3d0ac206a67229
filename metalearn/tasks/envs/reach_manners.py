"""Reach, demonstrated by agents who differ in manner and in skill: not only where to go, but how.

A task is a target and a demonstrator. Demonstrations show both, in layouts of their own, so that nothing is left to
guess; what is to be imitated is the goal *and* the manner. Manners are functions of where the demonstrator is, so that
a policy without a memory can have them. Test tasks have combinations of manners that no training task has.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from metalearn.data.episode import Array, Episode
from metalearn.data.spec import Spec
from metalearn.tasks.envs.combinations import at_shares, draw_shares, draw_skill, sibling_of
from metalearn.tasks.envs.reach import SPEED, TOUCH_RADIUS, Reach, ReachVectorEnv
from metalearn.tasks.family import Scene

HORIZON = 60
N_OBJECTS = 4
TREMOR_PERIOD = 0.3  # of the distance to the target
HESITATION_AT, HESITATION_WIDTH = 0.4, 0.08  # distance to the target at which a demonstrator hesitates
FADES_WITHIN = 0.3  # of the target: closer by, every curve becomes straight
FAR, NEAR = 0.45, 0.25  # distances to the target between three parts of the way, for statistics
MIDWAY = (0.3, 0.5)  # around where demonstrators hesitate
ROUNDING = 1e-5  # of actions and observations in float32

RANGES: Mapping[str, tuple[float, float]] = {
    "speed": (0.4, 1.0),  # of the fastest
    "curvature": (-0.7, 0.7),  # radians by which the heading is turned; its sign is handedness
    "detour": (-0.6, 0.6),  # radians of a swing to one side and then to the other
    "hesitation": (0.0, 0.75),  # share of the speed that is lost midway
    "tremor": (0.0, 0.6),  # radians of a quicker wobble of the heading
}
SLOWER, CURVIER = (0.25, 0.4), (0.7, 1.0)
"""Speeds and curvatures (of either sign) beyond the ranges of training."""


@dataclass(frozen=True)
class Manner:
    """How a demonstrator moves; see `RANGES` for units. `skill` is 1 for an expert, 0 for uniformly random actions."""

    speed: float = 1.0
    curvature: float = 0.0
    detour: float = 0.0
    hesitation: float = 0.0
    tremor: float = 0.0
    skill: float = 1.0


@dataclass(frozen=True)
class ReachManners(Reach):
    """Reach with one target per task and a demonstrator of its own.

    With `plain` all of them move straight and fast, with `skilled` all know what they are doing, and with `beyond` they
    are slower and move in wider curves than any in training.
    """

    plain: bool = False
    skilled: bool = False
    beyond: bool = False

    @property
    def spec(self) -> Spec:
        """Observation: the robot's position `[2]`, and each object's relative position `[2]`."""
        return Spec(super().spec.observation_space, super().spec.action_space, HORIZON, 10.0, self.version)

    def candidates(self, index: int) -> tuple[Array, int]:
        """The target's slot alone: a demonstration leaves no choice."""
        return np.array([index % self.n_objects]), 0

    def manner(self, index: int) -> Manner:
        """The demonstrator of task `index`: one manner for each of the `n_objects` targets."""
        if self.plain:
            return Manner()
        rng = np.random.default_rng([0x3A22E5, index // self.n_objects])
        shares = draw_shares(len(RANGES), index, rng)
        manner = Manner(**at_shares(RANGES, shares), skill=draw_skill(rng))
        if self.skilled:
            manner = replace(manner, skill=1.0)
        if self.beyond:
            curved = float(np.copysign(rng.uniform(*CURVIER), manner.curvature))
            manner = replace(manner, speed=float(rng.uniform(*SLOWER)), curvature=curved)
        return manner

    def skill(self, index: int) -> float:
        """How skilled the demonstrator of a task is, from 0 to 1."""
        return self.manner(index).skill

    def make_vec(self, indices: Sequence[int], scene: Scene = "trial") -> "ReachMannersVectorEnv":
        """The tasks `indices`, stepped together in numpy; both scenes are alike."""
        return ReachMannersVectorEnv(self, indices)

    def sibling(self, index: int, rng: np.random.Generator) -> int:
        """A task with the same target and another demonstrator."""
        return sibling_of(index, self.n_objects, self.splits, rng)

    def bayes_success(self, n_trials: int) -> float:
        """1: a demonstration shows the target."""
        return 1.0

    def statistics(self, episodes: Sequence[Episode], index: int) -> Float[np.ndarray, " 6"]:
        """How an agent moves, averaged over its steps in some episodes; NaN where it was never there.

        1. its speed, as a share of the fastest; 2. to 4. its heading, in radians from that to the target, far from it
        (> 0.45), midway and close by (< 0.25); 5. its speed midway (0.3 to 0.5) as a share of its speed elsewhere; 6.
        how much its heading changes from step to step, in radians.
        """
        steps = [_steps(episode, index % self.n_objects) for episode in episodes]
        speed, heading, distance = (np.concatenate(column) for column in zip(*steps, strict=True))
        turned = [np.abs(_wrapped(np.diff(one[1]))) for one in steps if len(one[1]) > 1]
        midway = (distance > MIDWAY[0]) & (distance < MIDWAY[1])
        elsewhere = _mean(speed[~midway])
        return np.array([
            _mean(speed), _mean(heading[distance > FAR]), _mean(heading[(distance <= FAR) & (distance >= NEAR)]),
            _mean(heading[distance < NEAR]), _mean(speed[midway]) / max(elsewhere, 1e-6),
            _mean(np.concatenate(turned)) if turned else np.nan,
        ])  # fmt: skip

    def goal_of(self, episode: Episode) -> int | None:
        """The slot of the object that was touched at the end; None if none was."""
        distances = np.linalg.norm(episode.observations[-1, 2:].reshape(self.n_objects, 2), axis=-1)
        return int(distances.argmin()) if distances.min() < TOUCH_RADIUS else None

    def log_likelihood(self, index: int, episode: Episode) -> Float[np.ndarray, " t"]:
        """log p of each step under the demonstrator of task `index`: the truth, which no policy knows.

        An action is uniform in the square of half-width 1 - skill around skill times the manner's action. Actions are
        float32, so no square is narrower than `ROUNDING`.
        """
        assert episode.actions is not None
        first = 2 + 2 * (index % self.n_objects)
        offsets = episode.observations[:-1, first : first + 2].astype(np.float64)
        manner = self.manner(index)
        wanted = manner_actions(np.tile(astuple(manner), (len(offsets), 1)), offsets)
        middle, half = manner.skill * wanted, 1 - manner.skill + ROUNDING
        inside = (np.abs(episode.actions - middle) <= half).all(-1)
        return np.where(inside, -2 * np.log(2 * half), -np.inf)


class ReachMannersVectorEnv(ReachVectorEnv):
    """Reach tasks in lockstep, with the manners `[b, 6]` of their demonstrators in the order of `Manner`."""

    def __init__(self, family: ReachManners, indices: Sequence[int]) -> None:
        super().__init__(family, indices, "trial")
        manners = [astuple(family.manner(int(index))) for index in indices]
        self.manners = np.array(manners, np.float64).reshape(len(indices), len(fields(Manner)))
        self._rngs = [np.random.default_rng() for _ in indices]

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Draw a layout for every row."""
        self.reseed(self._rngs, seed)
        return super().reset(seed=seed, options=options)

    def expert_actions(self) -> Float[np.ndarray, "b 2"]:
        """The manner's action, and a uniformly random one, mixed by skill."""
        skill = self.manners[:, -1:]
        random = np.stack([rng.uniform(-1, 1, 2) for rng in self._rngs])
        wanted = manner_actions(self.manners, self.goal - self.positions)
        return np.clip(skill * wanted + (1 - skill) * random, -1, 1).astype(np.float32)


def manner_actions(manners: Float[np.ndarray, "b 6"], offset: Float[np.ndarray, "b 2"]) -> Float[np.ndarray, "b 2"]:
    """The velocities of demonstrators at these offsets to their targets, without what lack of skill adds.

    heading = angle(offset) + curvature f(d) + detour f(d) sin(2 pi d / 0.7) + tremor sin(2 pi d / period), with the
    distance d and f(d) = min(1, d / 0.3); speed = s (1 - hesitation exp(-((d - 0.4) / 0.08)^2)).
    """
    speed, curvature, detour, hesitation, tremor, _ = manners.T
    d = np.linalg.norm(offset, axis=-1)
    fade = np.minimum(1, d / FADES_WITHIN)
    heading = np.arctan2(offset[:, 1], offset[:, 0]) + curvature * fade
    heading += detour * fade * np.sin(2 * np.pi * d / 0.7) + tremor * np.sin(2 * np.pi * d / TREMOR_PERIOD)
    pace = speed * (1 - hesitation * np.exp(-(((d - HESITATION_AT) / HESITATION_WIDTH) ** 2)))
    return pace[:, None] * np.stack([np.cos(heading), np.sin(heading)], -1)


def _steps(episode: Episode, target: int) -> tuple[Array, Array, Array]:
    """Speed, heading relative to the target, and distance to it, of every step."""
    positions, offsets = episode.observations[:, :2], episode.observations[:, 2 + 2 * target : 4 + 2 * target]
    moved, towards = np.diff(positions, axis=0), offsets[:-1]
    heading = _wrapped(np.arctan2(moved[:, 1], moved[:, 0]) - np.arctan2(towards[:, 1], towards[:, 0]))
    return np.linalg.norm(moved, axis=-1) / SPEED, heading, np.linalg.norm(towards, axis=-1)


def _mean(values: Array) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _wrapped(angles: Array) -> Array:
    wrapped: Array = (angles + np.pi) % (2 * np.pi) - np.pi
    return wrapped


def reach_manners() -> ReachManners:
    """Four objects, demonstrators of every manner."""
    return ReachManners("reach-manners", N_OBJECTS, 1)


def reach_plain() -> ReachManners:
    """The same scenes, demonstrated without any manner: what `reach-manners` is compared with."""
    return ReachManners("reach-plain", N_OBJECTS, 1, plain=True)


def reach_skilled() -> ReachManners:
    """Demonstrators of every manner who all know what they are doing."""
    return ReachManners("reach-skilled", N_OBJECTS, 1, skilled=True)


def reach_beyond() -> ReachManners:
    """Demonstrators who are slower, and move in wider curves, than any in the training of `reach-manners`."""
    return ReachManners("reach-beyond", N_OBJECTS, 1, beyond=True)
