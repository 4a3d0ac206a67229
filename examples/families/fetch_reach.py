"""FetchReach of Gymnasium-Robotics with a hidden goal: was it shown as it is, or from the other side of the table?

Hidden: the goal. The demonstration reaches a point that is either the goal or, if the demonstrator stood opposite, its
mirror image, and leaves that open. Touching either point ends an episode. The observation is the environment's own but
for `desired_goal`.
Bound: nothing tells before a point is touched, so 1/2 at the first attempt, and 1 after any trial.
"""

import numpy as np
from gymnasium.wrappers import FilterObservation, TimeLimit
from gymnasium_robotics.envs.fetch.reach import MujocoFetchReachEnv

from metalearn.data.spec import Spec

HORIZON, NEAR, IDLE = 25, 0.05, set()  # steps; metres; simulators to use again, for one takes 0.2 seconds to make


class Table(MujocoFetchReachEnv):  # `points`: the goal, and what would be the goal if it were on the other side
    def _sample_goal(self):
        return self.points[0]

    def step(self, action):
        seen, *_ = super().step(action)
        success, wrong = (np.linalg.norm(self.points - seen["achieved_goal"], axis=-1) < NEAR).tolist()
        return seen, float(success), success or wrong, False, {"success": success}

    def expert_action(self):
        hand = self._get_obs()["achieved_goal"]
        return np.clip([*(10 * (self.points[0] - hand)), 0], -1, 1).astype(np.float32)

    def close(self):
        IDLE.add(self)


class FetchReach:
    name, version = "fetch-reach", 1
    splits = {"train": range(4_096), "validation": range(20_000, 24_000), "test": range(24_000, 28_000)}

    def make(self, index, scene="trial", render_mode=None):
        table = IDLE.pop() if IDLE and render_mode is None else Table(render_mode=render_mode)
        side = 1 - 2 * (index // 2 % 2)  # of the point that is shown
        offset = np.random.default_rng(index // 2).uniform((-0.15, 0.08, -0.15), 0.15) * (1, side, 1)
        mirrored = scene == "trial" and index % 2
        table.points = table.initial_gripper_xpos + offset * [(1, 1, 1), (1, -1, 1)][:: -1 if mirrored else 1]
        return FilterObservation(TimeLimit(table, HORIZON), ["achieved_goal", "observation"])

    spec = Spec.of_env(make(None, 0), HORIZON, rate_hz=25.0)

    def bayes_success(self, n_trials):
        return 0.5 if n_trials == 0 else 1.0

    def sibling(self, index, rng):  # the same point shown, and a side of its own
        return index - index % 2 + int(rng.integers(2))
