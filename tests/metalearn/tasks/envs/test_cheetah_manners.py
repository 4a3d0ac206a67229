"""Cheetahs of every gait run, and their gaits are seen in how they run."""

import numpy as np

from metalearn.tasks.envs.cheetah_manners import RANGES, CheetahManners, gait_torques
from metalearn.tasks.rollout import demonstrate

TASKS = [2_000_000 + i for i in range(16)]


def test_demonstrators_run_and_are_nearest_to_themselves() -> None:
    family = CheetahManners()
    first, second = (demonstrate(family, TASKS, [s + i for i in TASKS], "trial") for s in (0, 50))
    assert first.success.mean() > 0.7
    one, other = (
        np.stack([family.statistics([e], i) for e, i in zip(run.episodes, TASKS, strict=True)])
        for run in (first, second)
    )
    apart = np.sqrt(np.square((one[:, None] - other[None]) / one.std(0)).mean(-1))
    assert (apart.argmin(1) == np.arange(len(TASKS))).mean() > 0.5
    assert all(len(episode) == family.spec.horizon for episode in first.episodes)


def test_effort_and_limbs_change_the_torques_as_they_say() -> None:
    seen = np.zeros((1, 17), np.float32)
    plain = gait_torques(np.array([[2.0, 1.0, 0.0, 0.0, 0.0, 1.0]]), seen)
    weak = gait_torques(np.array([[2.0, 0.8, 0.0, 0.0, 0.0, 1.0]]), seen)
    front = gait_torques(np.array([[2.0, 1.0, 0.2, 0.0, 0.0, 1.0]]), seen)
    inside = np.abs(plain) < 0.8
    np.testing.assert_allclose(weak[inside], 0.8 * plain[inside], rtol=1e-5)
    assert (np.abs(front[0, 3:]) >= np.abs(plain[0, 3:])).all()
    assert (np.abs(front[0, :3]) <= np.abs(plain[0, :3])).all()


def test_test_tasks_have_combinations_of_gaits_that_training_tasks_have_not() -> None:
    family = CheetahManners()

    def halves(index: int) -> int:
        gait = family.manner(index)
        return sum(getattr(gait, name) > (low + high) / 2 for name, (low, high) in RANGES.items())

    assert {halves(i) % 2 for i in range(200)} == {0}
    assert {halves(1_000_000 + i) % 2 for i in range(200)} == {1}
    assert family.sibling(2_000_000, np.random.default_rng(0)) in family.splits["test"]
