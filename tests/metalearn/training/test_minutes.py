"""Minutes of a training: their parts fit into them, and what follows the learning says when it ends."""

import pytest

from metalearn.training.minutes import AFTER_LEARNING, LEARNING, Ending


def test_the_parts_are_no_more_than_the_minutes() -> None:
    assert 0.95 < LEARNING + AFTER_LEARNING <= 1


def test_the_policy_ends_with_the_minutes_and_baselines_at_their_own_speed() -> None:
    clock = [100.0]
    ending = Ending(2.0, ("bc", "mil"), lambda: clock[0])
    clock[0] = 130.0
    assert ending.in_s("calibrate", 1, 2) == 90.0
    clock[0] = 250.0
    assert ending.in_s("calibrate", 2, 2) == 0.0  # not less, if it took longer
    assert ending.in_s("bc", 0, 10) is None
    clock[0] = 260.0
    assert ending.in_s("bc", 5, 10) == pytest.approx(30.0)  # a quarter of both took 10 s
    clock[0] = 290.0
    assert ending.in_s("mil", 10, 10) == 0.0


def test_nobody_knows_when_given_steps_end() -> None:
    assert Ending(None).in_s("calibrate", 1, 2) is None
