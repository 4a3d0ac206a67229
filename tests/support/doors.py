"""A line with a door at either end: even tasks want the left one, odd ones the right. Nothing tells, reward does."""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from metalearn.data.spec import Spec
from metalearn.tasks.family import Scene

HORIZON = 8
OBSERVATION = spaces.Box(-2, 2, (2,), np.float32)


class Doors:
    """Actions are velocities."""

    name, version = "doors", 1
    spec = Spec(OBSERVATION, spaces.Box(-1, 1, (1,), np.float32), HORIZON, rate_hz=1.0)
    splits: Mapping[str, range] = {"train": range(100), "validation": range(100, 200), "test": range(200, 300)}

    def velocity(self, action: Any) -> float:
        return float(action[0])

    def make(self, index: int, scene: Scene = "trial", render_mode: str | None = None) -> gym.Env[Any, Any]:
        return DoorsEnv(self, index)


class DiscreteDoors(Doors):
    """Actions are 1 (left), 2 (stay) and 3 (right)."""

    name = "discrete-doors"
    spec = Spec(OBSERVATION, spaces.Discrete(3, start=1), HORIZON, rate_hz=1.0)

    def velocity(self, action: Any) -> float:
        assert action in (1, 2, 3)
        return float(action - 2)


class DoorsEnv(gym.Env[Any, Any]):
    def __init__(self, family: Doors, index: int) -> None:
        self.observation_space, self.action_space = family.spec.observation_space, family.spec.action_space
        self._family, self._side = family, 1.0 if index % 2 else -1.0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._x, self._steps = self.np_random.uniform(-0.5, 0.5), 0
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._x += 0.4 * self._family.velocity(action)
        self._steps += 1
        at_door = abs(self._x) >= 1
        success = bool(at_door and np.sign(self._x) == self._side)
        return self._observe(), float(success), at_door, not at_door and self._steps >= HORIZON, {"success": success}

    def _observe(self) -> Any:
        return np.array([np.clip(self._x, -2, 2), 1.0], np.float32)
