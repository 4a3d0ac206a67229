import pickle

import numpy as np
import pytest

from metalearn.data.errors import InvalidConfig
from metalearn.tasks.envs.metaworld.ml10 import ML10, SPLITS, TEST, TOO_CLOSE, TRAIN, ML10Frozen
from metalearn.tasks.envs.metaworld.scenes import TASK_TYPES, SceneArms, load_scene_model
from metalearn.tasks.envs.metaworld.vector_env import EXTRA_DEMO_STEPS
from metalearn.tasks.family import Family, SerialVectorEnv, VectorFamily, make_vec, tasks_of
from metalearn.tasks.registry import find_family
from metalearn.tasks.rollout import demonstrate, episode_seeds

ROW = np.array([0])


def index_of(task):
    split, types = ("test", TEST) if task in TEST else ("train", TRAIN)
    return SPLITS[split].start + types.index(task)


def meta_world(task, rand_vec):
    """Meta-World's own environment, started in the same place."""
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    env = ALL_V3_ENVIRONMENTS[task]()
    env._set_task_called = True
    env._last_rand_vec = rand_vec
    return env, env.reset()[0]


def test_the_split_is_meta_worlds():
    from metaworld.env_dict import ML10_V3

    assert set(TRAIN) == set(ML10_V3["train"])
    assert set(TEST) == set(ML10_V3["test"])
    assert set(TASK_TYPES) == {*TRAIN, *TEST}


@pytest.mark.slow
@pytest.mark.parametrize("task", [*TRAIN, *TEST])
def test_an_episode_is_what_meta_world_would_have_made_of_it(task):
    family, index, rng = ML10(), index_of(task), np.random.default_rng(0)
    scene = load_scene_model(task)
    arms = SceneArms([scene])
    arms.reset(0, family.rand_vec(index + 500, rng))  # nothing may stay of an episode elsewhere
    vector = family.rand_vec(index, rng)
    arms.reset(0, vector)
    theirs, expected = meta_world(task, vector)
    np.testing.assert_allclose(arms.goals[0], theirs._target_pos, atol=1e-9)
    solved = False
    for step in range(120):
        ours = np.hstack((arms.frames[0], arms.previous[0]))
        # Contacts make a hundredth of a rounding error within thirty steps, whoever computes them.
        np.testing.assert_allclose(ours, expected[:36], atol=1e-4 if step < 20 else 3e-2)
        action = scene.policy.get_action(np.hstack((ours, arms.goals[0]))) + rng.normal(0, 0.1, 4)
        action = np.clip(action, -1, 1).astype(np.float32)
        arms.step(ROW, action[None])
        expected, _, _, _, info = theirs.step(action)
        solved = bool(arms.solved(ROW)[0])
        assert solved == bool(info["success"])
        if solved:
            break
    assert solved or task == "peg-insert-side-v3"


@pytest.mark.parametrize("family", [ML10(), ML10Frozen()], ids=lambda family: family.name)
def test_families_are_known_by_name_and_can_be_sent_to_other_processes(family):
    assert isinstance(family, Family)
    assert isinstance(family, VectorFamily)
    assert find_family(family.name) == family
    assert pickle.loads(pickle.dumps(family)) == family


def test_no_type_is_in_two_of_training_and_test():
    family = ML10()
    types = {split: {family.task_type(index) for index in indices[:100]} for split, indices in SPLITS.items()}
    assert types["train"] == types["validation"] == set(TRAIN)
    assert types["test"] == set(TEST)


def test_all_test_tasks_are_as_many_of_each_type():
    family = ML10()
    drawn = [family.task_type(index) for index in tasks_of(family, "test", 250, seed=3)]
    assert {task: drawn.count(task) for task in TEST} == dict.fromkeys(TEST, 50)


def test_a_negative_index_is_refused():
    with pytest.raises(InvalidConfig, match="index"):
        ML10().make(-1)


@pytest.mark.parametrize("task", ["reach-v3", "shelf-place-v3"])
def test_a_task_keeps_its_goal_and_its_episodes_have_objects_elsewhere(task):
    index = index_of(task)
    first, second = (ML10().rand_vec(index, np.random.default_rng(seed)) for seed in (1, 2))
    np.testing.assert_array_equal(first[3:], second[3:])
    assert (first[:2] != second[:2]).all()
    other = ML10().rand_vec(index + 5 * len(TRAIN), np.random.default_rng(1))
    assert (first[3:5] != other[3:5]).all()


def test_frozen_tasks_keep_everything():
    first, second = (ML10Frozen().rand_vec(3, np.random.default_rng(seed)) for seed in (1, 2))
    np.testing.assert_array_equal(first, second)


def test_a_start_that_meta_world_would_draw_again_for_ever_is_not_drawn():
    vectors = [ML10().rand_vec(index_of("push-v3"), np.random.default_rng(seed)) for seed in range(200)]
    assert min(np.linalg.norm(vector[:2] - vector[3:5]) for vector in vectors) >= TOO_CLOSE


@pytest.mark.slow
def test_the_experts_solve_their_tasks():
    indices = [*range(10), *SPLITS["test"][:5]] * 2
    run = demonstrate(ML10(), indices, [*range(len(indices))], "trial")
    assert run.success.mean() >= 0.9
    for episode in run.episodes:
        ML10().spec.check(episode)
        assert episode.rewards.sum() == episode.success
        assert (episode.observations[:, -3:] == 0).all()


def test_a_demonstration_goes_on_after_the_task_is_solved():
    (episode,) = demonstrate(ML10(), [index_of("drawer-open-v3")], [0], "demo").episodes
    assert episode.success
    assert episode.rewards[-1 - EXTRA_DEMO_STEPS] == episode.rewards.sum() == 1


def test_rows_of_different_types_go_their_own_way():
    indices = [index_of("door-open-v3"), index_of("door-open-v3") + 10, index_of("window-open-v3")]
    seeds = episode_seeds(indices, 0, 0)
    rows, singles = make_vec(ML10(), indices), SerialVectorEnv(ML10(), indices)
    a, _ = rows.reset(seed=seeds)
    b, _ = singles.reset(seed=seeds)
    for _ in range(70):  # beyond the first touch of the door
        np.testing.assert_array_equal(a, b)
        actions = rows.expert_actions()
        a, *_ = rows.step(actions)
        b, *_ = singles.step(actions)
    rows.close()
    singles.close()


def test_a_picture_shows_what_happens():
    env = ML10().make(4, render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    env.step(np.ones(4, np.float32))
    assert (before != env.render()).any()
    env.close()
