"""A nearest-neighbour index of training episodes: it finds the experts' steps in the tasks most like a context.

Distances are between normalised observations, an episode being its first, middle and last one. Learns nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float32, Int, Int64, Shaped

from metalearn.data.context import Context
from metalearn.data.dataset import Dataset
from metalearn.data.episode import Array, Episode
from metalearn.data.errors import InvalidConfig
from metalearn.data.parts import observation_vectors
from metalearn.data.units import deviation

N_NEAREST = 64
"""Training tasks that are looked up for a context, to repeat one episode of theirs."""

MAX_STEPS = 400_000
"""Steps of experts that are kept: the tasks that come first."""


@dataclass(frozen=True, eq=False)
class NearestNeighbourIndex:
    """n training tasks with their e expert episodes, s steps in all.

    Attributes:
        mean, std: of the observations.
        demos: each task's first demonstration as a key (zeros where a task has none).
        experts: each expert episode as a key.
        tasks: which task an expert episode belongs to, ascending.
        starts: where the steps of each expert episode begin, and at the end their number.
        observations: normalised, of each step.
        actions: what the expert wanted to do there.
    """

    mean: Float32[np.ndarray, " o"]
    std: Float32[np.ndarray, " o"]
    demos: Float32[np.ndarray, "n f"]
    experts: Float32[np.ndarray, "e f"]
    tasks: Int64[np.ndarray, " e"]
    starts: Int64[np.ndarray, " e1"]
    observations: Float32[np.ndarray, "s o"]
    actions: Shaped[np.ndarray, "s *a"]

    @classmethod
    def of(cls, dataset: Dataset, max_steps: int = MAX_STEPS) -> "NearestNeighbourIndex":
        """The training tasks of `dataset` that come first, with `max_steps` steps at most (one task at least)."""
        total = np.cumsum([sum(map(len, record.experts)) for record in dataset.tasks])
        records = dataset.tasks[: max(1, int((total <= max_steps).sum()))]
        pairs = [pair for record in records for pair in record.targets()]
        seen = np.concatenate(
            [observation_vectors(episode.observations) for r in records for episode in (*r.demos, *r.experts)]
        )
        mean, std = seen.mean(0, dtype=np.float64).astype(np.float32), deviation(seen)
        std = np.where(std > 0, std, np.finfo(np.float32).max).astype(np.float32)
        unknown = np.zeros(3 * len(mean), np.float32)
        return cls(
            mean=mean,
            std=std,
            demos=np.stack([_key(r.demos[0], mean, std) if r.demos else unknown for r in records]),
            experts=np.stack([_key(episode, mean, std) for r in records for episode in r.experts]),
            tasks=np.repeat(np.arange(len(records)), [len(r.experts) for r in records]),
            starts=np.cumsum([0, *(len(actions) for _, actions in pairs)]),
            observations=(np.concatenate([observation_vectors(observations) for observations, _ in pairs]) - mean)
            / std,
            actions=np.concatenate([actions for _, actions in pairs]),
        )

    @classmethod
    def from_weights(cls, weights: Mapping[str, Array]) -> "NearestNeighbourIndex":
        """Read the arrays of `to_weights`. Raises InvalidConfig."""
        names = {field.name for field in fields(cls)}
        if set(weights) != names:
            raise InvalidConfig(f"not an index of episodes: expected {sorted(names)}, got {sorted(weights)}")
        return cls(**weights)

    def to_weights(self) -> dict[str, Array]:
        """The arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def normalised(self, observations: Shaped[np.ndarray, "b *o"]) -> Float32[np.ndarray, "b o"]:
        """Each number in units of its spread over the training data."""
        return (observation_vectors(observations) - self.mean) / self.std

    def near(self, context: Context, n: int = N_NEAREST) -> Int[np.ndarray, " e"]:
        """Expert episodes of the tasks most like a context, nearest first.

        The last own trial that succeeded is compared with expert episodes; without one the first demonstration is
        compared with demonstrations; with nothing to compare it is the tasks that come first.
        """
        solved = [trial for trial in context.trials if trial.success]
        if solved:
            return _nearest(self.experts, self._expert_norms, _key(solved[-1], self.mean, self.std), n)
        if not context.demos:
            return np.flatnonzero(self.tasks < n)
        tasks = _nearest(self.demos, self._demo_norms, _key(context.demos[0], self.mean, self.std), n)
        first, last = np.searchsorted(self.tasks, tasks), np.searchsorted(self.tasks, tasks, "right")
        return np.concatenate([np.arange(a, b) for a, b in zip(first, last, strict=True)])

    def episode(self, i: int) -> tuple[Float32[np.ndarray, "t o"], Shaped[np.ndarray, "t *a"]]:
        """Normalised observations and actions of one expert episode."""
        steps = slice(self.starts[i], self.starts[i + 1])
        return self.observations[steps], self.actions[steps]

    def steps(self, episodes: Int[np.ndarray, " e"]) -> Int[np.ndarray, " s"]:
        """The steps of some expert episodes, one episode after the other."""
        return np.concatenate([np.arange(self.starts[i], self.starts[i + 1]) for i in episodes])

    @cached_property
    def _demo_norms(self) -> Float[np.ndarray, " n"]:
        return np.square(self.demos).sum(1)

    @cached_property
    def _expert_norms(self) -> Float[np.ndarray, " e"]:
        return np.square(self.experts).sum(1)


def _key(episode: Episode, mean: Array, std: Array) -> Float32[np.ndarray, " f"]:
    """Return the key by which episodes are compared: the first, the middle and the last observation."""
    moments = [0, len(episode) // 2, len(episode)]
    return ((observation_vectors(episode.observations[moments]) - mean) / std).ravel()


def _nearest(keys: Array, norms: Array, wanted: Array, n: int) -> Int[np.ndarray, " m"]:
    distances = norms - 2 * keys @ wanted  # squared, less a constant
    n = min(n, len(keys))
    chosen = np.argpartition(distances, n - 1)[:n]
    return chosen[np.argsort(distances[chosen], kind="stable")]
