from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metalearn.data.errors import InvalidData
from metalearn.evaluation.statistics import (
    cluster_bootstrap,
    interquartile_mean,
    paired_bootstrap,
    rate_interval,
    stratified_bootstrap,
    wilson,
)

counts = st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def test_wilson_of_eight_in_ten() -> None:
    # z^2 = 3.8415; middle (0.8 + 0.19207) / 1.38415 = 0.71674; half 1.95996 sqrt(0.016 + 0.0096036) / 1.38415
    assert wilson(8, 10) == pytest.approx((0.49016, 0.94332), abs=1e-5)


def test_wilson_at_the_ends_is_one_sided() -> None:
    assert wilson(0, 10) == pytest.approx((0, 3.841459 / 13.841459), abs=1e-6)
    assert wilson(10, 10) == pytest.approx((10 / 13.841459, 1), abs=1e-6)


@given(counts, st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_is_the_closed_form(count: tuple[int, int], confidence: float) -> None:
    successes, n = count
    z, p = NormalDist().inv_cdf((1 + confidence) / 2), successes / n
    middle, half = p + z**2 / (2 * n), z * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    ends = (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)
    assert wilson(successes, n, confidence) == pytest.approx(ends, abs=1e-12)


@given(counts)
def test_wilson_holds_the_rate_and_stays_within_0_and_1(count: tuple[int, int]) -> None:
    successes, n = count
    low, high = wilson(successes, n)
    assert 0 <= low <= successes / n <= high <= 1
    assert low < high


@given(counts)
def test_wilson_of_failures_is_the_mirror_image(count: tuple[int, int]) -> None:
    successes, n = count
    low, high = wilson(successes, n)
    assert wilson(n - successes, n) == pytest.approx((1 - high, 1 - low), abs=1e-9)


@given(counts)
def test_wilson_narrows_with_more_episodes_and_less_confidence(count: tuple[int, int]) -> None:
    successes, n = count

    def width(interval: tuple[float, float]) -> float:
        return interval[1] - interval[0]

    assert width(wilson(4 * successes, 4 * n)) < width(wilson(successes, n))
    assert width(wilson(successes, n, confidence=0.8)) < width(wilson(successes, n))


@pytest.mark.parametrize(("successes", "n"), [(1, 0), (0, 0), (3, 2), (-1, 5)])
def test_wilson_refuses_impossible_counts(successes: int, n: int) -> None:
    with pytest.raises(InvalidData):
        wilson(successes, n)


def test_clusters_of_like_episodes_count_as_one_episode_each() -> None:
    per_task = np.arange(100) < 40
    repeated = np.repeat(per_task[:, None], 7, axis=1)
    everything = np.ones_like(repeated)
    low, high = cluster_bootstrap(repeated, everything, np.random.default_rng(0))
    # 40 of 100 independent tasks: standard error sqrt(0.4 x 0.6 / 100) = 0.049
    assert (low, high) == pytest.approx((0.4 - 1.96 * 0.049, 0.4 + 1.96 * 0.049), abs=0.015)


def test_clusters_of_unlike_episodes_count_nearly_as_all_their_episodes() -> None:
    success = np.random.default_rng(1).random((400, 5)) < 0.3
    low, high = cluster_bootstrap(success, np.ones_like(success), np.random.default_rng(0))
    plain = wilson(int(success.sum()), success.size)
    assert (low, high) == pytest.approx(plain, abs=0.005)


def test_tasks_of_one_type_count_as_one() -> None:
    types = np.repeat([0, 1, 2, 3, 4], 50)
    success = (types < 2)[:, None]  # two of five types, always
    everything = np.ones_like(success)
    low, high = rate_interval(success, everything, np.random.default_rng(0), clusters=types)
    assert (low, high) == pytest.approx((0.0, 0.8))
    assert wilson(100, 250)[0] > 0.34  # what 250 independent tasks would claim
    before = np.zeros(250)
    mean, (low, high) = paired_bootstrap(success[:, 0].astype(float), before, np.random.default_rng(0), clusters=types)
    assert (mean, low, high) == pytest.approx((0.4, 0.0, 0.8))


def test_a_type_without_counted_episodes_is_left_out() -> None:
    types, success = np.array([0, 0, 1, 1]), np.array([[True], [True], [False], [False]])
    counted = np.array([[True], [True], [False], [False]])
    assert rate_interval(success, counted, np.random.default_rng(0), clusters=types) == wilson(1, 1)


def test_cluster_bootstrap_does_not_claim_certainty() -> None:
    success = np.ones((50, 4), bool)
    counted = np.ones((50, 4), bool)
    assert cluster_bootstrap(success, counted, np.random.default_rng(0)) == wilson(50, 50)
    assert cluster_bootstrap(~success, counted, np.random.default_rng(0)) == wilson(0, 50)


def test_episodes_that_do_not_count_change_nothing() -> None:
    rng = np.random.default_rng(2)
    success, counted = rng.random((60, 3)) < 0.5, rng.random((60, 3)) < 0.6
    expected = cluster_bootstrap(success, counted, np.random.default_rng(0))
    assert cluster_bootstrap(success | ~counted, counted, np.random.default_rng(0)) == expected
    with pytest.raises(InvalidData):
        cluster_bootstrap(success, np.zeros_like(counted), np.random.default_rng(0))


def test_rate_interval_is_wilsons_where_tasks_do_not_repeat() -> None:
    success = np.array([[True], [False], [True], [True]])
    counted = np.array([[True], [True], [True], [False]])
    assert rate_interval(success, counted, np.random.default_rng(0)) == wilson(2, 3)


def test_paired_gain_of_alternating_differences() -> None:
    after, before = np.tile([1.0, 1.0], 200), np.tile([0.0, 1.0], 200)
    mean, (low, high) = paired_bootstrap(after, before, np.random.default_rng(0))
    assert mean == 0.5
    # differences 0 and 1: standard error 0.5 / sqrt(400) = 0.025
    assert (low, high) == pytest.approx((0.5 - 1.96 * 0.025, 0.5 + 1.96 * 0.025), abs=0.006)


def test_pairing_removes_what_tasks_contribute() -> None:
    tasks = np.random.default_rng(3).normal(0, 10, 50)
    mean, (low, high) = paired_bootstrap(tasks + 1, tasks, np.random.default_rng(0))
    assert mean == pytest.approx(1)
    assert (low, high) == pytest.approx((1, 1))


@settings(max_examples=20)
@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=1, max_size=30))
def test_gain_backwards_is_the_negative_gain(pairs: list[tuple[float, float]]) -> None:
    after, before = (np.array(column) for column in zip(*pairs, strict=True))
    mean, (low, high) = paired_bootstrap(after, before, np.random.default_rng(0))
    back, (back_low, back_high) = paired_bootstrap(before, after, np.random.default_rng(0))
    assert (back, back_low, back_high) == pytest.approx((-mean, -high, -low), abs=1e-9)


