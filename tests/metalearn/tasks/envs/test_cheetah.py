import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from metalearn.data.errors import InvalidConfig
from metalearn.tasks.envs.cheetah import HORIZON, SETTLED_STEPS, TOP_SPEED, CheetahVel
from metalearn.tasks.family import SPLITS, make_vec, tasks_of
from metalearn.tasks.registry import find_family, register_envs
from metalearn.tasks.rollout import demonstrate, episode_seeds

FAMILY = CheetahVel()


def wild_actions(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (HORIZON, n, 6)).astype(np.float32)


def test_it_is_a_gymnasium_environment():
    register_envs()
    check_env(gym.make("wtl/cheetah-vel-v0", index=5).unwrapped, skip_render_check=True)


def test_every_row_runs_to_the_same_bits_as_the_environment_of_gymnasium():
    env, theirs = make_vec(FAMILY, [3, 4]), gym.make("HalfCheetah-v5").unwrapped
    theirs.reset(seed=99)
    env.reset(seed=[1, 99])
    for actions in wild_actions(2):
        env.step(actions)
        observation, *_, info = theirs.step(actions[1])
        state = env.cheetahs.states[1]
        assert state[0] == info["x_position"] and (state[1:] == observation).all()


def test_the_reward_is_that_of_varibad():
    env = make_vec(FAMILY, [7])
    env.reset(seed=[0])
    for actions in wild_actions(1)[:20]:
        before = env.cheetahs.states[0, 0]
        reward = env.step(actions)[1][0]
        speed = (env.cheetahs.states[0, 0] - before) / 0.05
        assert reward == pytest.approx(-abs(speed - FAMILY.target(7)) - 0.05 * (actions**2).sum(), rel=1e-5)


def test_actions_beyond_the_limits_count_as_the_limits():
    env, other = make_vec(FAMILY, [7]), make_vec(FAMILY, [7])
    for one in (env, other):
        one.reset(seed=[0])
    actions = 3 * wild_actions(1)[0]
    np.testing.assert_array_equal(env.step(actions)[1], other.step(np.clip(actions, -1, 1))[1])


def test_an_observation_does_not_tell_the_target():
    tasks = [1, 2, 3]
    assert len({FAMILY.target(task) for task in tasks}) == len(tasks)
    env = make_vec(FAMILY, tasks)
    observations, _ = env.reset(seed=[5, 5, 5])
    assert (observations == observations[0]).all()


def test_targets_cover_the_range_evenly_in_every_split():
    for indices in SPLITS.values():
        targets = [FAMILY.target(index) for index in indices[:1000]]
        counts, _ = np.histogram(targets, 5, (0, TOP_SPEED))
        assert counts.sum() == 1000 and counts.min() > 150


def test_a_negative_task_is_refused():
    with pytest.raises(InvalidConfig, match="at least 0, got -1"):
        FAMILY.target(-1)


def test_an_episode_lasts_for_the_horizon_and_success_is_told_at_its_end():
    slow = next(index for index in range(100) if FAMILY.target(index) < 0.05)
    env = make_vec(FAMILY, [slow, next(index for index in range(100) if FAMILY.target(index) > 2)])
    env.reset(seed=[0, 0])
    for step in range(HORIZON):
        _, _, terminated, truncated, infos = env.step(np.zeros((2, 6), np.float32))
        assert not terminated.any()
        assert truncated.all() == (step == HORIZON - 1)
        assert infos["success"][0] == (step == HORIZON - 1) and not infos["success"][1]


def test_steps_after_the_end_change_nothing():
    env = make_vec(FAMILY, [0])
    env.reset(seed=[0])
    for actions in wild_actions(1):
        last, *_ = env.step(actions)
    observations, rewards, _, truncated, _ = env.step(wild_actions(1)[0])
    assert (observations == last).all() and rewards[0] == 0 and truncated.all()


def test_simulations_that_were_used_before_start_like_new_ones():
    first, *_ = make_vec(FAMILY, [0]).reset(seed=[8])
    env = make_vec(FAMILY, [0])
    env.reset(seed=[1])
    for actions in wild_actions(1)[:50]:
        env.step(actions)
    env.close()
    again = make_vec(FAMILY, [0])
    assert (again.reset(seed=[8])[0] == first).all()
    used, fresh = again, CheetahVel().make_vec([0])
    fresh.reset(seed=[8])
    for actions in wild_actions(1)[:50]:
        assert (used.step(actions)[0] == fresh.step(actions)[0]).all()


def test_one_task_and_its_row_are_the_same_episode():
    env, row = FAMILY.make(11), make_vec(FAMILY, [11])
    alone, together = env.reset(seed=3)[0], row.reset(seed=[3])[0][0]
    for actions in wild_actions(1)[:30]:
        assert (alone == together).all()
        np.testing.assert_array_equal(env.expert_action(), row.expert_actions()[0])
        alone, together = env.step(actions[0])[0], row.step(actions)[0][0]


def test_the_expert_runs_at_the_speed_that_the_task_wants():
    tasks = tasks_of(FAMILY, "test", 24, 0)
    run = demonstrate(find_family("cheetah-vel"), tasks, episode_seeds(tasks, 0, 0), "demo")
    speeds = [episode.observations[-SETTLED_STEPS:, 8].mean() for episode in run.episodes]
    targets = [FAMILY.target(task) for task in tasks]
    assert np.corrcoef(speeds, targets)[0, 1] > 0.99
    assert run.success.mean() >= 0.9
    assert np.mean([episode.rewards.sum() for episode in run.episodes]) > -40
