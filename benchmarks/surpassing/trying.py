"""Own attempts: the latent of "better" is varied, each attempt is ranked by what was learnt from noise, and the best
latent is kept. CMA-ES (Hansen, 2016) in the space of latents; no reward of the environment, no gradient.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from benchmarks.surpassing.locomotion import ROWS, Locomotion, n_steps, roll_out
from metalearn.data.episode import Episode
from metalearn.model.inference import HypothesisActor, Inference

TRIALS_STREAM = 1 << 49
STEP = 0.5  # the deviation of a latent's numbers in the first attempts; over contexts they vary by about 1
Rank = Callable[[Sequence[Episode]], Float[np.ndarray, " e"]]


@dataclass(frozen=True)
class Tried:
    """What attempts came to.

    Attributes:
        latent: `[d]`, the mean of the search distribution at the end.
        steps: environment steps so far, after each generation.
        ranks: the mean rank of each generation.
    """

    latent: Float32[np.ndarray, " d"]
    steps: tuple[int, ...]
    ranks: tuple[float, ...]


def try_out(
    inference: Inference, start: Float32[np.ndarray, " d"], rank: Rank, family: Locomotion, steps: int, seed: int
) -> Tried:
    """Attempts for at least so many environment steps, an episode for each latent that is tried."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it misses libraries that it can do without
        import cma
    options = {"popsize": ROWS, "CMA_diagonal": True, "seed": seed + 1, "verbose": -9}
    strategy = cma.CMAEvolutionStrategy(start.astype(np.float64), STEP, options)
    used, spent, ranks = 0, list[int](), list[float]()
    while used < steps:
        latents = np.array(strategy.ask())
        episodes = roll_out(family, [(acting_on(inference, latents), ROWS)], TRIALS_STREAM + 10_000 * seed + len(spent))
        found = rank(episodes)
        strategy.tell(list(latents), list(-found))
        used += n_steps(episodes)
        spent.append(used)
        ranks.append(float(found.mean()))
    return Tried(np.asarray(strategy.result.xfavorite, np.float32), tuple(spent), tuple(ranks))


def acting_on(inference: Inference, latents: Float[np.ndarray, "b d"]) -> HypothesisActor:
    """Who acts on a latent in each row, under the only hypothesis."""
    return HypothesisActor(inference, latents.astype(np.float32), np.zeros(len(latents), np.int64))
