"""PointMaze of Gymnasium-Robotics with a hidden goal: two forks with three dead ends each, and the goal in one of them.

Hidden: the dead end. The demonstration goes to the fork and stops there, so it leaves open which of the three it is.
The observation is the environment's own but for `desired_goal`. Reaching the end of any of them ends an episode.
Bound: nothing tells before an end is reached, so one of three is ruled out by each trial that fails: 1/3, 2/3, 1, 1.
"""

from pathlib import Path

import numpy as np
from gymnasium.wrappers import FilterObservation, TimeLimit
from gymnasium_robotics.envs.maze.point_maze import PointMazeEnv

from metalearn.data.spec import Spec

MAZE = [[int(wall) for wall in row] for row in ("111111111", "110111011", "100000001", "110111011", "111111111")]
FORKS, ENDS = [(2, 2), (2, 6)], [(1, 2), (3, 2), (2, 1), (1, 6), (3, 6), (2, 7)]  # rows and columns of that map
HORIZON, IDLE = 50, set()  # steps; simulators that can be used again, for one takes a tenth of a second to make


class Forks(PointMazeEnv):  # `right`: the cell to end in; `wrong`: the coordinates of all others where one can end
    def reset(self, *, seed=None, options=None):
        self.point_env.frame_skip = 5
        self.seen, info = super().reset(seed=seed, options={"goal_cell": self.right, "reset_cell": (2, 4)})
        return self.seen, info

    def step(self, action):
        self.seen, _, _, _, info = super().step(action)
        near = np.linalg.norm(self.wrong - self.seen["achieved_goal"], axis=-1).min() <= 0.45
        return self.seen, float(info["success"]), bool(info["success"] or near), False, info

    def expert_action(self):
        place, speed = np.split(self.seen["observation"], 2)
        goal, fork = (self.maze.cell_rowcol_to_xy(cell) for cell in (self.right, FORKS[self.right[1] > 4]))
        aim = goal if abs(place[0] - goal[0]) < 0.2 or goal[1] == fork[1] else fork
        return np.clip(1.2 * (aim - place) - 0.4 * speed, -1, 1).astype(np.float32)

    def close(self):
        Path(self.tmp_xml_file_path).unlink(missing_ok=True)
        IDLE.add(self)


class PointMaze:
    name, version = "point-maze", 1
    splits = {"train": range(4_200), "validation": range(18_000, 21_000), "test": range(24_000, 27_000)}

    def make(self, index, scene="trial", render_mode=None):
        maze = IDLE.pop() if IDLE and render_mode is None else Forks(MAZE, render_mode)
        ends, maze.right = (ENDS, ENDS[index % 6]) if scene == "trial" else (FORKS, FORKS[index % 6 // 3])
        maze.wrong = np.array([maze.maze.cell_rowcol_to_xy(end) for end in ends if end != maze.right])
        return FilterObservation(TimeLimit(maze, HORIZON), ["achieved_goal", "observation"])

    spec = Spec.of_env(make(None, 0), HORIZON, rate_hz=20.0)

    def bayes_success(self, n_trials):
        return min(1.0, (n_trials + 1) / 3)

    def sibling(self, index, rng):  # the same fork, and a dead end of its own
        return index - index % 3 + int(rng.integers(3))
