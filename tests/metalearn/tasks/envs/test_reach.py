import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from metalearn.tasks.envs.reach import COLOUR_DISTANCE, TOUCH_RADIUS, Reach, _cell
from metalearn.tasks.family import SerialVectorEnv, make_vec, tasks_of
from metalearn.tasks.registry import find_family, register_envs
from metalearn.tasks.rollout import RandomActor, demonstrate, episode_seeds, rollout

NAMES = ("reach-m2", "reach-m4", "reach-colour", "reach-pixels")


def family(name: str) -> Reach:
    found = find_family(name)
    assert isinstance(found, Reach)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_gymnasium_environment_with_a_picture(name: str):
    register_envs()
    env = gym.make(f"wtl/{name}-v0", index=5, render_mode="rgb_array")
    check_env(env.unwrapped)
    env.reset(seed=0)
    assert len(np.unique(np.asarray(env.render()).reshape(-1, 3), axis=0)) > 4


@pytest.mark.parametrize("name", NAMES)
def test_the_expert_solves_every_task_in_both_scenes_and_chance_does_not(name: str):
    tasks = tasks_of(family(name), "test", 200, 0)
    seeds = episode_seeds(tasks, 0, 0)
    assert demonstrate(family(name), tasks, seeds, "trial").success.all()
    assert demonstrate(family(name), tasks, seeds, "demo").success.all()
    env = make_vec(family(name), tasks)
    assert rollout(env, RandomActor(env, 0), seeds).success.mean() < 0.1


@pytest.mark.parametrize("name", NAMES)
def test_rows_of_the_vector_version_are_the_environments_one_by_one(name: str):
    tasks = tasks_of(family(name), "test", 8, 0)
    seeds = episode_seeds(tasks, 0, 0)
    for together, one_by_one in [(make_vec(family(name), tasks), SerialVectorEnv(family(name), tasks))]:
        a, b = (rollout(env, RandomActor(env, 3), seeds, relabel=True) for env in (together, one_by_one))
        assert a.episodes == b.episodes
        np.testing.assert_allclose(np.concatenate(a.expert_actions), np.concatenate(b.expert_actions), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_demonstration_says_nothing_of_which_candidate_is_the_target(name: str):
    m = family(name).n_candidates
    for group in range(5):
        siblings = range(group * m, group * m + m)
        shown = demonstrate(family(name), list(siblings), [7] * m, "demo").episodes
        assert len(set(shown)) == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_trial_starts_alike_whatever_the_target(name: str):
    m = family(name).n_candidates
    env = make_vec(family(name), list(range(m)))
    observations = env.task_spec.as_array(env.reset(seed=[7] * m)[0])
    assert (observations == observations[0]).all()


def test_the_first_object_touched_ends_the_episode():
    env = make_vec(family("reach-m2"), [0, 1])  # same candidates, other target
    env.reset(seed=[3, 3])
    actions = np.repeat(env.expert_actions()[:1], 2, 0)
    for _ in range(30):
        _, rewards, terminated, _, infos = env.step(actions)
        if terminated.any():
            break
    assert terminated.all()
    assert infos["success"].tolist() == [True, False]
    assert rewards.tolist() == [1.0, 0.0]
    _, rewards, _, _, _ = env.step(actions)
    assert rewards.tolist() == [0.0, 0.0]


def test_objects_of_a_trial_are_far_apart_and_none_is_in_the_way():
    tasks = tasks_of(family("reach-m4"), "train", 200, 0)
    env = make_vec(family("reach-m4"), tasks)
    env.reset(seed=episode_seeds(tasks, 0, 0))
    gaps = np.linalg.norm(env.objects[:, :, None] - env.objects[:, None], axis=-1) + 9 * np.eye(6)
    assert gaps.min() > 2 * TOUCH_RADIUS
    to_target = env.goal - env.positions
    along = np.einsum("bno,bo->bn", env.objects - env.positions[:, None], to_target) / (to_target**2).sum(-1)[:, None]
    nearest = env.positions[:, None] + np.clip(along, 0, 1)[..., None] * to_target[:, None]
    clearance = np.linalg.norm(env.objects - nearest, axis=-1)
    clearance[np.arange(200), env.target] = 9
    assert clearance.min() > TOUCH_RADIUS


def test_test_colours_come_from_cells_that_training_never_sees():
    colour = family("reach-colour")
    for split, parity in (("train", 0), ("validation", 1), ("test", 1)):
        tasks = tasks_of(colour, split, 50, 0)
        env = make_vec(colour, tasks)
        env.reset(seed=episode_seeds(tasks, 0, 0))
        assert {int(_cell(c).sum() % 2) for row in env.colours for c in row} == {parity}
        gaps = np.linalg.norm(env.colours[:, :, None] - env.colours[:, None], axis=-1) + 9 * np.eye(4)
        assert gaps.min() >= COLOUR_DISTANCE - 1e-5


def test_the_bound_is_that_of_a_player_who_tries_candidates_in_turn():
    rng = np.random.default_rng(0)
    for m in (2, 4):
        targets = rng.integers(m, size=20_000)
        for t in range(m):
            simulated = (targets <= t).mean()
            assert family(f"reach-m{m}").bayes_success(t) == pytest.approx(simulated, abs=0.02)


def test_a_sibling_has_the_same_candidates_and_any_target():
    rng = np.random.default_rng(0)
    siblings = {family("reach-m4").sibling(4 * 17 + 2, rng) for _ in range(60)}
    assert siblings == {68, 69, 70, 71}
    wanted = [family("reach-m4").candidates(i) for i in siblings]
    assert len({tuple(candidates) for candidates, _ in wanted}) == 1


@pytest.mark.parametrize(("name", "n_sets", "n_new"), [("reach-m2-unseen", 6, 2), ("reach-m4-unseen", 15, 5)])
def test_sets_of_candidates_in_test_tasks_never_occur_in_training(name: str, n_sets: int, n_new: int):
    def sets(split: str) -> set[frozenset[int]]:
        return {frozenset(map(int, family(name).candidates(i)[0])) for i in tasks_of(family(name), split, 400, seed=0)}

    seen, new = sets("train") | sets("validation"), sets("test")
    assert (len(seen), len(new)) == (n_sets - n_new, n_new)
    assert not seen & new
    assert set().union(*seen) == set().union(*new)  # every object is a candidate in both
