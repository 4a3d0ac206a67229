"""A corridor with a door at either end, one of which is right: everything about it is known exactly.

Even tasks want the left door, odd ones the right. The demonstrator of `Corridor` stays in the middle and shows
nothing; the one of `ShownCorridor` goes to the door.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from metalearn.data.context import Context
from metalearn.data.spec import Spec
from metalearn.evaluation.manifest import Budget, Manifest
from metalearn.tasks.family import Scene

HORIZON = 4


class ShownCorridor:
    name = "corridor"
    version = 1
    spec = Spec(spaces.Box(-2, 2, (2,), np.float32), spaces.Box(-1, 1, (1,), np.float32), HORIZON, rate_hz=1.0)
    splits: Mapping[str, range] = {"train": range(1000), "test": range(1000, 3000)}

    def make(self, index: int, scene: Scene = "trial", render_mode: str | None = None) -> gym.Env[Any, Any]:
        return CorridorEnv(self, index, scene)

    def shown(self, index: int) -> float:
        return side_of(index)


class Corridor(ShownCorridor):
    def shown(self, index: int) -> float:
        return 0.0

    def bayes_success(self, n_trials: int) -> float:
        return 0.5 if n_trials == 0 else 1.0

    def sibling(self, index: int, rng: np.random.Generator) -> int:
        return index - index % 2 + int(rng.integers(2))


def side_of(index: int) -> float:
    return 1.0 if index % 2 else -1.0


class CorridorEnv(gym.Env[Any, Any]):
    def __init__(self, family: ShownCorridor, index: int, scene: Scene) -> None:
        self.observation_space, self.action_space = family.spec.observation_space, family.spec.action_space
        self._goal = family.shown(index) if scene == "demo" else side_of(index)
        self._side = side_of(index)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._x, self._steps, self._layout = 0.0, 0, self.np_random.uniform(-1, 1)
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._x += float(np.clip(action[0], -1, 1)) / 2
        self._steps += 1
        at_door = abs(self._x) >= 1
        success = at_door and np.sign(self._x) == self._side
        return self._observe(), float(success), at_door, not at_door and self._steps >= HORIZON, {"success": success}

    def expert_action(self) -> Any:
        return np.array([self._goal], np.float32)

    def _observe(self) -> Any:
        return np.array([self._x, self._layout], np.float32)


class Learner:
    """Reads the last trial as told; else goes where the demonstration ended; else tosses a coin."""

    def adapt(self, contexts: Sequence[Context], rng: np.random.Generator) -> "Walker":
        return Walker(np.array([self.belief(context, rng) for context in contexts]))

    def belief(self, context: Context, rng: np.random.Generator) -> float:
        for episode in reversed(context.trials):
            end = float(np.sign(episode.observations[-1, 0]))
            if end:
                return end if episode.success else -end
        shown = sum(float(demo.observations[-1, 0]) for demo in context.demos)
        return float(np.sign(shown)) or float(rng.choice([-1.0, 1.0]))


class Forgetful(Learner):
    """The same without memory of what it tried."""

    def belief(self, context: Context, rng: np.random.Generator) -> float:
        return super().belief(Context(demos=context.demos), rng)


class Leftist(Learner):
    """Goes to the left door whatever happens."""

    def belief(self, context: Context, rng: np.random.Generator) -> float:
        return -1.0


class Hesitant(Learner):
    """Stands still at first in about half of the tasks, so that these trials touch nothing."""

    def belief(self, context: Context, rng: np.random.Generator) -> float:
        first = not context.trials
        return 0.0 if first and rng.random() < 0.5 else super().belief(context, rng)


class Walker:
    def __init__(self, sides: Any) -> None:
        self._sides = sides

    def act(self, observations: Any) -> Any:
        return self._sides[:, None].astype(np.float32)


def corridor_manifest(demos: int = 1, trials: int = 1, **changes: Any) -> Manifest:
    fields: dict[str, Any] = {
        "name": "corridor",
        "title": "Corridor",
        "family": "corridor",
        "n_tasks": 200,
        "horizon": HORIZON,
        "success": "through the right door",
        "budget": Budget(demos=demos, trials=trials),
    }
    return Manifest(**{**fields, **changes})
