import pickle
import runpy
import warnings
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from fastapi.testclient import TestClient
from gymnasium.utils.env_checker import check_env

from metalearn.adapter import Belief
from metalearn.bundle import Bundle
from metalearn.data.errors import InvalidConfig
from metalearn.tasks.envs.metaworld.push_and_pick import PickPlace, PickPlaceStrict, Push, PushStrict
from metalearn.tasks.envs.metaworld.vector_env import EXTRA_DEMO_STEPS
from metalearn.tasks.family import Family, SerialVectorEnv, VectorFamily, make_vec, tasks_of
from metalearn.tasks.registry import find_family, register_envs
from metalearn.tasks.rollout import demonstrate, episode_seeds
from service.app import create_app
from service.client import Client
from service.settings import Settings

FAMILIES = [Push(), PickPlace()]
EVERY_FAMILY = [*FAMILIES, PushStrict(), PickPlaceStrict()]
# Puck places that Meta-World's own reset accepts with every goal: at least 0.15 away.
LEGAL_SEEDS = [seed for seed in range(20) if np.random.default_rng(seed).uniform([-0.1, 0.6], [0.1, 0.7])[1] < 0.65]


def named(family):
    return family.name


def real_meta_world(family, goal, puck_xy):
    """Meta-World's own environment in the same task."""
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    env = ALL_V3_ENVIRONMENTS[family.task]()
    env._set_task_called = True
    env._last_rand_vec = np.array([*puck_xy, 0.02, *goal])
    return env


@pytest.mark.parametrize("family", FAMILIES, ids=named)
def test_an_episode_is_what_meta_world_would_have_made_of_it(family):
    index, seed = 5, LEGAL_SEEDS[0]
    ours = family.make(index)
    observation, _ = ours.reset(seed=seed)
    theirs = real_meta_world(family, family.goal(index), observation[4:6].astype(float))
    theirs._last_rand_vec[:2] = np.random.default_rng(seed).uniform([-0.1, 0.6], [0.1, 0.7])
    expected, _ = theirs.reset()
    np.testing.assert_array_equal(observation, expected.astype(np.float32))
    terminated = False
    rng = np.random.default_rng(0)
    while not terminated:
        action = np.clip(ours.unwrapped.expert_action() + rng.normal(0, 0.1, 4), -1, 1).astype(np.float32)
        observation, reward, terminated, truncated, info = ours.step(action)
        expected, _, _, _, expected_info = theirs.step(action)
        np.testing.assert_allclose(observation, expected.astype(np.float32), rtol=0, atol=1e-7)
        assert info["success"] == bool(expected_info["success"])
        assert not truncated
    assert reward == 1.0


@pytest.mark.parametrize("family", FAMILIES, ids=named)
def test_the_goal_cannot_be_told_from_observations(family):
    indices = tasks_of(family, "train", 6, seed=0)
    env = make_vec(family, indices)
    observations, _ = env.reset(seed=[7] * len(indices))
    solved = np.zeros(len(indices), bool)
    for _ in range(45):
        assert (observations[~solved] == observations[~solved][0]).all()
        actions = np.repeat(env.expert_actions()[:1], len(indices), axis=0)
        observations, _, terminated, _, _ = env.step(actions)
        solved |= terminated
    assert (observations[:, -3:] == 0).all()
    assert len({tuple(goal) for goal in env.goals}) == len(indices)
    assert (~solved).sum() >= 2
    env.close()


@pytest.mark.parametrize("family", EVERY_FAMILY, ids=named)
def test_the_expert_solves_its_tasks(family):
    indices = tasks_of(family, "validation", 20, seed=1)
    run = demonstrate(family, indices, episode_seeds(indices, 0, 0), "trial", noise=0.1)
    assert run.success.mean() >= 0.85
    for episode in run.episodes:
        family.spec.check(episode)
        assert episode.rewards.sum() == episode.success
        assert not episode.success or episode.rewards[-1] == 1


def test_a_demonstration_goes_on_after_the_task_is_solved():
    run = demonstrate(Push(), [3], [0], "demo")
    (episode,) = run.episodes
    assert episode.success
    assert episode.rewards[-1 - EXTRA_DEMO_STEPS] == 1
    assert episode.rewards.sum() == 1
    goal = Push().goal(3)
    assert np.linalg.norm(episode.observations[-1, 4:7] - goal) < PushStrict().radius


@pytest.mark.parametrize("family", FAMILIES, ids=named)
def test_an_episode_is_decided_by_task_seed_and_actions(family):
    first, second, other = (
        demonstrate(family, [11, 12], seeds, "trial").episodes for seeds in ([1, 2], [1, 2], [3, 4])
    )
    assert first == second
    assert first[0] != other[0]
    assert first[0].observations[0, 4] != first[1].observations[0, 4]


def test_rows_and_single_environments_agree():
    indices, seeds = [1, 2, 3], [10, 11, 12]
    rows, singles = make_vec(Push(), indices), SerialVectorEnv(Push(), indices)
    assert type(rows) is not SerialVectorEnv
    a, _ = rows.reset(seed=seeds)
    b, _ = singles.reset(seed=seeds)
    for _ in range(30):
        np.testing.assert_array_equal(a, b)
        actions = rows.expert_actions()
        np.testing.assert_array_equal(actions, singles.expert_actions())
        a, *_ = rows.step(actions)
        b, *_ = singles.step(actions)
    rows.close()
    singles.close()


