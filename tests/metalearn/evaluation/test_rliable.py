"""Our statistics beside rliable's own, on the same scores. Slow: rliable takes seconds to import."""

import numpy as np
import pytest

from metalearn.evaluation.statistics import (
    interquartile_mean,
    mean_of,
    return_interval,
    stratified_bootstrap,
)

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

RUNS, TASKS = 11, 17


@pytest.fixture(scope="module")
def scores() -> np.ndarray:
    """`[runs, tasks]`, as rliable has them; tasks differ more than runs do."""
    rng = np.random.default_rng(5)
    return rng.normal(rng.normal(0.6, 0.4, TASKS), 0.15, (RUNS, TASKS))


def test_interquartile_mean_and_mean_are_the_same_numbers(scores: np.ndarray) -> None:
    from rliable import metrics

    assert interquartile_mean(scores) == pytest.approx(metrics.aggregate_iqm(scores), abs=1e-12)
    assert mean_of(scores) == pytest.approx(metrics.aggregate_mean(scores), abs=1e-12)


@pytest.mark.parametrize("statistic", [interquartile_mean, mean_of])
def test_intervals_agree_within_monte_carlo_error(scores: np.ndarray, statistic: object) -> None:
    from rliable import library

    _, theirs = library.get_interval_estimates(
        {"x": scores}, lambda x: np.array([statistic(x)]), reps=4000, random_state=np.random.RandomState(0)
    )
    ours = stratified_bootstrap(scores.T, np.random.default_rng(0), statistic)
    width = ours[1] - ours[0]
    assert np.abs(np.array(ours) - theirs["x"][:, 0]).max() < 0.08 * width
    assert ours == return_interval(scores.T, np.random.default_rng(0), statistic)


def test_episodes_of_unrepeated_tasks_are_one_stratum() -> None:
    scores = np.random.default_rng(0).normal(size=(200, 1))
    low, high = return_interval(scores, np.random.default_rng(1), mean_of)
    expected = 2 * 1.96 * scores.std() / np.sqrt(200)
    assert high - low == pytest.approx(expected, rel=0.1)
