"""What `wtl new-task` writes: two templates of `string.Template`, with the names `$name`, `$module` and `$cls`."""

FAMILY = '''\
"""The family `$name`: tasks that differ in one thing, which a demonstration shows.

Here a point is to go to the one of four corners that is wanted. Change what you like, then `wtl inspect $module:$cls`
in this folder, which says in seconds what looks wrong, and `wtl train --family $module:$cls`; `pytest test_$module.py`
keeps true what training relies on.
"""

import gymnasium as gym
import numpy as np

from metalearn.data.spec import Spec

CORNERS = np.array([(1, 1), (1, -1), (-1, 1), (-1, -1)], np.float32)
HORIZON = 20


class $cls:
    """What `wtl` needs to know of a family: these four attributes and `make`."""

    name = "$name"
    version = 1  # increase it when the tasks change, so that results on different tasks are never compared
    spec = Spec(
        observation_space=gym.spaces.Box(-2, 2, (10,), np.float32),
        action_space=gym.spaces.Box(-1, 1, (2,), np.float32),
        horizon=HORIZON,
        rate_hz=10.0,
    )
    # Numbers of tasks. Thousands of them: a policy learns a few hundred by heart.
    splits = {"train": range(2_000), "validation": range(10_000, 11_000), "test": range(20_000, 21_000)}

    def make(self, index, scene="trial", render_mode=None):
        """Task `index`. In the scene "demo" the expert shows it, in "trial" the policy tries."""
        return ${cls}Env(index)


class ${cls}Env(gym.Env):
    """One task: a Gymnasium environment whose info says `success`."""

    observation_space, action_space = $cls.spec.observation_space, $cls.spec.action_space

    def __init__(self, index):
        self.goal = CORNERS[index % len(CORNERS)]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.place = 0, self.np_random.uniform(-0.3, 0.3, 2).astype(np.float32)
        return self.observe(), {}

    def step(self, action):
        self.steps += 1
        self.place = np.clip(self.place + 0.2 * np.clip(action, -1, 1), -1, 1).astype(np.float32)
        there = np.linalg.norm(CORNERS - self.place, axis=1) < 0.2
        success = bool(there[(CORNERS == self.goal).all(1)].any())
        over = bool(there.any())  # the first corner that is reached decides
        return self.observe(), float(success), over, not over and self.steps >= HORIZON, {"success": success}

    def expert_action(self):
        """The action of somebody who knows the task: demonstrations are made of it. Leave it out without an expert."""
        return np.clip((self.goal - self.place) / 0.2, -1, 1).astype(np.float32)

    def observe(self):
        """Where it is, and where the corners are from there: relative positions are easier to learn from."""
        return np.concatenate([self.place, (CORNERS - self.place).ravel() / 2]).astype(np.float32)
'''

TESTS = '''\
"""What `wtl train` expects of the family `$name`: run it with `pytest test_$module.py`."""

import numpy as np
from $module import $cls

from metalearn.tasks.registry import find_family
from metalearn.tasks.rollout import demonstrate

FAMILY = find_family("$module:$cls")


def test_the_splits_have_no_task_in_common():
    seen = [index for indices in FAMILY.splits.values() for index in indices]
    assert len(seen) == len(set(seen))


def test_the_expert_succeeds_in_both_scenes():
    tasks = list(FAMILY.splits["test"])[:20]
    for scene in ("demo", "trial"):
        assert demonstrate(FAMILY, tasks, range(20), scene).success.all()


def test_the_same_seed_gives_the_same_episode():
    env = $cls().make(3)
    first, again = (env.reset(seed=7)[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert env.observation_space.contains(first)


def test_an_episode_ends_within_the_horizon_and_says_whether_it_succeeded():
    env, ended, steps = $cls().make(0), False, 0
    env.reset(seed=0)
    while not ended:
        _, _, terminated, truncated, info = env.step(0 * env.action_space.sample())
        ended, steps = terminated or truncated, steps + 1
    assert steps <= $cls.spec.horizon
    assert "success" in info
'''
