import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from metalearn.data.episode import Episode
from metalearn.evaluation.manifest import load_manifest
from metalearn.tasks.envs.dark_room import CELLS, DarkRoom, KeyToDoor, StrictKeyToDoor, open_starts
from metalearn.tasks.envs.grid import MOVES, visited_cells
from metalearn.tasks.family import BoundedFamily, SerialVectorEnv, VectorFamily, make_vec, tasks_of
from metalearn.tasks.registry import find_family, register_envs
from metalearn.tasks.rollout import RandomActor, demonstrate, episode_seeds, rollout

NAMES = ("dark-room", "key-to-door", "key-to-door-strict")


def family(name: str) -> DarkRoom | KeyToDoor:
    found = find_family(name)
    assert isinstance(found, DarkRoom | KeyToDoor)
    return found


def cells(episode: Episode) -> list[tuple[int, ...]]:
    return [tuple(row) for row in visited_cells(episode)]


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_gymnasium_environment_with_a_picture(name: str):
    register_envs()
    env = gym.make(f"wtl/{name}-v0", index=5, render_mode="rgb_array")
    check_env(env.unwrapped)
    env.reset(seed=0)
    assert len(np.unique(np.asarray(env.render()).reshape(-1, 3), axis=0)) > 2
    assert isinstance(family(name), VectorFamily)


@pytest.mark.parametrize("name", NAMES)
def test_the_expert_needs_the_fewest_steps_and_chance_fails(name: str):
    dark, tasks = family(name), tasks_of(family(name), "test", 200, 0)
    seeds = episode_seeds(tasks, 0, 0)
    run = demonstrate(dark, tasks, seeds, "trial")
    assert run.success.all()
    assert [len(e) for e in run.episodes] == [
        dark.optimal_steps(i, e) for i, e in zip(tasks, run.episodes, strict=True)
    ]
    assert demonstrate(dark, tasks, seeds, "demo").success.all()
    env = make_vec(dark, tasks)
    assert rollout(env, RandomActor(env, 0), seeds).success.mean() < 0.2


@pytest.mark.parametrize("name", NAMES)
def test_rows_of_the_vector_version_are_the_environments_one_by_one(name: str):
    tasks = tasks_of(family(name), "test", 8, 0)
    seeds = episode_seeds(tasks, 0, 0)
    envs = make_vec(family(name), tasks), SerialVectorEnv(family(name), tasks)
    a, b = (rollout(env, RandomActor(env, 3), seeds, relabel=True) for env in envs)
    assert a.episodes == b.episodes
    assert np.array_equal(np.concatenate(a.expert_actions), np.concatenate(b.expert_actions))


def test_no_cell_and_no_pair_of_key_and_door_is_in_two_splits():
    room, door = DarkRoom(), KeyToDoor()
    goals, pairs = {}, {}
    for split in ("train", "validation", "test"):
        tasks = tasks_of(room, split, 300, 0)
        goals[split] = {tuple(map(int, room.goal(task))) for task in tasks}
        layouts = [door.layout(task) for task in tasks]
        pairs[split] = {(*map(int, place), *map(int, d)) for places, d, _ in layouts for place in places}
    assert sum(len(found) for found in goals.values()) == len(set().union(*goals.values()))
    assert len(goals["test"]) == 16
    assert sum(len(found) for found in pairs.values()) == len(set().union(*pairs.values()))


def test_a_demonstration_in_the_room_ends_on_the_goal():
    room, tasks = DarkRoom(), list(range(20))
    shown = demonstrate(room, tasks, episode_seeds(tasks, 1, 0), "demo").episodes
    assert [cells(e)[-1] for e in shown] == [tuple(room.goal(task)) for task in tasks]


def test_the_demonstration_says_nothing_of_which_place_has_the_key():
    for group in range(10):
        shown = demonstrate(KeyToDoor(), [2 * group, 2 * group + 1], [7, 7], "demo").episodes
        assert shown[0] == shown[1]
        assert not shown[0].observations[:, -1].any()
        assert not shown[0].rewards.any()


