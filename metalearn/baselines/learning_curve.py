"""Learning curves of the direct optimisation of one task: success and return against training episodes used.

Owns the seeds, so that every optimiser trains on the same stream of layouts and is examined on the same fresh ones.
Does not know how a policy is found.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metalearn.adapter import Actor
from metalearn.data.errors import InvalidConfig
from metalearn.tasks.family import Family, TaskId, make_vec
from metalearn.tasks.rollout import episode_seeds, rollout

TRAINING, EXAMINATION = 21, 1 << 41  # streams of layouts that nothing else draws from
LAYOUTS_AT_ONCE = 100  # a family that is not vectorised holds a simulator per row


@dataclass(frozen=True)
class LearningCurve:
    """One task, one seed. Point i is the policy as it was after `episodes[i]` training episodes.

    Attributes:
        task: `family/index`.
        episodes: training episodes used so far, increasing, from 0.
        success: on fresh layouts of the task, which do not count as used.
        returns: mean undiscounted return on the same layouts.
    """

    task: str
    episodes: tuple[int, ...]
    success: tuple[float, ...]
    returns: tuple[float, ...]


def milestones(n_episodes: int) -> tuple[int, ...]:
    """The episodes at which a policy is evaluated: 10, 30, 100, 300, ... and the last. Raises InvalidConfig."""
    if n_episodes < 1:
        raise InvalidConfig(f"episodes: expected at least 1, got {n_episodes}")
    round_numbers = sorted(digit * 10**power for power in range(1, 8) for digit in (1, 3))
    return (*(number for number in round_numbers if number < n_episodes), n_episodes)


def training_seeds(index: int, seed: int, start: int, n: int) -> list[int]:
    """Environment seeds of the training episodes `start` to `start + n` of a task."""
    return [episode_seeds([index], TRAINING + 100 * seed, start + i)[0] for i in range(n)]


class Examination:
    """Collects a learning curve: one call per point."""

    def __init__(self, family: Family, index: int, seed: int, n_layouts: int) -> None:
        """`n_layouts` fresh layouts of task `index`, the same at every point. Raises InvalidConfig."""
        if n_layouts < 1:
            raise InvalidConfig(f"layouts: expected at least 1, got {n_layouts}")
        self._family, self._index = family, index
        self._seeds = [episode_seeds([index], EXAMINATION + seed, i)[0] for i in range(n_layouts)]
        self._points: list[tuple[int, float, float]] = []

    def __call__(self, n_episodes: int, actor: Actor) -> None:
        """Note how `actor`, found with `n_episodes` training episodes, does."""
        episodes = []
        for start in range(0, len(self._seeds), LAYOUTS_AT_ONCE):
            seeds = self._seeds[start : start + LAYOUTS_AT_ONCE]
            env = make_vec(self._family, [self._index] * len(seeds))
            try:
                episodes += rollout(env, actor, seeds).episodes
            finally:
                env.close()
        success = float(np.mean([bool(episode.success) for episode in episodes]))
        returned = float(np.mean([_return(episode.rewards) for episode in episodes]))
        self._points.append((n_episodes, success, returned))

    @property
    def curve(self) -> LearningCurve:
        """Return the curve so far."""
        episodes, success, returns = zip(*self._points, strict=True)
        return LearningCurve(str(TaskId(self._family.name, self._index)), episodes, success, returns)


def _return(rewards: Sequence[float] | np.ndarray | None) -> float:
    return 0.0 if rewards is None else float(np.sum(rewards))
