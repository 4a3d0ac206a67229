"""What a log-likelihood of actions is worth as evidence: a handful of numbers, fitted on validation tasks.

Values only; how they are fitted is in `metalearn.training.recognition`.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from metalearn.adapter import Belief
from metalearn.bundle import Bundle, Weights
from metalearn.data.errors import InvalidConfig
from metalearn.recognition.candidates import Candidates
from metalearn.recognition.inverse import InverseModel


@dataclass(frozen=True)
class EvidenceScale:
    """How residuals and steps count. The defaults are those of a bundle that was not calibrated.

    Attributes:
        sigma: factor of a policy's deviations: an agent is not imitated without error.
        width: how many times as wide as a candidate the alternative to it is ("not quite the candidate").
        outliers: share of steps in which a candidate acts as its wide alternative does (a contaminated normal
            distribution; J. Tukey, 1960), so that a single step decides nothing.
        weight, dependence: a log-likelihood of t steps counts weight * t^-dependence times, for steps are not
            independent (a tempered posterior; C. Guo et al., "On calibration of modern neural networks", 2017).
        nobody: added to the logit of *none of these*.
        weight_lead, nobody_lead: how much more the logarithm of a nat's weight, and that logit, are for each nat per
            step by which the best candidate is likelier than chance (its lead): who acts with skill is told with
            other certainty than who acts at random for the most part.
        nobody_steps: what is added to that logit for each e-fold of steps.
    """

    sigma: float = 1.5
    width: float = 3.0
    outliers: float = 0.05
    weight: float = 1.0
    dependence: float = 0.5
    nobody: float = 0.0
    weight_lead: float = 0.0
    nobody_lead: float = 0.0
    nobody_steps: float = 0.0

    def evidence(self, n_steps: Int[np.ndarray, " n"], lead: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """What a nat of log-likelihood counts in episodes of so many steps, with these leads."""
        counted: Float[np.ndarray, " n"] = (
            self.weight * np.maximum(1, n_steps) ** -self.dependence * np.exp(self.weight_lead * lead)
        )
        return counted

    def nobody_logit(self, n_steps: Int[np.ndarray, " n"], lead: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """What is added to the logit of *none of these*."""
        added: Float[np.ndarray, " n"] = (
            self.nobody + self.nobody_lead * lead + self.nobody_steps * np.log(np.maximum(1, n_steps))
        )
        return added


@dataclass(frozen=True, eq=False)
class RecognitionCalibration:
    """What recognition knows of a model beside its weights.

    Attributes:
        scale: how evidence counts.
        inverse: says which action led from one observation to the next; None if that was never fitted.
        population: beliefs after demonstrations of validation tasks: the experts that the model was made of.
        fitted: whether `scale` was fitted on validation tasks.
    """

    scale: EvidenceScale = EvidenceScale()
    inverse: InverseModel | None = None
    population: tuple[Belief, ...] = ()
    fitted: bool = False

    @cached_property
    def everybody(self) -> Candidates:
        """The policies of the whole population, as one candidate."""
        return Candidates.of([self.population])

    @classmethod
    def of(cls, bundle: Bundle) -> "RecognitionCalibration":
        """Of a bundle; the defaults for one that was not calibrated. Raises InvalidConfig."""
        weights = bundle.recognition
        if weights is None:
            return cls()
        try:
            scale = EvidenceScale(*(float(value) for value in weights["scale"]))
            if not np.isfinite(weights["scale"]).all() or scale.sigma <= 0 or scale.width <= 1:
                raise ValueError("scale")
            inverse = InverseModel(weights["inverse.weights"], weights["inverse.variance"])
            inverse.check(bundle.spec)
            pairs = zip(weights["population.latents"], weights["population.probabilities"], strict=True)
            population = tuple(Belief(np.asarray(latent), np.asarray(p)) for latent, p in pairs)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidConfig(f"bundle {bundle.name}: its recognition does not fit it: {error!r}") from error
        return cls(scale, inverse, population, fitted=True)

    def to_weights(self) -> Weights:
        """As the arrays of a bundle. The inverse must have been fitted."""
        assert self.inverse is not None
        values: list[Any] = list(vars(self.scale).values())
        return {
            "scale": np.array(values, np.float32),
            "inverse.weights": self.inverse.weights,
            "inverse.variance": self.inverse.variance,
            "population.latents": np.stack([belief.latent for belief in self.population]),
            "population.probabilities": np.stack([belief.probabilities for belief in self.population]),
        }
