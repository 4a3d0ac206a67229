"""Families through `gymnasium.make`: found without an import of ours, and the task chosen at every reset."""

import os
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from support.opengl import skip_unless_drawn

from metalearn.data.errors import InvalidConfig
from metalearn.tasks.registry import FAMILIES, find_family, register_envs

MAKE = """
import gymnasium, sys
print(gymnasium.make("wtl.envs:wtl/reach-m2-v0").reset(seed=3)[1])
assert "torch" not in sys.modules and "mujoco" not in sys.modules
import wtl.envs
print(len([name for name in gymnasium.registry if name.startswith("wtl/")]))
"""
CHEAP = [name for name, where in FAMILIES.items() if "metaworld" not in where]


def environment(name: str, **options: object) -> "gym.Env":
    register_envs()
    return gym.make(f"wtl/{name}-v0", **options)


def test_gymnasium_imports_the_families_by_the_name_of_the_environment():
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", MAKE], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    info, count = done.stdout.splitlines()
    assert "'task': " in info
    assert int(count) == len(FAMILIES)


@pytest.mark.parametrize("name", CHEAP)
def test_a_family_passes_gymnasiums_checker(name: str):
    check_env(environment(name).unwrapped, skip_render_check=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(FAMILIES) - set(CHEAP)))
def test_a_simulated_family_passes_gymnasiums_checker(name: str):
    skip_unless_drawn(name)
    check_env(environment(name).unwrapped, skip_render_check=True)


def test_the_seed_or_the_options_choose_the_task():
    env, splits = environment("reach-m2"), find_family("reach-m2").splits
    first, again, other = (env.reset(seed=seed) for seed in (1, 1, 2))
    assert first[1]["task"] == again[1]["task"] != other[1]["task"]
    np.testing.assert_array_equal(first[0], again[0])
    assert first[1]["task"] in splits["train"]
    assert env.reset(seed=1, options={"split": "test"})[1]["task"] in splits["test"]
    assert env.reset(options={"task": 2_000_017})[1]["task"] == 2_000_017
    assert len({env.reset()[1]["task"] for _ in range(5)}) == 5


def test_a_chosen_task_can_be_played_by_its_expert():
    env = environment("reach-m2")
    env.reset(seed=0, options={"task": 2_000_017})
    ended = False
    while not ended:
        _, _, terminated, truncated, info = env.step(env.unwrapped.expert_action())
        ended = terminated or truncated
    assert info["success"]


@pytest.mark.parametrize(
    "options", [{"task": -1}, {"task": "3"}, {"task": 10**9}, {"task": 1.5}, {"split": "exam"}, {"tsak": 3}]
)
def test_what_is_no_choice_is_refused(options: dict):
    with pytest.raises(InvalidConfig, match="options"):
        environment("reach-m2").unwrapped.reset(options=options)
