"""Walkers of a grid: probabilities that add up, manners that are seen in the statistics, and test combinations."""

from dataclasses import astuple, dataclass, field, replace

import numpy as np
import pytest

from metalearn.benchmark.manners import demonstrators
from metalearn.tasks.envs.grid import MOVES, SIDE
from metalearn.tasks.envs.grid_manners import N_FLAGS, RANGES, GridManners, Walk, step_probabilities
from metalearn.tasks.rollout import demonstrate


@dataclass(frozen=True)
class As(GridManners):
    """Everybody walks alike."""

    who: Walk = field(default_factory=Walk)

    def manner(self, index: int) -> Walk:
        return self.who


def statistics(**manner: float) -> np.ndarray:
    family = As(who=replace(Walk(), **manner))
    indices = list(range(0, 80, N_FLAGS))
    return family.statistics(demonstrate(family, indices, indices, "demo").episodes, 0)


def test_probabilities_add_up_wherever_the_walker_and_the_flag_are() -> None:
    cells = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), -1).reshape(-1, 2)
    flags = cells[np.random.default_rng(0).permutation(len(cells))]
    walker = np.tile(astuple(Walk(0.3, 0.5, 0.6, -0.4, 0.7)), (len(cells), 1))
    p = step_probabilities(walker, cells, flags - cells)
    np.testing.assert_allclose(p.sum(-1), 1)
    assert p.min() > 0


def test_a_step_where_one_way_is_due_is_taken_by_an_expert_and_at_random_without_skill() -> None:
    one, east = np.zeros((1, 2), np.int64) + 4, np.array([[3, 0]])
    due = step_probabilities(np.array([astuple(Walk())]), one, east)
    assert MOVES[due.argmax()].tolist() == [1, 0]
    assert due.max() == pytest.approx(1)
    np.testing.assert_allclose(step_probabilities(np.array([astuple(Walk(skill=0.0))]), one, east), 0.2)


@pytest.mark.parametrize(
    ("manner", "number", "sign"),
    [
        ({"horizontal": 0.9}, 0, 1), ({"horizontal": 0.1}, 0, -1), ({"wall": 0.6}, 1, 1), ({"hesitation": 0.7}, 2, 1),
        ({"detour": 0.4}, 4, 1), ({"detour": -0.4}, 4, -1), ({"skill": 0.4}, 5, 1),
    ],
)  # fmt: skip
def test_each_manner_is_seen_in_the_steps(manner: dict[str, float], number: int, sign: int) -> None:
    changed = statistics(**manner)[number] - statistics()[number]
    assert np.sign(changed) == sign
    assert abs(changed) > 0.05


def test_test_tasks_have_combinations_of_manners_that_training_tasks_have_not() -> None:
    family = GridManners()

    def halves(index: int) -> int:
        walk = family.manner(index)
        return sum(getattr(walk, name) > (low + high) / 2 for name, (low, high) in RANGES.items())

    assert {halves(i) % 2 for i in range(300)} == {0}
    assert {halves(2_000_000 + i) % 2 for i in range(300)} == {1}


def test_demonstrators_mostly_arrive_and_are_likeliest_to_have_done_what_they_did() -> None:
    family = GridManners()
    indices = [2_000_000 + i for i in range(200)]
    run = demonstrate(family, indices, indices, "trial")
    assert run.success.mean() > 0.7
    assert {family.goal_of(e) == i % N_FLAGS for e, i in zip(run.episodes, indices, strict=True) if e.success} == {True}
    right = [
        int(np.argmax([family.log_likelihood(int(j), e).sum() for j in demonstrators(family, i, 5, seed=0)]) == 0)
        for e, i in zip(run.episodes, indices, strict=True)
    ]
    assert np.mean(right) > 0.6