def test_interquartile_mean_by_hand() -> None:
    # 8 scores: 2 cut at either end, the mean of 3, 4, 5 and 6
    assert interquartile_mean(np.array([1.0, 2, 3, 4, 5, 6, 7, 1000])) == 4.5
    # 6 scores: floor(1.5) = 1 cut at either end
    assert interquartile_mean(np.array([[-1e9, 1.0, 2], [3, 6, 1e9]])) == 3
    assert interquartile_mean(np.array([1.0, 2, 6])) == 3


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=40), st.floats(0.1, 10), st.floats(-10, 10))
def test_interquartile_mean_moves_with_its_scores(scores: list[float], scale: float, shift: float) -> None:
    plain = interquartile_mean(np.array(scores))
    assert min(scores) - 1e-9 <= plain <= max(scores) + 1e-9
    assert interquartile_mean(scale * np.array(scores) + shift) == pytest.approx(scale * plain + shift, abs=1e-6)


def test_strata_keep_differences_between_tasks_out_of_the_interval() -> None:
    constant_per_task = np.repeat(np.arange(8.0)[:, None] * 100, 5, axis=1)
    iqm = interquartile_mean(constant_per_task)
    assert stratified_bootstrap(constant_per_task, np.random.default_rng(0)) == (iqm, iqm)


def test_stratified_interval_of_means_has_the_width_of_the_standard_error() -> None:
    scores = np.random.default_rng(4).normal(0, 1, (20, 30))
    low, high = stratified_bootstrap(scores, np.random.default_rng(0), statistic=lambda s: float(s.mean()))
    assert high - low == pytest.approx(2 * 1.96 / 600**0.5, rel=0.1)
    assert low < scores.mean() < high