def test_a_pooled_simulation_remembers_nothing():
    before = demonstrate(Push(), [21], [5], "trial").episodes[0]
    demonstrate(Push(), range(4), range(4), "trial", noise=1.0)
    assert demonstrate(Push(), [21], [5], "trial").episodes[0] == before


def test_a_row_that_has_ended_stands_still():
    env = make_vec(Push(radius=10.0), [0])
    env.reset(seed=[0])
    last, reward, terminated, _, infos = env.step(np.ones((1, 4), np.float32))
    assert reward[0] == 1
    assert terminated[0]
    again, reward, terminated, _, infos = env.step(np.ones((1, 4), np.float32))
    np.testing.assert_array_equal(last, again)
    assert reward[0] == 0
    assert terminated[0]
    assert infos["success"][0]
    env.close()


def test_the_strict_versions_are_the_same_tasks_with_half_the_radius():
    for family, strict in ((Push(), PushStrict()), (PickPlace(), PickPlaceStrict())):
        assert strict.radius == family.radius / 2
        np.testing.assert_array_equal(strict.goal(9), family.goal(9))
        assert strict.spec == family.spec


def test_success_ends_at_the_radius():
    stopped_at = {}
    for family in (Push(), PushStrict()):
        env = family.make(8)
        observation, _ = env.reset(seed=0)
        terminated = False
        while not terminated:
            observation, _, terminated, truncated, _ = env.step(env.expert_action())
            assert not truncated
        stopped_at[family.name] = np.linalg.norm(observation[4:7] - family.goal(8))
        env.close()
    assert 0.025 < stopped_at["push"] <= 0.05
    assert stopped_at["push-strict"] <= 0.025


@pytest.mark.parametrize("family", FAMILIES, ids=named)
def test_goals_of_the_splits_are_apart_and_fill_the_goal_space(family):
    goals = {
        split: [tuple(family.goal(i)) for i in tasks_of(family, split, 200, seed=0)]
        for split in ("train", "validation", "test")
    }
    flat = [goal for of_split in goals.values() for goal in of_split]
    assert len(set(flat)) == len(flat)
    low, high = np.min(flat, 0), np.max(flat, 0)
    np.testing.assert_allclose(low[:2], [-0.1, 0.8], atol=0.005)
    np.testing.assert_allclose(high[:2], [0.1, 0.9], atol=0.005)


def test_a_negative_index_is_refused():
    with pytest.raises(InvalidConfig, match="index"):
        Push().make(-1)


@pytest.mark.parametrize("family", EVERY_FAMILY, ids=named)
def test_families_are_known_by_name_and_can_be_sent_to_other_processes(family):
    assert isinstance(family, Family)
    assert isinstance(family, VectorFamily)
    assert find_family(family.name) == family
    assert pickle.loads(pickle.dumps(family)) == family


@pytest.mark.parametrize("family", EVERY_FAMILY, ids=named)
def test_gymnasium_accepts_the_registered_environment(family, monkeypatch):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    register_envs()
    env = gym.make(f"wtl/{family.name}-v0", index=1, render_mode="rgb_array")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(infinity|values are equal).*")
        check_env(env.unwrapped)
    env.close()


def test_a_picture_needs_no_opengl_and_shows_what_happens(monkeypatch):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    env = Push().make(0, render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    env.step(np.ones(4, np.float32))
    after = env.render()
    assert before.dtype == np.uint8
    assert before.ndim == 3
    assert (before != after).any()
    env.close()


class GoalOfTheDemo:
    """A served model that takes the goal from where the demonstrated puck ended, and asks the expert."""

    def __init__(self, bundle):
        pass

    def infer_belief(self, contexts):
        goals = [context.demos[-1].observations[-1, 4:7] for context in contexts]
        return [Belief(goal, np.ones(1, np.float32)) for goal in goals]

    adapts_online = False

    def conditioning(self, belief, hypothesis):
        return belief.latent

    def update(self, conditioning, observations, actions):
        return conditioning

    def act(self, conditionings, observations):
        seen = np.hstack((observations[:, :-3], conditionings)).astype(np.float64)
        return np.clip([Push().expert(row) for row in seen], -1, 1).astype(np.float32)


@pytest.mark.filterwarnings("ignore:Constant:UserWarning")
def test_the_example_client_demonstrates_and_adapts_over_http(tmp_path):
    example = runpy.run_path(str(Path(__file__).parents[4] / "examples" / "metaworld_client.py"))
    world = example["World"](seed=0)
    demo = example["demonstrate"](world)
    Push().spec.check(demo)
    assert demo.success
    assert demo.rewards.sum() == demo.rewards[-1 - EXTRA_DEMO_STEPS] == 1
    assert (demo.observations[:, -3:] == 0).all()

    Bundle("push", Push().spec, {}, {"none": np.zeros(1, np.float32)}).save(tmp_path / "models" / "push")
    settings = Settings(data=tmp_path / "data", models=tmp_path / "models")
    with TestClient(create_app(settings, runtime_factory=GoalOfTheDemo)) as http:
        adaptation = Client(http=http).adapt("push", demos=[demo])
        adaptation, success = example["attempt"](world, adaptation)
        assert success
        assert (adaptation.n_demos, adaptation.n_trials) == (1, 1)
