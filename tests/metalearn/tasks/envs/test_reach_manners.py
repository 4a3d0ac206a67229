"""Manners: what demonstrators differ in, that it is seen in their paths, and that test combinations are new."""

from dataclasses import replace

import numpy as np
import pytest

from metalearn.benchmark.manners import demonstrators, distance
from metalearn.tasks.envs.reach_manners import (
    RANGES,
    Manner,
    ReachManners,
    reach_beyond,
    reach_manners,
    reach_plain,
    reach_skilled,
)
from metalearn.tasks.rollout import demonstrate


class As(ReachManners):
    """Everybody has one manner."""

    who: Manner

    def manner(self, index: int) -> Manner:
        return self.who


def paths(**manner: float) -> np.ndarray:
    family = As("reach-manners", 4, 1)
    object.__setattr__(family, "who", replace(Manner(), **manner))
    episodes = demonstrate(family, list(range(0, 80, 4)), list(range(20)), "demo").episodes
    return family.statistics(episodes, 0)


def halves(manner: Manner) -> int:
    return sum(getattr(manner, name) > (low + high) / 2 for name, (low, high) in RANGES.items())


def test_test_tasks_have_combinations_of_manners_that_training_tasks_have_not() -> None:
    family = reach_manners()
    assert {halves(family.manner(i)) % 2 for i in range(400)} == {0}
    assert {halves(family.manner(2_000_000 + i)) % 2 for i in range(400)} == {1}
    assert {halves(family.manner(1_000_000 + i)) % 2 for i in range(400)} == {1}


def test_siblings_have_the_target_and_other_manners() -> None:
    family = reach_manners()
    five = demonstrators(family, 2_000_003, 5, seed=0)
    assert len({int(i) % 4 for i in five}) == 1
    assert len({family.manner(int(i)) for i in five}) == 5
    assert all(int(i) in family.splits["test"] for i in five)


@pytest.mark.parametrize(
    ("manner", "number", "sign"),
    [
        ({"speed": 0.5}, 0, -1), ({"curvature": 0.6}, 1, 1), ({"curvature": -0.6}, 1, -1), ({"curvature": 0.6}, 2, 1),
        ({"hesitation": 0.7}, 4, -1), ({"tremor": 0.6}, 5, 1),
    ],
)  # fmt: skip
def test_each_manner_is_seen_in_the_paths(manner: dict[str, float], number: int, sign: int) -> None:
    assert np.sign(paths(**manner)[number] - paths()[number]) == sign
    assert abs(paths(**manner)[number] - paths()[number]) > 0.1


def test_those_who_know_what_they_do_arrive_and_those_who_act_at_random_do_not() -> None:
    family = As("reach-manners", 4, 1)
    for skill, low, high in ((1.0, 0.95, 1.0), (0.0, 0.0, 0.6)):
        object.__setattr__(family, "who", Manner(speed=0.8, skill=skill))
        success = demonstrate(family, list(range(60)), list(range(60)), "trial").success.mean()
        assert low <= success <= high


def test_one_manner_is_nearer_to_itself_than_to_another() -> None:
    spread = np.ones(6)
    assert distance(paths(curvature=0.5), paths(curvature=0.45), spread) < distance(
        paths(curvature=0.5), paths(curvature=-0.5), spread
    )
    assert reach_plain().manner(3) == Manner()


def test_what_a_demonstrator_did_is_possible_under_it_and_hardly_under_another() -> None:
    family, index = reach_manners(), 2_000_003
    [episode] = demonstrate(family, [index], [5], "trial").episodes
    own = family.log_likelihood(index, episode).sum()
    others = [family.log_likelihood(int(i), episode).sum() for i in demonstrators(family, index, 9, seed=0)[1:]]
    assert np.isfinite(own)
    assert own > max(others)


def test_variants_change_skill_or_the_ranges_and_nothing_else() -> None:
    index = 2_000_003
    plain, skilled, beyond = (family.manner(index) for family in (reach_manners(), reach_skilled(), reach_beyond()))
    assert replace(plain, skill=1.0) == skilled
    assert replace(plain, speed=beyond.speed, curvature=beyond.curvature) == beyond
    assert beyond.speed < RANGES["speed"][0]
    assert abs(beyond.curvature) > RANGES["curvature"][1]


def test_the_goal_that_was_reached_is_seen_in_the_last_observation() -> None:
    family = reach_manners()
    episodes = demonstrate(family, [2_000_000, 2_000_001, 2_000_002], [0, 1, 2], "trial").episodes
    assert [family.goal_of(e) for e in episodes if e.success] == [i for i, e in enumerate(episodes) if e.success]
