"""The families in examples/families: environments of others, in which something is hidden."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Discrete
from gymnasium.utils.env_checker import check_env

from metalearn.data.episode import Episode
from metalearn.data.formats import Selection, read_episodes
from metalearn.data.spec import Spec
from metalearn.data.task_sets import TaskRule, by_task, make_task_set
from metalearn.tasks.family import BoundedFamily, make_vec
from metalearn.tasks.registry import find_family
from metalearn.tasks.rollout import demonstrate

FOLDER = Path(__file__).parents[2] / "examples" / "families"
FAMILIES = {
    "cart_pole:CartPole": "gymnasium",
    "pendulum:Pendulum": "gymnasium",
    "lunar_lander:LunarLander": "Box2D",
    "mini_grid:MiniGrid": "minigrid",
    "point_maze:PointMaze": "gymnasium_robotics",
    "fetch_reach:FetchReach": "gymnasium_robotics",
    "recorded_pendulum:RecordedPendulum": "h5py",
    "cart_camera:CartCamera": "gymnasium",
}
IN_ITSELF = ["cart_pole:CartPole", "lunar_lander:LunarLander", "cart_camera:CartCamera"]
"""Where an attempt tells what is hidden before it is lost."""

every_family = pytest.mark.parametrize("name", FAMILIES)


def family_of(name: str) -> BoundedFamily:
    pytest.importorskip(FAMILIES[name], reason="the extra `families` is not installed")
    family = find_family(f"examples.families.{name}")
    assert isinstance(family, BoundedFamily)
    return family


def other(family: BoundedFamily, index: int) -> int:
    """A task with the same demonstration in which something else is right."""
    rng = np.random.default_rng(0)
    return next(found for _ in range(100) if (found := family.sibling(index, rng)) != index)


def play(family: BoundedFamily, index: int, seed: int, act: Callable[[Any, int], Any]) -> bool:
    """Whether an attempt succeeds; `act` is given the environment and the number of the step."""
    env = family.make(index)
    env.reset(seed=seed)
    for step in range(family.spec.horizon):
        _, _, terminated, truncated, info = env.step(act(env.unwrapped, step))
        if terminated or truncated:
            break
    env.close()
    return bool(info["success"])


def shown(family: BoundedFamily, index: int, seed: int = 0) -> Episode:
    return demonstrate(family, [index], [seed], "demo").episodes[0]


def test_every_file_is_of_a_family_and_short():
    without_bound = {"fetch_goal"}  # what is asked for is not hidden
    assert {path.stem for path in FOLDER.glob("*.py")} == {name.partition(":")[0] for name in FAMILIES} | without_bound
    for path in FOLDER.glob("*.py"):
        assert len(path.read_text().splitlines()) <= 60, path.name


@every_family
@pytest.mark.filterwarnings("ignore::UserWarning")  # of bounds that the environments themselves have
def test_its_environments_are_gymnasiums(name: str):
    family = family_of(name)
    for scene in ("demo", "trial"):
        check_env(family.make(family.splits["test"][0], scene), skip_render_check=True)


@every_family
def test_its_expert_shows_and_solves_the_tasks(name: str):
    family = family_of(name)
    for scene, n_tasks in (("demo", 4), ("trial", 20)):
        runs = [demonstrate(family, [index], [index], scene) for index in family.splits["test"][:n_tasks]]
        assert np.mean([run.success[0] for run in runs]) >= 0.95, scene
        assert max(len(run.episodes[0]) for run in runs) <= family.spec.horizon


@every_family
def test_its_bound_rises_to_what_is_possible(name: str):
    bounds = [family_of(name).bayes_success(n_trials) for n_trials in range(4)]
    assert bounds == sorted(bounds)
    assert bounds[-1] == 1
    assert (bounds[0] == 1) == (name in IN_ITSELF)


@every_family
def test_neither_the_demonstration_nor_the_first_observation_tells_siblings_apart(name: str):
    family = family_of(name)
    for index in family.splits["test"][:4]:
        sibling = other(family, index)
        assert shown(family, index) == shown(family, sibling)
        env = make_vec(family, [index, sibling])
        observations, _ = env.reset(seed=[5, 5])
        env.close()
        first, second = (np.asarray(part) for part in _rows(observations))
        assert (first == second).all()


def _rows(observations: Any) -> tuple[Any, Any]:
    if isinstance(observations, dict):
        rows = [np.concatenate([np.ravel(part[row]) for part in observations.values()]) for row in (0, 1)]
        return rows[0], rows[1]
    return observations[0], observations[1]


@every_family
def test_what_solves_a_task_does_not_solve_its_sibling(name: str):
    family = family_of(name)
    solved = 0
    for index in family.splits["test"][:6]:
        actions = demonstrate(family, [index], [3], "trial").episodes[0].actions
        assert actions is not None
        last = len(actions) - 1
        assert play(family, index, 3, lambda _, step, a=actions, n=last: a[min(step, n)])
        solved += play(family, other(family, index), 3, lambda _, step, a=actions, n=last: a[min(step, n)])
    assert solved == 0


@every_family
def test_what_is_shown_matters(name: str):
    family = family_of(name)
    tasks = family.splits["test"][:12]
    assert len({tuple(np.round(_rows_of(shown(family, index)), 1)) for index in tasks}) > 1


def _rows_of(episode: Episode) -> Any:
    last = episode.observations[-1]
    return np.concatenate([np.ravel(last[name]) for name in last.dtype.names]) if last.dtype.names else last.ravel()


@pytest.mark.parametrize("name", IN_ITSELF)
def test_whoever_learns_it_from_the_first_steps_succeeds_at_the_first_attempt(name: str):
    family = family_of(name)
    for index in family.splits["test"][:12]:
        wrong = family.sibling(index, np.random.default_rng(0))
        assert play(family, index, index, lambda env, step, i=index, w=wrong: _guessed(env, step, i != w)), index


def _guessed(env: Any, step: int, mistaken: bool) -> Any:
    """What the expert does, who at first may be mistaken as to which way a motor turns."""
    action = env.expert_action()
    if step > 0 or not mistaken:
        return action
    return 1 - action if isinstance(env.action_space, Discrete) else np.append(action[:-1], -action[-1])


def test_a_pendulum_that_is_not_pushed_the_right_way_at_once_is_lost():
    family = family_of("pendulum:Pendulum")
    for index in range(8):
        for first in (0.0, 0.2, -0.2):  # of the right push, which is of about 2

            def act(env: Any, step: int, first: float = first) -> Any:
                right = env.motor * -np.sign(env.state[:1]) * env.max_torque
                return (first * right if step == 0 else right).astype(np.float32)

            assert not play(family, index, index, act)


@pytest.mark.parametrize("name", ["point_maze:PointMaze", "fetch_reach:FetchReach"])
def test_a_simulator_that_is_used_again_remembers_nothing(name: str):
    family = family_of(name)
    before = demonstrate(family, [24_001], [7], "trial").episodes[0]
    demonstrate(family, [24_002], [8], "trial")
    assert demonstrate(family, [24_001], [7], "trial").episodes[0] == before


def test_recordings_hold_demonstrations_and_sessions_until_it_works(tmp_path: Path):
    pytest.importorskip("h5py", reason="the extra `train` is not installed")
    module = importlib.import_module("examples.families.recorded_pendulum")
    module.record(tmp_path / "pendulum.hdf5", n_tasks=16)
    recorded = read_episodes(f"robomimic:{tmp_path / 'pendulum.hdf5'}", Selection(task_by="task"))
    tasks = {task: part.episodes for task, part in by_task(recorded).items()}
    made = make_task_set(tasks, Spec.of_episodes(recorded.episodes, recorded.rate_hz or 0), TaskRule())
    records = made.training.tasks
    assert not made.skipped
    assert {(len(record.demos), len(record.experts)) for record in records} == {(1, 2)}
    assert 0.25 < np.mean([len(record.trials) == 1 for record in records]) < 0.75
