"""Manners: what demonstrators differ in, that it is seen in their paths, and that test combinations are new."""

from dataclasses import replace

import numpy as np
import pytest

from metalearn.benchmark.manners import distance, statistics
from metalearn.tasks.envs.reach_manners import RANGES, Manner, ReachManners, demonstrators, reach_manners, reach_plain
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
    return statistics(episodes, 0)


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
