"""Evolution strategy on one task: CMA-ES (Hansen, 2016, arXiv 1604.00772) over a linear policy.

Linear policies of normalised observations are what random search needs on locomotion (Mania et al., 2018,
arXiv 1803.07055). Knows returns only: no gradient, no demonstration. The one home of `cma`.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from metalearn.baselines.learning_curve import Examination, LearningCurve, milestones, training_seeds
from metalearn.data.episode import Array, Episode
from metalearn.data.errors import InvalidConfig
from metalearn.data.parts import observation_vectors
from metalearn.data.spec import Spec
from metalearn.data.units import deviation
from metalearn.tasks.family import Family, make_vec
from metalearn.tasks.registry import find_family
from metalearn.tasks.rollout import RandomActor, rollout


@dataclass(frozen=True)
class Search:
    """CMA-ES with a diagonal covariance (Ros and Hansen, 2008): few parameters to learn from few episodes.

    Every candidate meets layouts of its own: on shared ones the best of a generation is what suits those layouts.

    Attributes:
        population: candidates of a generation.
        parents: the best of them, of which the next generation is made.
        episodes_per_candidate: whose mean return is the fitness.
        step: standard deviation of the first generation's weights.
        random_episodes: with random actions, to see how observations spread; they count as used.
        n_test: fresh layouts of each point of the curve.
    """

    population: int = 40
    parents: int = 10
    episodes_per_candidate: int = 1
    step: float = 1.0
    random_episodes: int = 10
    n_test: int = 200
    name: str = "search"
    what: str = "CMA-ES over a linear policy, one task at a time, from the returns of its own episodes"

    def optimise(
        self, family_name: str, index: int, n_episodes: int, seed: int, start: Path | None = None
    ) -> LearningCurve:
        """See `Optimiser`; the policy of a point is the mean of the search distribution."""
        if start is not None:
            raise InvalidConfig(f"{self.name} starts from nothing: expected no start, got {start}")
        family, due = find_family(family_name), milestones(n_episodes)
        examine = Examination(family, index, seed, self.n_test)
        scaler = Scaler.of(random_episodes(family, index, seed, self.random_episodes))
        strategy = self._strategy(family.spec, seed)
        examine(0, LinearActor(family.spec, scaler, _mean(strategy)))
        used, batch = self.random_episodes, self.population * self.episodes_per_candidate
        env = make_vec(family, [index] * batch)
        try:
            while used < n_episodes:
                candidates = np.array(strategy.ask())
                actor = LinearActor(family.spec, scaler, candidates.repeat(self.episodes_per_candidate, 0))
                episodes = rollout(env, actor, training_seeds(index, seed, used, batch)).episodes
                fitness = _returns(episodes).reshape(self.population, -1).mean(1)
                strategy.tell(list(candidates), list(-fitness))
                before, used = used, used + batch
                if any(before < number <= used for number in due):
                    examine(used, LinearActor(family.spec, scaler, _mean(strategy)))
        finally:
            env.close()
        return examine.curve

    def _strategy(self, spec: Spec, seed: int) -> Any:
        """A `cma.CMAEvolutionStrategy` that minimises the negative return, from a policy that does nothing."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it misses libraries that it can do without
            import cma
        size = (spec.observation_size + 1) * spec.action_size
        options = {
            "popsize": self.population, "CMA_mu": self.parents, "CMA_diagonal": True, "seed": seed + 1, "verbose": -9,
        }  # fmt: skip
        return cma.CMAEvolutionStrategy(np.zeros(size), self.step, options)


@dataclass(frozen=True)
class Scaler:
    """Observations to numbers of mean 0 and deviation 1."""

    mean: Float[np.ndarray, " o"]
    std: Float[np.ndarray, " o"]

    @classmethod
    def of(cls, episodes: list[Episode]) -> "Scaler":
        """Fitted to what episodes show; numbers that never change stay as they are."""
        seen = np.concatenate([observation_vectors(e.observations) for e in episodes]).astype(np.float64)
        std = deviation(seen)
        return cls(seen.mean(0), np.where(std > 0, std, 1.0))

    def __call__(self, observations: Shaped[np.ndarray, "b *o"]) -> Float[np.ndarray, "b n"]:
        """Observations, flat and scaled."""
        return (observation_vectors(observations) - self.mean) / self.std


class LinearActor:
    """action = W x + b, from the middle of the action space in units of its half width, clipped; or argmax."""

    def __init__(self, spec: Spec, scaler: Scaler, weights: Float[np.ndarray, "b n"]) -> None:
        """`weights`: W and b of each row, flat; one row of weights acts in every row."""
        self._spec = spec
        self._scaler = scaler
        self._weights = weights.reshape(len(weights), spec.action_size, spec.observation_size + 1)

    def act(self, observations: Shaped[np.ndarray, "b *o"]) -> Shaped[np.ndarray, "b *a"]:
        """One action per row."""
        x = self._scaler(observations)
        out = np.einsum("bao,bo->ba", self._weights[..., :-1], x) + self._weights[..., -1]
        shape, space = (len(x), *self._spec.actions.shape), self._spec.actions.space
        if self._spec.discrete:
            ends = np.cumsum(self._spec.action_choices)[:-1]
            best = np.stack([one.argmax(-1) for one in np.split(out, ends, -1)], -1)
            return best.reshape(shape) + self._spec.actions.lowest
        middle, half = (space.high + space.low) / 2, (space.high - space.low) / 2
        return np.clip(middle + half * out.reshape(shape), space.low, space.high).astype(space.dtype)


def random_episodes(family: Family, index: int, seed: int, n: int) -> list[Episode]:
    """The first `n` episodes of the training stream, with uniform actions."""
    env = make_vec(family, [index] * n)
    try:
        return rollout(env, RandomActor(env, seed), training_seeds(index, seed, 0, n)).episodes
    finally:
        env.close()


def _mean(strategy: Any) -> Array:
    """The mean of the search distribution, `[1, n]`."""
    return np.asarray(strategy.result.xfavorite)[None]


def _returns(episodes: list[Episode]) -> Float[np.ndarray, " b"]:
    return np.array([0.0 if e.rewards is None else float(e.rewards.sum()) for e in episodes])
