import numpy as np
import pytest

from metalearn.tasks.envs.metaworld.push_and_pick import Push
from metalearn.tasks.envs.metaworld.push_blind import GROUP, PushBlind, PushBlindDense, PushBlindStrict
from metalearn.tasks.family import SPLITS, AimedFamily, Family, tasks_of
from metalearn.tasks.registry import find_family
from metalearn.tasks.rollout import demonstrate, episode_seeds

EVERY_FAMILY = [PushBlind(), PushBlindStrict(), PushBlindDense()]


@pytest.mark.parametrize("family", EVERY_FAMILY, ids=lambda family: family.name)
def test_families_are_known_by_name(family):
    assert isinstance(family, Family)
    assert find_family(family.name) == family


def test_the_hidden_goal_is_the_one_of_push():
    np.testing.assert_array_equal(PushBlind().goal(17), Push().goal(17))


def test_tasks_of_one_group_are_demonstrated_alike_and_split_by_no_boundary():
    indices = [20, 24, 29]
    first, *others = demonstrate(PushBlind(), indices, [5] * 3, "demo").episodes
    assert all(other == first for other in others)
    assert len({tuple(PushBlind().goal(index)) for index in indices}) == 3
    assert all(split.start % GROUP == 0 for split in SPLITS.values())


def test_the_demonstration_ends_at_the_goal_shown_not_at_the_hidden_one():
    indices = tasks_of(PushBlind(), "train", 20, seed=0)
    shown = demonstrate(PushBlind(), indices, episode_seeds(indices, 0, 0), "demo").episodes
    ends = np.array([episode.observations[-1, 4:6] for episode in shown])
    told = np.array([PushBlind().shown_goal(index)[:2] for index in indices])
    assert np.linalg.norm(ends - told, axis=1).max() < PushBlindStrict().radius


def test_the_goal_shown_says_nothing_about_the_hidden_one():
    n = 4000
    indices = [GROUP * i for i in range(n)]
    hidden = np.array([PushBlind().goal(index)[:2] for index in indices])
    shown = np.array([PushBlind().shown_goal(index)[:2] for index in indices])
    correlations = np.corrcoef(np.hstack((hidden, shown)).T)[:2, 2:]
    assert np.abs(correlations).max() < 4 / np.sqrt(n)
    np.testing.assert_allclose(shown.min(0), hidden.min(0), atol=0.001)
    np.testing.assert_allclose(shown.max(0), hidden.max(0), atol=0.001)


def test_siblings_are_the_other_tasks_of_the_group_equally_often():
    rng = np.random.default_rng(0)
    drawn = [PushBlind().sibling(34, rng) for _ in range(900)]
    assert set(drawn) == set(range(30, 40)) - {34}
    assert np.bincount(drawn, minlength=40)[30:].max() < 150


def test_a_failed_attempt_runs_to_the_horizon_and_scores_nothing():
    env = PushBlind().make_vec([3])
    env.reset(seed=[0])
    total, steps, ended = 0.0, 0, False
    while not ended:
        _, rewards, terminated, truncated, infos = env.step(np.zeros((1, 4), np.float32))
        total, steps, ended = total + rewards[0], steps + 1, bool(terminated[0] or truncated[0])
    env.close()
    assert (total, steps, bool(infos["success"][0])) == (0.0, PushBlind().spec.horizon, False)


def test_the_dense_reward_is_the_distance_that_is_left():
    family, index = PushBlindDense(), 8
    (episode,) = demonstrate(family, [index], [1], "trial").episodes
    distances = np.linalg.norm(episode.observations[1:, 4:7] - family.goal(index), axis=1)
    np.testing.assert_allclose(episode.rewards, -distances, atol=1e-6)
    assert -episode.rewards[-1] <= family.radius < -episode.rewards[-2]
    assert episode.success


def test_an_expert_can_be_sent_to_fixed_places_without_knowing_the_goal():
    family = PushBlind()
    assert isinstance(family, AimedFamily) and not isinstance(Push(), AimedFamily)
    np.testing.assert_allclose([family.aim(0)[:2], family.aim(1)[:2]], [[-0.05, 0.85], [0.05, 0.85]])
    env = family.make_vec([20, 24])
    try:
        observations, _ = env.reset(seed=[1, 1])
        env.goals[:] = 9.0  # nowhere near
        for _ in range(90):
            observations, *_ = env.step(env.aimed_actions(np.array([1, 0])))
        aims = np.array([family.aim(1), family.aim(0)])[:, :2]
        assert np.linalg.norm(observations[:, 4:6] - aims, axis=1).max() < family.radius
    finally:
        env.close()
