"""Minutes of a training: their parts fit into them, and what follows the learning says when it ends."""

import pytest

from metalearn.training.minutes import AFTER_LEARNING, CALIBRATION, LEARNING, Ending


def test_the_parts_are_no_more_than_the_minutes() -> None:
    assert 0.95 < LEARNING + AFTER_LEARNING <= 1


def test_a_calibration_ends_with_its_share_and_baselines_at_their_own_speed() -> None:
    clock = [100.0]
    ending = Ending(10.0, ("bc", "mil"), lambda: clock[0])
    most_s = CALIBRATION * 600
    assert ending.in_s("calibrate", 0, 2) == pytest.approx(most_s)  # however long the training before it has taken
    clock[0] += 10
    assert ending.in_s("recognition", 1, 2) == pytest.approx(most_s - 10)
    clock[0] += most_s
    assert ending.in_s("recognition", 2, 2) == 0.0  # not less, if it takes longer
    assert ending.in_s("bc", 0, 10) is None
    clock[0] += 10
    assert ending.in_s("bc", 5, 10) == pytest.approx(30.0)  # a quarter of both took 10 s
    clock[0] += 30
    assert ending.in_s("mil", 10, 10) == 0.0


def test_nobody_knows_when_given_steps_end() -> None:
    assert Ending(None).in_s("calibrate", 1, 2) is None
