"""How observations, actions and rewards look in some episodes: ranges, constants, scales, and what gives a task away.

Knows episodes and spaces, no environments. Axes: n episodes, o numbers of an observation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from metalearn.data.episode import Array, Episode
from metalearn.data.parts import observation_vectors
from metalearn.data.spaces import Part
from metalearn.data.spec import Spec
from metalearn.data.units import EPSILON, HARDLY_USED, Units

WILD = 1e3
"""Ratio of the largest to the smallest spread of numbers of one observation, and of an offset to a spread."""


@dataclass(frozen=True)
class PartLook:
    """One part of the observations.

    Attributes:
        name: of the part; empty where there is one only.
        kind: how a network reads it.
        shape: of one observation of it.
        low, high: smallest and largest number seen.
        constant: places in it that never changed.
        spread: smallest and largest standard deviation of its numbers that change; zeros without any.
        offset: the largest ratio of a mean to its standard deviation.
        unbounded: whether its space has an infinite bound.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    low: float
    high: float
    constant: tuple[str, ...]
    spread: tuple[float, float]
    offset: float
    unbounded: bool


@dataclass(frozen=True)
class ActionLook:
    """The expert's actions.

    Attributes:
        used: of each component of a Box with bounds, the share of its range that was used, 0 to 1; none else.
        at_bounds: share of these numbers that are at a bound.
        unbounded: whether an action may be anything.
        shares: how often each action of a Discrete space was taken, or each choice of each component of others that
            are discrete; none else.
    """

    used: tuple[float, ...]
    at_bounds: float
    unbounded: bool
    shares: tuple[float, ...]

    @property
    def hardly_used(self) -> tuple[int, ...]:
        """Components that stay within a tenth of their range."""
        return tuple(i for i, share in enumerate(self.used) if share < HARDLY_USED)

    @property
    def never_taken(self) -> tuple[int, ...]:
        """Discrete actions, or choices of all components, counted from 0, that were never taken."""
        return tuple(i for i, share in enumerate(self.shares) if share == 0)


@dataclass(frozen=True)
class RewardLook:
    """The rewards of some episodes.

    Attributes:
        low, high: smallest and largest.
        nonzero: share of the steps with a reward that is not 0.
        levels: how many different rewards there were, 10 at most.
        kind: "none", "always 0", "constant", "sparse" (few steps are rewarded) or "dense".
        solved, failed: mean sums over episodes that succeeded and that did not; None without such episodes.
    """

    low: float
    high: float
    nonzero: float
    levels: int
    kind: str
    solved: float | None
    failed: float | None

    @property
    def turned_round(self) -> bool:
        """Whether episodes that fail are rewarded more than those that succeed."""
        return self.solved is not None and self.failed is not None and self.failed > self.solved


def look_at_observations(episodes: Sequence[Episode], spec: Spec) -> tuple[PartLook, ...]:
    """Every part of the observations of `episodes`."""
    seen = np.concatenate([observation_vectors(episode.observations) for episode in episodes]).astype(np.float64)
    return tuple(_look_at(part, seen[:, part.numbers]) for part in spec.parts)


def _look_at(part: Part, seen: Float[np.ndarray, "n k"]) -> PartLook:
    spread, mean = seen.std(0), seen.mean(0)
    changing = spread > EPSILON * np.maximum(np.abs(seen).max(0), EPSILON)
    own = spread[changing]
    space: Any = part.space
    infinite = bool(np.isinf(getattr(space, "low", 0.0)).any() or np.isinf(getattr(space, "high", 0.0)).any())
    still: Array = np.flatnonzero(~changing & (part.kind != "image"))
    return PartLook(
        name=part.name,
        kind=part.kind,
        shape=part.shape,
        low=float(seen.min()),
        high=float(seen.max()),
        constant=tuple(place(part, int(i)) for i in still),
        spread=(float(own.min()), float(own.max())) if len(own) else (0.0, 0.0),
        offset=float(np.abs(mean[changing] / own).max()) if len(own) else 0.0,
        unbounded=infinite,
    )


def place(part: Part, number: int) -> str:
    """What a number of a part is called: `objects[0, 3]`, or `[3]` where there is one part only."""
    where = ", ".join(str(int(i)) for i in np.unravel_index(number, part.shape))
    return f"{part.name}[{where}]"


def called(numbers: Bool[np.ndarray, " o"], spec: Spec) -> tuple[str, ...]:
    """What some numbers of an observation are called."""
    return tuple(place(part, int(i)) for part in spec.parts for i in np.flatnonzero(numbers[part.numbers]))


def look_at_actions(actions: Sequence[Array], spec: Spec) -> ActionLook:
    """The actions of some episodes, each `[t, *a]`."""
    done = np.concatenate(list(actions))
    if spec.discrete:
        taken = Units.of_bounds(spec).encode_actions(done).reshape(len(done), -1).mean(0)
        return ActionLook((), 0.0, False, tuple(float(share) for share in taken))
    space: Any = spec.action_space
    low, high, flat = space.low.ravel(), space.high.ravel(), done.reshape(len(done), -1).astype(np.float64)
    bounded = np.isfinite(low) & np.isfinite(high)
    if not bounded.any():
        return ActionLook((), 0.0, True, ())
    low, high, own = low[bounded], high[bounded], flat[:, bounded]
    slack = 1e-6 * (high - low)
    at_bounds = float(((own <= low + slack) | (own >= high - slack)).mean())
    used = np.ptp(own, axis=0) / np.maximum(high - low, 1e-12)
    return ActionLook(tuple(float(share) for share in used), at_bounds, not bounded.all(), ())


def look_at_rewards(episodes: Sequence[Episode]) -> RewardLook:
    """The rewards of some episodes, and whether they follow success."""
    rewards = [episode.rewards for episode in episodes if episode.rewards is not None]
    if not rewards:
        return RewardLook(0.0, 0.0, 0.0, 0, "none", None, None)
    steps = np.concatenate(rewards)
    nonzero, levels = float((steps != 0).mean()), len(np.unique(steps))

    def sums(outcome: bool) -> float | None:
        found = [float(e.rewards.sum()) for e in episodes if e.rewards is not None and e.success is outcome]
        return float(np.mean(found)) if found else None

    kind = "sparse" if nonzero < 0.5 and levels <= 10 else "dense"
    if levels == 1:
        kind = "constant" if steps[0] else "always 0"
    return RewardLook(float(steps.min()), float(steps.max()), nonzero, min(levels, 10), kind, sums(True), sums(False))


def identifying(firsts: Float[np.ndarray, "l n o"]) -> Bool[np.ndarray, " o"]:
    """Numbers of the first observation that are the same in every layout of a task and differ between tasks.

    Args:
        firsts: of n tasks, each reset with the same l seeds.
    """
    exact = firsts.astype(np.float64)
    size = np.abs(exact).max((0, 1)) + EPSILON
    same_within = (np.ptp(exact, axis=0) <= EPSILON * size).all(0)
    differ_between = np.ptp(exact, axis=(0, 1)) > 1e-4 * size
    found: Array = same_within & differ_between
    return found
