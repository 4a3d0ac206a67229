"""Push in pictures: the goals of `push`, seen by a camera; of the arm's own state only hand and gripper are told.

No picture shows the goal. Where the puck comes to rest in the demonstration is all that tells it. Knows nothing of the
physics (`arm`) and of drawing (`camera`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from gymnasium import spaces
from jaxtyping import Float64, UInt8

from metalearn.data.episode import Array
from metalearn.data.spec import Spec
from metalearn.tasks.envs.metaworld.arm import HAND_HIGH, HAND_LOW, RATE_HZ
from metalearn.tasks.envs.metaworld.camera import SIZE, open_camera
from metalearn.tasks.envs.metaworld.push_and_pick import PuckVectorEnv, Push
from metalearn.tasks.family import Scene

N_ARM = 4
"""Numbers of the arm: the place of the hand (3) and the opening of the gripper."""


@dataclass(frozen=True)
class PushPixels(Push):
    """push-v3 seen by a camera, 16 times a second: an action lasts five of Meta-World's steps."""

    name: str = "push-pixels"
    horizon: int = 40
    repeats: int = 5

    @property
    def spec(self) -> Spec:
        """Observation: `arm` `[4]`, and `camera` `[64, 64, 3]` as uint8. Action: 4 numbers."""
        low, high = np.hstack((HAND_LOW, 0.0)), np.hstack((HAND_HIGH, 1.0))
        return Spec(
            spaces.Dict(
                arm=spaces.Box(low.astype(np.float32), high.astype(np.float32)),
                camera=spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8),
            ),
            spaces.Box(-1.0, 1.0, (4,)),
            horizon=self.horizon,
            rate_hz=RATE_HZ / self.repeats,
            version=self.version,
        )

    def make_vec(self, indices: Sequence[int], scene: Scene = "trial") -> "PushPixelsVectorEnv":
        """The tasks `indices`, one row each. Raises InvalidConfig where nothing can be drawn."""
        goal = self.shown_goal if scene == "demo" else self.goal
        return PushPixelsVectorEnv(self, np.stack([goal(index) for index in indices]), scene)


@dataclass(frozen=True)
class PushPixelsStrict(PushPixels):
    """The tasks of `PushPixels` with half its radius."""

    name: str = "push-pixels-strict"
    radius: float = 0.025


class PushPixelsVectorEnv(PuckVectorEnv):
    """Goals in rows of their own; a row is drawn once per step, and not any more when it has ended."""

    def __init__(self, family: PushPixels, goals: Float64[np.ndarray, "b 3"], scene: Scene) -> None:
        self._camera = open_camera(family.task)
        super().__init__(family, goals, scene)
        self._pictures = np.zeros((len(goals), SIZE, SIZE, 3), np.uint8)
        self._drawn_at = np.full(len(goals), -1)

    def _start(self, row: int, rng: np.random.Generator) -> None:
        super()._start(row, rng)
        self._drawn_at[row] = -1

    def _observations(self) -> dict[str, Array]:
        rows = np.flatnonzero(self._drawn_at != self._steps)
        self._pictures[rows] = self._camera.shoot([self.arms.simulations[row] for row in rows])
        self._drawn_at[rows] = self._steps[rows]
        return {"arm": self.arms.frames[:, :N_ARM].astype(np.float32), "camera": self._pictures.copy()}

    def render_row(self, row: int) -> UInt8[np.ndarray, "h w 3"]:
        """The picture that is observed, without the goal."""
        return self._pictures[row].copy()
