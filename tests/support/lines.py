"""A line of nine cells, seen and walked in spaces of many kinds: even tasks want its left end, odd ones its right.

The environments refuse actions that are not in their space, and check what they show.
"""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from metalearn.data.spec import Spec
from metalearn.tasks.family import Scene

CELLS, HORIZON = 9, 8
PICTURE = (16, 16, 3)


class Line:
    """What is seen and done is said by `observe`, `step_of` and `action_of` of its subclasses."""

    name, version, spec = "line", 1, Spec(spaces.Discrete(CELLS), spaces.Discrete(3, start=-1), HORIZON, 1.0)
    splits: Mapping[str, range] = {"train": range(100), "validation": range(100, 200), "test": range(200, 300)}

    def make(self, index: int, scene: Scene = "trial", render_mode: str | None = None) -> gym.Env[Any, Any]:
        return LineEnv(self, index)

    def observe(self, cell: int) -> Any:
        return np.int64(cell)

    def step_of(self, action: Any) -> int:
        return int(action)

    def action_of(self, step: int) -> Any:
        return step


class Kitchen(Line):
    """Named parts of all kinds; two levers: which way, and whether to go at all."""

    name = "kitchen"
    spec = Spec(
        spaces.Dict(
            {
                "robot": spaces.Box(-1, 1, (2,), np.float32),
                "objects": spaces.Box(-1, 1, (3, 2), np.float64),
                "camera": spaces.Dict({"front": spaces.Box(0, 255, PICTURE, np.uint8)}),
                "cell": spaces.Discrete(CELLS, start=1),
            }
        ),
        spaces.MultiDiscrete([2, 2], start=[0, -1]),
        HORIZON,
        1.0,
    )

    def observe(self, cell: int) -> Any:
        place, picture = cell / 4 - 1, np.zeros(PICTURE, np.uint8)
        picture[:, cell] = 255
        objects = np.array([[-1 - place, 0.5], [1 - place, 0.5], [0.1, 0.2]]) / 2
        return {
            "robot": np.array([place, 0], np.float32), "objects": objects, "camera": {"front": picture},
            "cell": np.int64(cell + 1),
        }  # fmt: skip

    def step_of(self, action: Any) -> int:
        return int(action[0] * (2 * action[1] + 1))

    def action_of(self, step: int) -> Any:
        return np.array([abs(step), min(step, 0)])


class Pair(Line):
    """A tuple; actions are a column of two velocities."""

    name = "pair"
    spec = Spec(
        spaces.Tuple((spaces.Box(-1, 1, (), np.float32), spaces.MultiDiscrete([CELLS, 2]))),
        spaces.Box(-1, 1, (2, 1), np.float32),
        HORIZON,
        1.0,
    )

    def observe(self, cell: int) -> Any:
        return np.array(cell / 4 - 1, np.float32), np.array([cell, cell % 2])

    def step_of(self, action: Any) -> int:
        return int(np.sign(np.round(float(action.sum()))))

    def action_of(self, step: int) -> Any:
        return np.full((2, 1), step, np.float32)


class Lamps(Line):
    """A row of lamps, of which one is on; two buttons."""

    name = "lamps"
    spec = Spec(spaces.MultiBinary(CELLS), spaces.MultiBinary(2), HORIZON, 1.0)

    def observe(self, cell: int) -> Any:
        return np.eye(CELLS, dtype=np.int8)[cell]

    def step_of(self, action: Any) -> int:
        return int(action[1]) - int(action[0])

    def action_of(self, step: int) -> Any:
        return np.array([step < 0, step > 0], np.int8)


class LineEnv(gym.Env[Any, Any]):
    def __init__(self, family: Line, index: int) -> None:
        self.observation_space, self.action_space = family.spec.observation_space, family.spec.action_space
        self._family, self._end = family, CELLS - 1 if index % 2 else 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._cell, self._steps = int(self.np_random.integers(3, 6)), 0
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), action
        self._cell = min(max(self._cell + self._family.step_of(action), 0), CELLS - 1)
        self._steps += 1
        at_end = self._cell in (0, CELLS - 1)
        success = self._cell == self._end
        return self._observe(), float(success), at_end, not at_end and self._steps >= HORIZON, {"success": success}

    def expert_action(self) -> Any:
        return self._family.action_of(int(np.sign(self._end - self._cell)))

    def _observe(self) -> Any:
        observation = self._family.observe(self._cell)
        assert self.observation_space.contains(observation), observation
        return observation
