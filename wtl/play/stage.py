"""One environment of a task, and the episode that is being played in it. Knows no clock, no page and no server."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidConfig
from metalearn.tasks.family import Family, Scene, TaskId
from metalearn.tasks.rollout import episode_seeds
from metalearn.tasks.user_code import user_code

Picture = UInt8[np.ndarray, "h w 3"]

_STREAMS = {"demo": 171, "trial": 172}
"""Streams of seeds (`episode_seeds`) that no training and no evaluation uses."""


class Stage:
    """Task `index` of a family, in its two scenes. Every error of its code is an InvalidConfig with one sentence.

    Attributes:
        scene: "demo", where a person or the expert shows the task, or "trial", where the policy tries it.
        observation: the current one, as the environment gave it.
        success: whether the episode has solved the task; None if the environment does not say.
        over: True when the environment has ended the episode, or it has the steps of the horizon.
    """

    def __init__(self, family: Family, index: int) -> None:
        self.family, self.index = family, index
        self.name = str(TaskId(family.name, index))
        self._envs: dict[Scene, gym.Env[Any, Any]] = {}
        self.begin("trial", 0)

    def begin(self, scene: Scene, number: int) -> None:
        """Start episode `number` of a scene: the same number is the same start, every time."""
        self.scene = scene
        seed = episode_seeds([self.index], _STREAMS[scene], number)[0]
        with user_code(f"reset of task {self.name}"):
            self.observation, _ = self._env.reset(seed=seed)
        self._observations, self._actions = [self.observation], list[Any]()
        self._rewards: list[float] = []
        self.success: bool | None = None
        self.over = False

    def step(self, action: Any) -> None:
        """Take one step."""
        with user_code(f"step of task {self.name}"):
            observation, reward, terminated, truncated, info = self._env.step(action)
        if not np.isfinite(float(reward)):
            raise InvalidConfig(f"step of task {self.name}: expected a finite reward, got {float(reward)}")
        self.observation = observation
        self._observations.append(observation)
        self._actions.append(action)
        self._rewards.append(float(reward))
        if "success" in info:
            self.success = bool(self.success) or bool(info["success"])
        self.over = bool(terminated or truncated) or len(self) >= self.family.spec.horizon

    def __len__(self) -> int:
        """The number of steps so far."""
        return len(self._actions)

    @property
    def reward(self) -> float | None:
        """The reward of the last action; None before the first one."""
        return self._rewards[-1] if self._rewards else None

    @property
    def total_reward(self) -> float:
        """The sum of the rewards so far."""
        return sum(self._rewards)

    @property
    def has_expert(self) -> bool:
        """Whether the environment can show the task by itself."""
        return self.expert_action() is not None

    def expert_action(self) -> Any:
        """The expert's action in the current state; None without an expert."""
        expert = getattr(self._env.unwrapped, "expert_action", None)
        if expert is None:
            return None
        with user_code(f"expert_action of task {self.name}"):
            return expert()

    def pointer_action(self, x: float, y: float) -> Any:
        """The action that goes to a place in the picture, 0 to 1 from its left and top edge; None if nobody knows."""
        towards = getattr(self._env.unwrapped, "pointer_action", None)
        if towards is None:
            return None
        with user_code(f"pointer_action of task {self.name}"):
            return towards(x, y)

    def goal_at(self, x: float, y: float) -> list[float] | None:
        """The goal that is a place in the picture, 0 to 1 from its left and top edge; None if goals are none."""
        return self._numbers_of("goal_at", x, y)

    def place_of_goal(self, goal: Sequence[float]) -> list[float] | None:
        """Where a goal is in the picture, as `goal_at` has it; None if nobody knows."""
        place = self._numbers_of("place_of_goal", np.asarray(goal, np.float32))
        return place if place is not None and len(place) == 2 else None

    def _numbers_of(self, method: str, *given: Any) -> list[float] | None:
        """The finite numbers that an optional method of the environment returns; None without it or without them."""
        known = getattr(self._env.unwrapped, method, None)
        if known is None:
            return None
        with user_code(f"{method} of task {self.name}"):
            found = known(*given)
            numbers = None if found is None else np.ravel(np.asarray(found, np.float64))
        return None if numbers is None or not np.isfinite(numbers).all() else [float(one) for one in numbers]

    @property
    def keys(self) -> dict[str, Any]:
        """What Gymnasium's `get_keys_to_action` says: actions by single keys, `{"d": 1}`; empty without it."""
        known = getattr(self._env.unwrapped, "get_keys_to_action", None)
        if known is None:
            return {}
        with user_code(f"get_keys_to_action of task {self.name}"):
            return {key: action for pressed, action in known().items() if (key := _one_key(pressed)) is not None}

    def picture(self) -> Picture:
        """What the environment renders; of one that renders nothing, its numbers as bars."""
        try:
            with user_code(f"render of task {self.name}"):
                rendered: Any = self._env.render()
        except Exception as error:
            if not isinstance(error.__cause__, NotImplementedError):
                raise
            rendered = None
        if isinstance(rendered, np.ndarray) and rendered.ndim == 3:
            return np.ascontiguousarray(rendered[..., :3], np.uint8)
        return draw_numbers(self.family.spec.vector(self.observation))

    def episode(self, success: bool | None) -> Episode:
        """The episode so far, with at least one step, and how it went. Raises InvalidData."""
        made = Episode.of(_stacked(self._observations), np.stack(self._actions), self._rewards, success)
        return self.family.spec.fit(made)

    def close(self) -> None:
        """Close the environments."""
        for env in self._envs.values():
            env.close()

    @property
    def _env(self) -> gym.Env[Any, Any]:
        if self.scene not in self._envs:
            with user_code(f"task {self.name} cannot be made"):
                self._envs[self.scene] = self.family.make(self.index, self.scene, "rgb_array")
        return self._envs[self.scene]


def draw_numbers(vector: np.ndarray[Any, np.dtype[Any]], side: int = 320) -> Picture:
    """A bar for each number, from a line in the middle, full at 1 and -1: a picture of what has none."""
    image = Image.new("RGB", (side, side), "#ffffff")
    pen = ImageDraw.Draw(image)
    shown = np.clip(np.nan_to_num(vector[:64]), -1, 1)
    width, middle = (side - 40) / max(1, len(shown)), side / 2
    for i, value in enumerate(shown):
        low, high = sorted((middle, middle - float(value) * (side / 2 - 30)))
        pen.rectangle((20 + i * width, low, 20 + (i + 0.8) * width, high), fill="#0072b2")
    pen.line((16, middle, side - 16, middle), fill="#999999")
    return np.array(image)


def _one_key(pressed: Any) -> str | None:
    """The one character of a key of `get_keys_to_action`: "d", ("d",) or (100,); None for keys pressed together."""
    keys = pressed if isinstance(pressed, tuple | str) else (pressed,)
    if len(keys) != 1:
        return None
    return chr(keys[0]) if isinstance(keys[0], int) else str(keys[0])


def _stacked(observations: list[Any]) -> Any:
    """Observations with parts stay a list of mappings; others become one array."""
    if isinstance(observations[0], dict | tuple):
        return [dict(enumerate(one)) if isinstance(one, tuple) else one for one in observations]
    return np.stack([np.asarray(one) for one in observations])
