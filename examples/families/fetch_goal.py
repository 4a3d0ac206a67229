"""FetchReach of Gymnasium-Robotics without any expert: goals are asked for, and learnt from play.

    wtl train --family examples.families.fetch_goal:FetchGoal --set model.asks=goal --set data.n_tasks=25

plays 25 x 4 episodes of 50 steps at random, 5,000 steps in all. Every task is the same; the goal is what is asked
for, so the observation is the environment's own but for `desired_goal`.
"""

from gymnasium.wrappers import FilterObservation, TimeLimit
from gymnasium_robotics.envs.fetch.reach import MujocoFetchReachEnv

from metalearn.data.spec import Spec

HORIZON, IDLE = 50, set()  # steps; simulators to use again, for one takes 0.2 seconds to make


class Table(MujocoFetchReachEnv):
    def step(self, action):
        seen, reward, terminated, truncated, info = super().step(action)
        return seen, reward, terminated, truncated, {"success": bool(info["is_success"])}

    def close(self):
        IDLE.add(self)


class FetchGoal:
    name, version = "fetch-goal", 1
    splits = {"train": range(4_096), "validation": range(20_000, 24_000), "test": range(24_000, 28_000)}

    def make(self, index, scene="trial", render_mode=None):
        table = IDLE.pop() if IDLE and render_mode is None else Table(render_mode=render_mode)
        return FilterObservation(TimeLimit(table, HORIZON), ["achieved_goal", "observation"])

    spec = Spec.of_env(make(None, 0), HORIZON, rate_hz=25.0)
