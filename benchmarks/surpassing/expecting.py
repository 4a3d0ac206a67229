"""A return that is linear in what is observed, read off from how expectations fall with several kinds of noise.

How an episode went is told by the means of its observations and by its length (feature expectations: Abbeel and Ng,
"Apprenticeship learning via inverse reinforcement learning", 2004). What is linear cannot see how rough a movement is,
which tells noise best and skill not at all, and goes on where no graded episode has been.

Noise also changes what nobody wants: random torques move the mean angle of every joint. So a feature has to fall with
every kind of noise. Where the actor's own actions come at the wrong time, mean torques stay as they were, and only what
comes of acting at the right time is lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from metalearn.data.episode import Episode
from metalearn.data.units import deviation

Graded = tuple[Sequence[Episode], Float[np.ndarray, " e"]]
"""Episodes, and the noise of each."""


@dataclass(frozen=True)
class ExpectedReturn:
    """rank(episode) = sum over t of w . (o_t - mean) / std + b, of the observations after actions.

    Attributes:
        mean, std: of the observations of graded episodes, `[o]`.
        weights: `[o]`.
        bias: of a step.
    """

    mean: Float[np.ndarray, " o"]
    std: Float[np.ndarray, " o"]
    weights: Float[np.ndarray, " o"]
    bias: float

    def rewards(self, observations: Float32[np.ndarray, "t o"]) -> Float[np.ndarray, "t 1"]:
        """Of t observations after actions."""
        return ((observations - self.mean) / self.std @ self.weights + self.bias)[:, None]

    def rank(self, episodes: Sequence[Episode]) -> Float[np.ndarray, " e"]:
        """The sum of the rewards of each episode."""
        return np.array([float(self.rewards(e.observations[1:]).sum()) for e in episodes])

    @classmethod
    def of(cls, kinds: Sequence[Graded]) -> "ExpectedReturn":
        """Fit it to episodes of one or more kinds of noise.

        A feature weighs the share of its variance that noise explains, multiplied over the kinds of noise, in its
        deviations within an episode; nothing if it falls with one kind and rises with another.
        """
        seen = np.concatenate([e.observations[1:] for episodes, _ in kinds for e in episodes]).astype(np.float64)
        mean, std = seen.mean(0), deviation(seen)
        std = np.where(std > 0, std, 1.0)
        found = []
        for episodes, noise in kinds:
            means = [np.append(((e.observations[1:] - mean) / std).mean(0), len(e)) for e in episodes]
            found.append(falls(np.stack(means), noise))
        weights = agreed(np.stack(found))
        return cls(mean, std, weights[:-1], float(weights[-1]))


def falls(features: Float[np.ndarray, "e f"], noise: Float[np.ndarray, " e"]) -> Float[np.ndarray, " f"]:
    """The correlation of each feature with less noise; 0 of what never changes."""
    centred, less = features - features.mean(0), noise.mean() - noise
    size = np.sqrt(np.square(centred).sum(0) * np.square(less).sum())
    found: Float[np.ndarray, " f"] = np.divide(less @ centred, size, out=np.zeros(len(size)), where=size > 1e-9)
    return found


def agreed(correlations: Float[np.ndarray, "k f"]) -> Float[np.ndarray, " f"]:
    """The product of squared correlations, with their sign; 0 where signs differ."""
    signs = np.sign(correlations)
    found: Float[np.ndarray, " f"] = np.where((signs == signs[0]).all(0), signs[0], 0) * np.square(correlations).prod(0)
    return found
