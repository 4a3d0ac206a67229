import numpy as np
import pytest

from metalearn.benchmark.asking import asked_and_achieved

LEVELS = np.array([0.0, 1.0, 2.0, 3.0])


def test_who_does_what_was_asked_for_has_a_correlation_and_a_slope_of_one():
    figures = asked_and_achieved(LEVELS, np.repeat(LEVELS[:, None], 5, 1), seed=0)
    assert figures["spearman"] == {"value": pytest.approx(1), "ci95": pytest.approx([1, 1])}
    assert figures["slope"] == {"value": pytest.approx(1), "ci95": pytest.approx([1, 1])}
    assert {ask: one["mean"] for ask, one in figures["achieved"].items()} == {"0.0": 0, "1.0": 1, "2.0": 2, "3.0": 3}


def test_who_does_half_of_what_was_asked_for_is_in_order_and_has_half_the_slope():
    figures = asked_and_achieved(LEVELS, 0.5 * np.repeat(LEVELS[:, None], 5, 1), seed=0)
    assert figures["spearman"]["value"] == pytest.approx(1) and figures["slope"]["value"] == pytest.approx(0.5)


def test_who_does_not_listen_has_intervals_around_zero():
    figures = asked_and_achieved(LEVELS, np.random.default_rng(0).normal(size=(4, 200)), seed=0)
    for name in ("spearman", "slope"):
        low, high = figures[name]["ci95"]
        assert low < 0 < high
