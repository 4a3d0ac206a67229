"""Reach, demonstrated by agents who differ in manner and in skill: not only where to go, but how.

A task is a target and a demonstrator. Demonstrations show both, in layouts of their own, so that nothing is left to
guess; what is to be imitated is the goal *and* the manner. Manners are functions of where the demonstrator is, so that
a policy without a memory can have them. Test tasks have combinations of manners that no training task has.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from metalearn.data.episode import Array
from metalearn.data.spec import Spec
from metalearn.tasks.envs.reach import Reach, ReachVectorEnv
from metalearn.tasks.family import SPLITS, Scene

HORIZON = 60
N_OBJECTS = 4
TREMOR_PERIOD = 0.3  # of the distance to the target
HESITATION_AT, HESITATION_WIDTH = 0.4, 0.08  # distance to the target at which a demonstrator hesitates
FADES_WITHIN = 0.3  # of the target: closer by, every curve becomes straight
HELD_OUT_OF = 5  # manners that are held out in combinations: all but skill

RANGES: Mapping[str, tuple[float, float]] = {
    "speed": (0.4, 1.0),  # of the fastest
    "curvature": (-0.7, 0.7),  # radians by which the heading is turned; its sign is handedness
    "detour": (-0.6, 0.6),  # radians of a swing to one side and then to the other
    "hesitation": (0.0, 0.75),  # share of the speed that is lost midway
    "tremor": (0.0, 0.6),  # radians of a quicker wobble of the heading
}


@dataclass(frozen=True)
class Manner:
    """How a demonstrator moves; see `RANGES` for units. `skill` is 1 for an expert, 0 for uniformly random actions."""

    speed: float = 1.0
    curvature: float = 0.0
    detour: float = 0.0
    hesitation: float = 0.0
    tremor: float = 0.0
    skill: float = 1.0

    @classmethod
    def of(cls, share: Float[np.ndarray, " 5"], skill: float) -> "Manner":
        """The manner at these shares, 0 .. 1, of each range."""
        low, high = np.array(list(RANGES.values())).T
        values = (low + share * (high - low)).tolist()
        return cls(skill=skill, **dict(zip(RANGES, values, strict=True)))


@dataclass(frozen=True)
class ReachManners(Reach):
    """Reach with one target per task and a demonstrator of its own; `plain` ones move straight and fast."""

    plain: bool = False

    @property
    def spec(self) -> Spec:
        """Observation: the robot's position `[2]`, and each object's relative position `[2]`."""
        return Spec(super().spec.observation_space, super().spec.action_space, HORIZON, 10.0, self.version)

    def candidates(self, index: int) -> tuple[Array, int]:
        """The target's slot alone: a demonstration leaves no choice."""
        return np.array([index % self.n_objects]), 0

    def manner(self, index: int) -> Manner:
        """The demonstrator of task `index`: one manner for each of the `n_objects` targets.

        Each range is halved, and the halves make 32 cells. Those of even parity are for training, those of odd
        parity for validation and test: every manner is known there, and no combination of them.
        """
        if self.plain:
            return Manner()
        rng = np.random.default_rng([0x3A22E5, index // self.n_objects])
        odd = index not in SPLITS["train"]
        cell = rng.integers(0, 2, HELD_OUT_OF)
        cell[-1] = (cell[:-1].sum() + odd) % 2
        # Most demonstrators know what they are doing; one in eight acts at random for the most part.
        return Manner.of((cell + rng.random(HELD_OUT_OF)) / 2, float(1 - rng.random() ** 3))

    def make_vec(self, indices: Sequence[int], scene: Scene = "trial") -> "ReachMannersVectorEnv":
        """The tasks `indices`, stepped together in numpy; both scenes are alike."""
        return ReachMannersVectorEnv(self, indices)

    def sibling(self, index: int, rng: np.random.Generator) -> int:
        """A task with the same target and another demonstrator."""
        split = next(indices for indices in self.splits.values() if index in indices)
        return split[int(rng.integers(len(split) // self.n_objects)) * self.n_objects + index % self.n_objects]

    def bayes_success(self, n_trials: int) -> float:
        """1: a demonstration shows the target."""
        return 1.0


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


def demonstrators(family: ReachManners, index: int, n: int, seed: int) -> Int[np.ndarray, " n"]:
    """`index` and n - 1 siblings of it: the same target, n different demonstrators."""
    rng = np.random.default_rng([0xDE3, seed, index])
    found = [index]
    while len(found) < n:
        other = family.sibling(index, rng)
        if other not in found:
            found.append(other)
    return np.array(found)


def reach_manners() -> ReachManners:
    """Four objects, demonstrators of every manner."""
    return ReachManners("reach-manners", N_OBJECTS, 1)


def reach_plain() -> ReachManners:
    """The same scenes, demonstrated without any manner: what `reach-manners` is compared with."""
    return ReachManners("reach-plain", N_OBJECTS, 1, plain=True)
