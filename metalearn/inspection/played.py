"""How the expert and random actions do in each scene, in numbers. Knows episodes, no environments."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from metalearn.data.episode import Episode
from metalearn.data.parts import observation_vectors
from metalearn.inspection.shares import Share
from metalearn.tasks.family import Scene

CIRCLE = 6
"""Periods, in steps, that count as going in a circle; it has to be gone round twice."""


@dataclass(frozen=True)
class Played:
    """Some episodes of one actor in one scene.

    Attributes:
        actor: who acted.
        scene: where.
        success: how many of them succeeded.
        steps_median, steps_95, steps_max: their lengths.
        at_horizon: share that ended there.
        stuck: how many failed at the horizon with observations that repeat themselves.
        reward: mean sum of rewards; None where nobody gave any.
    """

    actor: Literal["expert", "random"]
    scene: Scene
    success: Share
    steps_median: int
    steps_95: int
    steps_max: int
    at_horizon: float
    stuck: int
    reward: float | None

    @classmethod
    def of(
        cls, actor: Literal["expert", "random"], scene: Scene, episodes: Sequence[Episode], horizon: int
    ) -> "Played":
        """Sum up episodes."""
        lengths = np.array([len(episode) for episode in episodes])
        median, most = (int(np.ceil(np.quantile(lengths, q))) for q in (0.5, 0.95))
        sums = [float(e.rewards.sum()) for e in episodes if e.rewards is not None]
        return cls(
            actor=actor,
            scene=scene,
            success=Share.of([bool(episode.success) for episode in episodes]),
            steps_median=median,
            steps_95=most,
            steps_max=int(lengths.max()),
            at_horizon=float((lengths >= horizon).mean()),
            stuck=sum(is_stuck(episode, horizon) for episode in episodes),
            reward=float(np.mean(sums)) if sums else None,
        )


def is_stuck(episode: Episode, horizon: int) -> bool:
    """Whether an episode failed at the horizon, and its last observations repeat themselves."""
    if episode.success or len(episode) < min(horizon, 2 * CIRCLE):
        return False
    seen = observation_vectors(episode.observations[-2 * CIRCLE :])
    usual = np.abs(observation_vectors(episode.observations)).max(0) + 1e-6
    return any(bool((np.abs(seen[period:] - seen[:-period]) <= 1e-4 * usual).all()) for period in range(1, CIRCLE + 1))
