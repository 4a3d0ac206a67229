"""Rates, gains and returns with their 95% intervals: pure functions, seeded where they draw.

Axes: b tasks, k episodes per task. Knows numbers only; no tasks, no methods, no reports.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from metalearn.data.errors import InvalidData

Interval = tuple[float, float]
N_RESAMPLES = 2000


def wilson(n_successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Score interval of a binomial rate, for n independent episodes with so many successes, by scipy.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    if not 0 <= n_successes <= n or n == 0:
        raise InvalidData("n_successes", "0 <= n_successes <= n with n >= 1", f"{n_successes} of {n}")
    from scipy.stats import binomtest

    interval = binomtest(n_successes, n).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def cluster_bootstrap(
    success: Bool[np.ndarray, "b k"],
    counted: Bool[np.ndarray, "b k"],
    rng: np.random.Generator,
    confidence: float = 0.95,
    clusters: Int[np.ndarray, " b"] | None = None,
) -> Interval:
    """Percentile interval of a rate whose episodes are alike within a cluster: clusters are resampled.

    The rate is r = sum_c s_c / sum_c n_c, with s_c successes among the n_c counted episodes of cluster c; each
    resample draws as many clusters as there are, with replacement. A task is a cluster, unless `clusters` says to
    which one (0, 1, ...) each task belongs, as tasks of one type do. Where the counted episodes are all alike the
    bootstrap would claim certainty, so the interval is then Wilson's with one episode per cluster (fully correlated).

    A. C. Davison and D. V. Hinkley, "Bootstrap Methods and their Application" (1997), section 3.8.
    """
    successes, counts = (_sums(rows.sum(1), clusters) for rows in (success & counted, counted))
    successes, counts = successes[counts > 0], counts[counts > 0]
    c = len(counts)
    if c == 0:
        raise InvalidData("counted", "at least one episode", "none")
    if successes.sum() in (0, counts.sum()):
        return wilson(c if successes.any() else 0, c, confidence)
    return _percentiles(_resampled(successes, counts, rng), confidence)


def rate_interval(
    success: Bool[np.ndarray, "b k"],
    counted: Bool[np.ndarray, "b k"],
    rng: np.random.Generator,
    confidence: float = 0.95,
    clusters: Int[np.ndarray, " b"] | None = None,
) -> Interval:
    """`wilson` where every task has one episode and is independent, `cluster_bootstrap` otherwise."""
    if success.shape[1] == 1 and clusters is None:
        return wilson(int((success & counted).sum()), int(counted.sum()), confidence)
    return cluster_bootstrap(success, counted, rng, confidence, clusters)


def paired_bootstrap(
    after: Float[np.ndarray, " b"],
    before: Float[np.ndarray, " b"],
    rng: np.random.Generator,
    confidence: float = 0.95,
    clusters: Int[np.ndarray, " b"] | None = None,
) -> tuple[float, Interval]:
    """Mean gain over the same tasks, and its percentile interval.

    d_b = after_b - before_b per task; the gain is mean_b d_b, and each resample draws b tasks with replacement, or as
    many clusters of tasks as there are. Pairing removes what the tasks themselves contribute to the variance.

    B. Efron and R. J. Tibshirani, "An Introduction to the Bootstrap" (1993), chapters 8 and 13.
    """
    gains = after.astype(np.float64) - before
    totals, counts = _sums(gains, clusters), _sums(np.ones(len(gains)), clusters)
    return float(gains.mean()), _percentiles(_resampled(totals, counts, rng), confidence)


def interquartile_mean(scores: Float[np.ndarray, "..."]) -> float:
    """IQM: the mean of what is left when floor(n / 4) of the n scores are cut at either end.

    R. Agarwal et al., "Deep RL at the edge of the statistical precipice", NeurIPS 2021 (as in `rliable`:
    a 25% trimmed mean over all runs and tasks together).
    """
    ordered = np.sort(scores, axis=None).astype(np.float64)
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())


def stratified_bootstrap(
    scores: Float[np.ndarray, "b k"],
    rng: np.random.Generator,
    statistic: Callable[[Float[np.ndarray, "b k"]], float] = interquartile_mean,
    confidence: float = 0.95,
) -> Interval:
    """Percentile interval of a statistic of returns: within each task its k episodes are resampled.

    Tasks are strata: every one is in each resample, with k episodes drawn from its own with replacement,
    independently of the other tasks. Agarwal et al. (2021), section 4.1, as in `rliable`.
    """
    b, k = scores.shape
    rows = np.arange(b)[:, None]
    values = [statistic(scores[rows, rng.integers(k, size=(b, k))]) for _ in range(N_RESAMPLES)]
    return _percentiles(values, confidence)


def return_interval(
    scores: Float[np.ndarray, "b k"],
    rng: np.random.Generator,
    statistic: Callable[[Float[np.ndarray, "b k"]], float] = interquartile_mean,
    confidence: float = 0.95,
) -> Interval:
    """`stratified_bootstrap` where tasks repeat; where each has one episode, all episodes are one stratum.

    With one episode per task a resample within tasks is always the same one; what varies is which tasks were drawn.
    """
    strata = scores.reshape(1, -1) if scores.shape[1] == 1 else scores
    return stratified_bootstrap(strata, rng, statistic, confidence)


def mean_of(scores: Float[np.ndarray, "..."]) -> float:
    """The plain mean, for `stratified_bootstrap`."""
    return float(scores.mean(dtype=np.float64))


def _sums(per_task: Shaped[np.ndarray, " b"], clusters: Int[np.ndarray, " b"] | None) -> Float[np.ndarray, " c"]:
    """Sum what tasks have over their clusters; without clusters each task is one."""
    return np.bincount(np.arange(len(per_task)) if clusters is None else clusters, per_task)


def _resampled(
    totals: Float[np.ndarray, " c"], counts: Float[np.ndarray, " c"], rng: np.random.Generator
) -> list[float]:
    """The mean over all episodes of each resample of c clusters, drawn with replacement."""
    c, means = len(counts), []
    at_once = max(1, 1_000_000 // c)
    for start in range(0, N_RESAMPLES, at_once):
        drawn = rng.integers(c, size=(min(at_once, N_RESAMPLES - start), c))
        means += (totals[drawn].sum(1) / counts[drawn].sum(1)).tolist()
    return means


def _percentiles(values: list[float], confidence: float) -> Interval:
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
