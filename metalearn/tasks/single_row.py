"""One task of a family as an ordinary Gymnasium environment: a vector environment of a single row.

The family writes its physics once, for many rows. Seeds, spaces, infos and pictures come from the vector environment.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import iterate
from jaxtyping import Float32, Shaped, UInt8

from metalearn.tasks.family import Scene, VectorFamily


class SingleRowEnv(gym.Env[Any, Any]):
    """Task `index` of a family in a scene; every method takes or returns row 0 of the vector environment."""

    def __init__(
        self, family: VectorFamily, index: int = 0, scene: Scene = "trial", render_mode: str | None = None
    ) -> None:
        spec = family.spec
        self.observation_space, self.action_space = spec.observation_space, spec.action_space
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": round(spec.rate_hz)}
        self.render_mode = render_mode
        self._row = family.make_vec([index], scene)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode; without a seed, the seed is drawn from `np_random`, as Gymnasium wants it."""
        super().reset(seed=seed)
        row_seed = int(self.np_random.integers(2**32)) if seed is None else seed
        observations, infos = self._row.reset(seed=[row_seed], options=options)
        return self._observation(observations), _first(infos)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take one step; the info says `success`."""
        observations, rewards, terminated, truncated, infos = self._row.step(np.asarray(action)[None])
        return (
            self._observation(observations),
            float(rewards[0]),
            bool(terminated[0]),
            bool(truncated[0]),
            _first(infos),
        )

    def _observation(self, observations: Any) -> Any:
        return next(iter(iterate(self._row.observation_space, observations)))

    def expert_action(self) -> Shaped[np.ndarray | np.generic, "*a"] | None:
        """The expert's action in the current state; None if the family has no expert."""
        actions = self._row.expert_actions()
        return None if actions is None else actions[0]

    def pointer_action(self, x: float, y: float) -> Shaped[np.ndarray, "*a"] | None:
        """The action that goes to a place in the picture; None if the family has no such action."""
        return self._row.pointer_action(0, x, y)

    def goal_at(self, x: float, y: float) -> Float32[np.ndarray, " g"] | None:
        """The goal that is a place in the picture; None if the family's goals are none."""
        return self._row.goal_at(0, x, y)

    def place_of_goal(self, goal: Float32[np.ndarray, " g"]) -> tuple[float, float] | None:
        """Where a goal is in the picture; None if the family's goals are nowhere in it."""
        return self._row.place_of_goal(0, goal)

    def get_keys_to_action(self) -> dict[str, int]:
        """The action of each key, as Gymnasium's `play` wants it; empty if the family names no keys."""
        return self._row.keys_to_action()

    def render(self) -> UInt8[np.ndarray, "h w 3"] | None:  # type: ignore[override]
        """A picture of the current state; None without a render mode."""
        return None if self.render_mode is None else self._row.render_row(0)

    def close(self) -> None:
        """Close the vector environment."""
        self._row.close()


def _first(infos: dict[str, Any]) -> dict[str, Any]:
    """The first entry of every array in `infos`, as a Python number or bool."""
    return {name: values[0].item() for name, values in infos.items()}
