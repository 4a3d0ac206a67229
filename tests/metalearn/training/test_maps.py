from itertools import pairwise

import numpy as np
import pytest

from metalearn.training.maps import Map, _far_apart


def path(*corners: tuple[float, float], pace: float = 0.25) -> np.ndarray:
    """Places along straight lines between corners, a step apart."""
    pieces = [np.array(corners[:1], np.float32)]
    for (x, y), (to_x, to_y) in pairwise(corners):
        n = round(max(abs(to_x - x), abs(to_y - y)) / pace)
        pieces.append(np.linspace((x, y), (to_x, to_y), n + 1, dtype=np.float32)[1:])
    return np.concatenate(pieces)


def there_and_back(*corners: tuple[float, float]) -> np.ndarray:
    return path(*corners, *corners[-2::-1])


# Two corridors that meet at (0, 0). Nobody ever went from the end of one to the end of the other.
WEST, NORTH = [(-8.0, 0.0), (0.0, 0.0)], [(0.0, 0.0), (0.0, 8.0)]
CORNER = [there_and_back(*WEST) for _ in range(20)] + [there_and_back(*NORTH) for _ in range(20)]


@pytest.fixture(scope="module")
def corner() -> Map:
    return Map.of(CORNER, np.random.default_rng(0))


def steps_between(found: Map, a: tuple[float, float], b: tuple[float, float]) -> float:
    here, there = found.trace(np.array([a, b], np.float32))
    return float(found.steps[here, there])


def test_steps_are_those_that_were_taken(corner: Map):
    assert steps_between(corner, (-8, 0), (0, 0)) == pytest.approx(32, abs=2)
    assert steps_between(corner, (0, 0), (-8, 0)) == pytest.approx(32, abs=2)


def test_a_way_that_nobody_went_is_joined_of_two(corner: Map):
    assert steps_between(corner, (-8, 0), (0, 8)) == pytest.approx(64, abs=4)  # as the crow flies it is 45


def test_where_nobody_ever_went_there_is_no_way():
    one_way = [path(*WEST) for _ in range(40)]
    found = Map.of(one_way, np.random.default_rng(0))
    assert np.isinf(steps_between(found, (0, 0), (-8, 0)))
    assert steps_between(found, (-8, 0), (0, 0)) == pytest.approx(32, abs=2)


def test_a_step_of_the_map_is_at_most_one_of_whoever_goes_straight_on(corner: Map):
    assert 0.85 < corner.pace <= 1.05


def test_a_way_with_a_detour_is_cut_to_its_direct_end(corner: Map):
    went = path((-2.0, 0.0), (-8.0, 0.0), (-1.0, 0.0))  # 24 steps the wrong way, then 28
    way = corner.direct(corner.trace(went), range(len(went) - 1))
    assert 13 <= len(way) <= 28 and way.stop == 52
    straight = path((-8.0, 0.0), (-1.0, 0.0))
    assert corner.direct(corner.trace(straight), range(28)) == range(28)


def test_beyond_a_way_lies_what_it_led_towards(corner: Map):
    went, rng = path((-6.0, 0.0), (-3.0, 0.0)), np.random.default_rng(0)
    found = [corner.onwards(corner.trace(went), rng) for _ in range(200)]
    assert all(goal[0] > went[way.stop, 0] - 1 for way, goal in found)
    assert max(goal[1] for _, goal in found) > 7  # the end of the other corridor
    back = [corner.onwards(corner.trace(went[::-1]), rng) for _ in range(50)]
    assert all(goal[0] < -3 and goal[1] == 0 for _, goal in back)
    assert {way.stop - way.start >= 4 * corner.grain for way, _ in [*found, *back]} == {True}


def test_who_stays_in_a_place_or_makes_a_detour_leads_nowhere(corner: Map):
    rng = np.random.default_rng(0)
    assert corner.onwards(corner.trace(np.zeros((99, 2), np.float32)), rng) is None
    nervous = 0.2 * rng.standard_normal((99, 2)).astype(np.float32)
    assert corner.onwards(corner.trace(nervous), rng) is None


def test_of_what_never_changes_there_is_a_map_without_ways():
    found = Map.of([np.zeros((50, 3), np.float32)], np.random.default_rng(0))
    trace = found.trace(np.zeros((9, 3), np.float32))
    assert len(found.direct(trace, range(8))) > 0
    assert found.onwards(trace, np.random.default_rng(0)) is None


def test_places_are_far_apart():
    points = np.array([[0.0], [0.1], [5.0], [9.0]])
    assert _far_apart(points, 3).tolist() == [0, 3, 2]
