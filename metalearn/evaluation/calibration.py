"""Calibration of probabilities: reliability, calibration error, Brier score, ranking.

Pure functions of predicted probabilities and outcomes; runs nothing. Axes: n predictions, bins of equal width.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Shaped

from metalearn.data.errors import InvalidData
from metalearn.evaluation.statistics import Interval, wilson

N_BINS = 10


@dataclass(frozen=True)
class Bin:
    """Predictions `low <= p < high` (the last bin holds 1 too): how many, what they say, and what came true."""

    low: float
    high: float
    n: int
    predicted: float
    success: float
    ci95: Interval


def reliability(predicted: Float[np.ndarray, " n"], success: Bool[np.ndarray, " n"], n_bins: int = N_BINS) -> list[Bin]:
    """The bins that hold predictions, in order, each with Wilson's interval of its rate.

    Raises:
        InvalidData: no predictions, or some that are no probabilities.
    """
    place = _places(predicted, n_bins)
    bins = []
    for i in np.unique(place):
        here = place == i
        n, k = int(here.sum()), int(success[here].sum())
        low, high = i / n_bins, (i + 1) / n_bins
        bins.append(Bin(float(low), float(high), n, float(predicted[here].mean()), k / n, wilson(k, n)))
    return bins


def calibration_error(
    predicted: Float[np.ndarray, " n"], success: Bool[np.ndarray, " n"], n_bins: int = N_BINS
) -> float:
    """ECE = sum over bins of (n_bin / n) |mean prediction - rate of success|.

    M. Naeini, G. Cooper and M. Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning",
    AAAI 2015. Few predictions in a bin make it larger than 0 even for perfect probabilities.
    """
    bins = reliability(predicted, success, n_bins)
    return sum(b.n * abs(b.predicted - b.success) for b in bins) / len(predicted)


def expected_error(predicted: Float[np.ndarray, " n"], rng: np.random.Generator, n_draws: int = 200) -> float:
    """The calibration error that these probabilities would have on average if they were perfect: chance alone."""
    drawn = rng.random((n_draws, len(predicted))) < predicted
    return float(np.mean([calibration_error(predicted, success) for success in drawn]))


def brier(predicted: Float[np.ndarray, " n"], success: Bool[np.ndarray, " n"]) -> float:
    """Mean of (p - outcome)^2. G. Brier, "Verification of forecasts expressed in terms of probability" (1950)."""
    _places(predicted, 1)
    return float(np.mean((predicted - success) ** 2))


def auroc(ordinary: Shaped[np.ndarray, " n"], sought: Shaped[np.ndarray, " m"]) -> float | None:
    """P(score of a sought one > score of an ordinary one) + P(equal) / 2; None where either kind is missing.

    The Mann-Whitney statistic over n m. J. Hanley and B. McNeil, Radiology 143 (1982).
    """
    if len(ordinary) == 0 or len(sought) == 0:
        return None
    from scipy.stats import mannwhitneyu

    statistic = mannwhitneyu(sought, ordinary, method="asymptotic").statistic
    return float(statistic / (len(ordinary) * len(sought)))


def describe(predicted: Float[np.ndarray, " n"], success: Bool[np.ndarray, " n"]) -> dict[str, Any]:
    """Everything above as JSON; `brier_of_rate` is that of always saying the rate itself."""
    rate = float(success.mean())
    return {
        "n": len(predicted),
        "rate": rate,
        "predicted": float(predicted.mean()),
        "ece": calibration_error(predicted, success),
        "brier": brier(predicted, success),
        "brier_of_rate": rate * (1 - rate),
        "auroc": auroc(predicted[~success], predicted[success]),
        "bins": [vars(b) for b in reliability(predicted, success)],
    }


def _places(predicted: Float[np.ndarray, " n"], n_bins: int) -> Shaped[np.ndarray, " n"]:
    """The bin of each prediction. Raises InvalidData."""
    if len(predicted) == 0:
        raise InvalidData("predicted", "at least one probability", "none")
    if not ((predicted >= 0) & (predicted <= 1)).all():
        wrong = predicted[~((predicted >= 0) & (predicted <= 1))][0]
        raise InvalidData("predicted", "probabilities from 0 to 1", str(wrong))
    return np.minimum((predicted * n_bins).astype(np.int64), n_bins - 1)
