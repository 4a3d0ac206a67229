"""Calibration figures: by hand on small cases, and as relations that hold for any predictions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metalearn.data.errors import InvalidData
from metalearn.evaluation.calibration import auroc, brier, calibration_error, describe, expected_error, reliability

PREDICTED = np.array([0.05, 0.15, 0.15, 0.95])
SUCCESS = np.array([False, True, False, True])
SCORES = st.lists(st.integers(-5, 5), min_size=1, max_size=30).map(np.array)


def test_by_hand() -> None:
    bins = reliability(PREDICTED, SUCCESS)
    assert [(round(b.low, 1), b.n, b.success) for b in bins] == [(0.0, 1, 0.0), (0.1, 2, 0.5), (0.9, 1, 1.0)]
    assert calibration_error(PREDICTED, SUCCESS) == pytest.approx((0.05 + 2 * 0.35 + 0.05) / 4)
    assert brier(PREDICTED, SUCCESS) == pytest.approx((0.05**2 + 0.85**2 + 0.15**2 + 0.05**2) / 4)
    assert auroc(PREDICTED[~SUCCESS], PREDICTED[SUCCESS]) == pytest.approx((1 + 0.5 + 1 + 1) / 4)


def test_certainty_belongs_to_the_last_bin() -> None:
    [one] = reliability(np.array([1.0, 0.95]), np.array([True, True]))
    assert (one.high, one.n) == (1.0, 2)


def test_true_probabilities_are_calibrated_and_sharpness_is_ranked() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(size=20_000)
    success = rng.uniform(size=20_000) < p
    found = describe(p, success)
    assert found["ece"] < 0.02
    assert found["brier"] < found["brier_of_rate"]
    assert found["auroc"] == pytest.approx(5 / 6, abs=0.02)  # of p itself, uniform
    assert calibration_error(np.sqrt(p), success) > 0.1


@given(SCORES, SCORES)
def test_either_side_may_be_the_sought_one(a: np.ndarray, b: np.ndarray) -> None:
    forwards, backwards = auroc(a, b), auroc(b, a)
    assert forwards is not None
    assert backwards is not None
    assert forwards + backwards == pytest.approx(1)
    assert forwards == pytest.approx(np.mean([(y > x) + (y == x) / 2 for x in a for y in b]))


def test_a_kind_that_is_missing_has_no_ranking() -> None:
    assert auroc(np.array([]), np.array([1.0])) is None


@pytest.mark.parametrize("wrong", [[], [1.2], [np.nan]])
def test_what_is_no_probability_is_refused(wrong: list[float]) -> None:
    with pytest.raises(InvalidData, match="predicted"):
        calibration_error(np.array(wrong), np.zeros(len(wrong), bool))


def test_perfect_probabilities_have_an_error_that_falls_with_their_number() -> None:
    rng = np.random.default_rng(0)
    few, many = (expected_error(rng.uniform(0.2, 1.0, n), rng) for n in (100, 10_000))
    assert 0.05 < few < 0.15
    assert many < 0.02
    assert expected_error(np.ones(50), rng) == 0
