"""Which action led from one observation to the next: a linear model of what actions are known to do.

For episodes whose actions nobody recorded. Its error counts as further noise of the action, so that where observations
do not tell actions, recognition knows less instead of being wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Shaped

from metalearn.data.episode import Array, Episode
from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.data.parts import observation_vectors
from metalearn.data.spaces import beside_pictures
from metalearn.data.spec import Spec
from metalearn.data.units import Units

RIDGE = 1e-4
SMALLEST_VARIANCE = 1e-6


@dataclass(frozen=True, eq=False)
class InverseModel:
    """action = [change, observation, 1] W, with a residual variance per component; logits of choices for discrete ones.

    Continuous actions by ridge regression, in their units. Of discrete ones each component by linear discriminant
    analysis (T. Hastie et al., "The Elements of Statistical Learning", section 4.3), every choice as likely before.

    Attributes:
        weights: `[f a]`, of which f = 2 n + 1 for n numbers beside pictures.
        variance: `[a]`, of the residuals; zeros for choices.
    """

    weights: Float32[np.ndarray, "f a"]
    variance: Float32[np.ndarray, " a"]

    @classmethod
    def fit(cls, episodes: Sequence[Episode], units: Units) -> "InverseModel":
        """Fit it to episodes with actions.

        Raises:
            InvalidData: none of them has actions.
        """
        known = [episode for episode in episodes if episode.actions is not None]
        if not known:
            raise InvalidData("episodes", "at least one episode with actions", "none")
        x = np.concatenate([_features(episode.observations, units.spec) for episode in known]).astype(np.float64)
        y = np.concatenate([units.encode_actions(_actions(episode)) for episode in known]).astype(np.float64)
        if units.spec.discrete:
            return cls(_discriminants(x, y, units.spec.action_choices), np.zeros(y.shape[1], np.float32))
        spread = np.maximum(x.std(0), 1e-12)
        spread[-1] = 1.0
        scaled = x / spread
        gram = scaled.T @ scaled + RIDGE * len(x) * np.diag([*[1.0] * (x.shape[1] - 1), 0.0]) * 1e-3
        weights = np.linalg.solve(gram + 1e-9 * np.eye(len(gram)), scaled.T @ y) / spread[:, None]
        variance = np.maximum(np.square(y - x @ weights).mean(0), SMALLEST_VARIANCE)
        return cls(weights.astype(np.float32), variance.astype(np.float32))

    def check(self, spec: Spec) -> None:
        """Do nothing if it fits a spec. Raises InvalidConfig."""
        expected = [2 * len(beside_pictures(spec.parts)) + 1, spec.action_size]
        if list(self.weights.shape) != expected or self.variance.shape != (spec.action_size,):
            raise InvalidConfig(f"inverse: expected shape {expected}, got {list(self.weights.shape)}")

    def predict(self, observations: Shaped[np.ndarray, "n *o"], spec: Spec) -> Float32[np.ndarray, "t a"]:
        """The encoded actions of t = n - 1 steps: means, or the probability of each choice."""
        out: Array = _features(observations, spec) @ self.weights
        if not spec.discrete:
            return out.astype(np.float32)
        parts = np.split(out, np.cumsum(spec.action_choices)[:-1], -1)
        return np.concatenate([_softmax(part) for part in parts], -1).astype(np.float32)


def _features(observations: Shaped[np.ndarray, "n *o"], spec: Spec) -> Float32[np.ndarray, "t f"]:
    seen = observation_vectors(observations)[:, beside_pictures(spec.parts)]
    return np.concatenate([np.diff(seen, axis=0), seen[:-1], np.ones((len(seen) - 1, 1), np.float32)], -1)


def _actions(episode: Episode) -> Array:
    assert episode.actions is not None
    return episode.actions


def _discriminants(
    x: Float[np.ndarray, "n f"], one_hot: Float[np.ndarray, "n a"], choices: tuple[int, ...]
) -> Float32[np.ndarray, "f a"]:
    """Linear discriminants of every choice of every component; the last feature is the constant."""
    seen, columns = x[:, :-1], []
    for chosen in np.split(one_hot, np.cumsum(choices)[:-1], -1):
        count = chosen.sum(0)
        means = chosen.T @ seen / np.maximum(count, 1)[:, None]
        left = seen - chosen @ means
        covariance = left.T @ left / len(seen)
        covariance += (1e-3 * np.trace(covariance) / len(covariance) + 1e-9) * np.eye(len(covariance))
        slopes = np.linalg.solve(covariance, means.T)
        offsets = -0.5 * (means * slopes.T).sum(-1) - np.where(count > 0, 0.0, 30.0)  # what was never chosen
        columns.append(np.vstack([slopes, offsets]))
    return np.concatenate(columns, -1).astype(np.float32)


def _softmax(logits: Float[np.ndarray, "t c"]) -> Float[np.ndarray, "t c"]:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)