def test_the_demonstrator_is_in_a_place_after_each_third_and_on_the_door_in_the_end():
    door, tasks = KeyToDoor(), tasks_of(KeyToDoor(), "test", 100, 0)
    shown = demonstrate(door, tasks, episode_seeds(tasks, 1, 0), "demo").episodes
    for task, episode in zip(tasks, shown, strict=True):
        places, place_of_door, _ = door.layout(task)
        seen = cells(episode)
        assert {seen[16], seen[32]} == {tuple(place) for place in places}
        assert seen[48:] == [tuple(place_of_door)]


def test_a_trial_starts_alike_whichever_place_has_the_key():
    observations, _ = make_vec(KeyToDoor(), [6, 7]).reset(seed=[3, 3])
    assert (observations[0] == observations[1]).all()


def test_the_key_is_seen_and_rewarded_once_and_the_door_opens_with_it_alone():
    door = KeyToDoor()
    places, place_of_door, target = door.layout(0)
    env = make_vec(door, [0])
    env.reset(seed=[0])
    env.cells[0] = place_of_door - MOVES[1] if place_of_door[0] else place_of_door - MOVES[2]
    towards = 1 if place_of_door[0] else 2
    _, rewards, terminated, _, _ = env.step(np.array([towards]))
    assert (env.cells[0] == place_of_door).all() and not terminated[0] and rewards[0] == 0
    env.cells[0] = places[target]
    observations, rewards, *_ = env.step(np.array([0]))
    assert observations[0, -1] == 1 and rewards[0] == 1
    observations, rewards, *_ = env.step(np.array([0]))
    assert observations[0, -1] == 1 and rewards[0] == 0
    env.cells[0] = place_of_door
    _, rewards, terminated, _, infos = env.step(np.array([0]))
    assert rewards[0] == 1 and terminated[0] and infos["success"][0]


def test_no_place_lies_on_a_shortest_way_to_another():
    for task in tasks_of(KeyToDoor(), "train", 50, 0):
        (a, b), _, _ = KeyToDoor().layout(task)
        starts = open_starts(np.stack([a, b]))
        assert 0 < len(starts) < len(CELLS)
        for one, other in ((a, b), (b, a)):
            detour = np.abs(starts - one).sum(-1) + np.abs(one - other).sum() - np.abs(starts - other).sum(-1)
            assert (detour > 0).all()


def test_the_strict_bound_is_that_of_a_player_who_looks_into_a_place_drawn_at_random():
    strict, rng = StrictKeyToDoor(), np.random.default_rng(0)
    assert isinstance(strict, BoundedFamily) and not isinstance(KeyToDoor(), BoundedFamily)
    tasks = tasks_of(strict, "test", 500, 0)
    guesses = [strict.sibling(task, rng) for task in tasks]
    env, seeds = make_vec(strict, tasks), episode_seeds(tasks, 0, 0)
    believed = make_vec(strict, guesses)
    env.reset(seed=seeds), believed.reset(seed=seeds)
    ended = np.zeros(len(tasks), bool)
    for _ in range(strict.spec.horizon):
        actions = np.where(env.n_reached > 0, env.expert_actions(), believed.expert_actions())
        believed.step(actions)
        _, _, terminated, truncated, infos = env.step(actions)
        ended |= terminated | truncated
    assert ended.all()
    assert infos["success"].tolist() == [task == guess for task, guess in zip(tasks, guesses, strict=True)]
    assert infos["success"].mean() == pytest.approx(strict.bayes_success(0), abs=0.07)


@pytest.mark.parametrize(
    "name", ["dark-room", "dark-room-no-demo", "key-to-door", "key-to-door-strict", "key-to-door-no-demo"]
)
def test_manifests_are_of_these_families(name: str):
    manifest = load_manifest(name)
    assert len(manifest.check(find_family(manifest.family)).tasks(find_family(manifest.family))) == 1000
