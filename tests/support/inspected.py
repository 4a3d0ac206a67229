"""A line with a door at either end, one of them the right one; and the same with one thing wrong in each subclass.

The demonstration stops in the middle and tells nothing, so only a trial tells the door.
"""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from jaxtyping import Float32

from metalearn.data.spec import Spec
from metalearn.tasks.family import Scene

HORIZON = 8


def spec(observation: spaces.Box | None = None, horizon: int = HORIZON) -> Spec:
    box = spaces.Box(-2, 2, (1,), np.float32) if observation is None else observation
    return Spec(box, spaces.Box(-1, 1, (1,), np.float32), horizon, rate_hz=1.0)


class Line:
    """A sound family."""

    name, version, spec = "line", 1, spec()
    splits: Mapping[str, range] = {
        "train": range(1000),
        "validation": range(1000, 2000),
        "test": range(2000, 3000),
    }

    def make(self, index: int, scene: Scene = "trial", render_mode: str | None = None) -> gym.Env[Any, Any]:
        return LineEnv(self, self.side(index), scene)

    def side(self, index: int) -> float:
        return 1.0 if index % 2 else -1.0

    def start(self, env: gym.Env[Any, Any]) -> float:
        return float(env.np_random.uniform(-0.3, 0.3))

    def observe(self, x: float, side: float) -> list[float]:
        return [x]

    def expert(self, x: float, goal: float) -> float:
        return float(np.clip((goal - x) / 0.4, -1, 1))

    def succeeds(self, x: float, side: float) -> bool:
        return abs(x) >= 1 and np.sign(x) == side

    def info(self, success: bool) -> dict[str, Any]:
        return {"success": success}

    def over(self, x: float, steps: int) -> tuple[bool, bool]:
        return abs(x) >= 1, steps >= self.spec.horizon


class LineEnv(gym.Env[Any, Any]):
    def __init__(self, family: Line, side: float, scene: Scene) -> None:
        self.observation_space, self.action_space = family.spec.observation_space, family.spec.action_space
        self._family, self._side, self._scene = family, side, scene

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._x, self._steps = self._family.start(self), 0
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._x = float(np.clip(self._x + 0.4 * float(np.clip(action[0], -1, 1)), -1, 1))
        self._steps += 1
        if self._scene == "demo":
            arrived = abs(self._x) < 0.01
            return self._observe(), 0.0, arrived, self._steps >= self._family.spec.horizon, self._family.info(arrived)
        success = self._family.succeeds(self._x, self._side)
        terminated, truncated = self._family.over(self._x, self._steps)
        return self._observe(), float(success), terminated, truncated and not terminated, self._family.info(success)

    def expert_action(self) -> Any:
        goal = 0.0 if self._scene == "demo" else self._side
        return np.array([self._family.expert(self._x, goal)], np.float32)

    def _observe(self) -> Any:
        return np.array(self._family.observe(self._x, self._side), np.float32)


class Shown(Line):
    """The demonstration is a trial of the expert, so it says all."""

    def make(self, index: int, scene: Scene = "trial", render_mode: str | None = None) -> gym.Env[Any, Any]:
        return LineEnv(self, self.side(index), "trial")


class Turned(Line):
    """The motor is turned round instead of the door: what actions do tells it at once."""

    def make(self, index: int, scene: Scene = "trial", render_mode: str | None = None) -> gym.Env[Any, Any]:
        return TurnedEnv(self, 1.0, scene, self.side(index))


class TurnedEnv(LineEnv):
    def __init__(self, family: Line, side: float, scene: Scene, sign: float) -> None:
        super().__init__(family, side, scene)
        self._sign = sign if scene == "trial" else 1.0

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return super().step(self._sign * np.asarray(action))

    def expert_action(self) -> Any:
        return self._sign * super().expert_action()


class Ungraspable(Line):
    """Tasks start differently with the same seed, so that none can be compared with another."""

    def make(self, index: int, scene: Scene = "trial", render_mode: str | None = None) -> gym.Env[Any, Any]:
        return ShiftedEnv(self, self.side(index), scene, index)


class ShiftedEnv(LineEnv):
    def __init__(self, family: Line, side: float, scene: Scene, index: int) -> None:
        super().__init__(family, side, scene)
        self._index = index

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._x = float(np.random.default_rng((self._index, seed or 0)).uniform(-0.3, 0.3))
        return self._observe(), {}


class FailingExpert(Line):
    """The expert goes to the wrong door."""

    def expert(self, x: float, goal: float) -> float:
        return super().expert(x, -goal)


class StuckExpert(Line):
    """The expert of a task with the left door steps to and fro."""

    def expert(self, x: float, goal: float) -> float:
        return (1.0 if x < -0.1 else -1.0) if goal < 0 else super().expert(x, goal)


class Silent(Line):
    """No info says success."""

    def info(self, success: bool) -> dict[str, Any]:
        return {}


class Leaking(Line):
    """The observation holds the side of the door."""

    spec = spec(spaces.Box(-2, 2, (2,), np.float32))

    def observe(self, x: float, side: float) -> list[float]:
        return [x, side]


class Equal(Line):
    """Every task has the right door."""

    def side(self, index: int) -> float:
        return 1.0


class Endless(Line):
    """Episodes do not end at the horizon."""

    def over(self, x: float, steps: int) -> tuple[bool, bool]:
        return False, False


class Patient(Line):
    """The horizon is far longer than what the expert needs."""

    spec = spec(horizon=100)


class Unseeded(Line):
    """The start does not follow from the seed."""

    def start(self, env: gym.Env[Any, Any]) -> float:
        return float(np.random.default_rng().uniform(-0.3, 0.3))


class Lucky(Line):
    """Whatever is done succeeds."""

    def succeeds(self, x: float, side: float) -> bool:
        return True


class Unlike(Line):
    """Numbers that never change, far away from 0, and of very different scale."""

    spec = spec(spaces.Box(-np.inf, np.inf, (3,), np.float32))

    def observe(self, x: float, side: float) -> list[float]:
        return [x, 5.0, 1e5 + 10 * x]


class Overlapping(Line):
    """Test tasks are training tasks."""

    splits: Mapping[str, range] = {"train": range(1000), "validation": range(1000, 2000), "test": range(500, 1500)}


class Raising(Line):
    """Its code raises."""

    def observe(self, x: float, side: float) -> list[float]:
        raise RuntimeError("a cable is loose")


class WithoutExpert(Line):
    """Nobody knows how it is done."""

    def make(self, index: int, scene: Scene = "trial", render_mode: str | None = None) -> gym.Env[Any, Any]:
        return _NoExpert(LineEnv(self, self.side(index), scene))


class SayingGoals(WithoutExpert):
    """Nobody knows how it is done, but where one got to is said."""

    def achieved_goal(self, observations: Float32[np.ndarray, "n o"]) -> Float32[np.ndarray, "n g"]:
        return observations


class _NoExpert(gym.Env[Any, Any]):
    def __init__(self, env: LineEnv) -> None:
        self._env, self.observation_space, self.action_space = env, env.observation_space, env.action_space

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self._env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self._env.step(action)
