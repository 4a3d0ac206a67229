"""Reach as a camera over the table sees it: the tasks of `reach-m2`, observed in pictures alone.

The camera is fixed, as one over a table is, so the robot is in the picture and nobody says where; `reach-m2` hands over
places relative to the robot. Knows how the scene looks; physics, tasks and bound are those of `reach`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from jaxtyping import Float32, Shaped, UInt8

from metalearn.data.episode import Array, Episode
from metalearn.data.spec import Spec
from metalearn.tasks.envs.reach import HORIZON, Reach, ReachVectorEnv
from metalearn.tasks.family import Scene
from metalearn.tasks.rendering import blend_discs

SIZE = 64  # pixels per side
REACH = 1.1  # the camera sees the plane from -REACH to REACH; the robot's middle stays within 1
OBJECT_RADIUS, ROBOT_RADIUS = 0.08, 0.06
TABLE = (26, 28, 32)
ROBOT = (255, 255, 255)
NO_OBJECT = 150  # of its darkest channel every object has less


@dataclass(frozen=True)
class ReachPixels(Reach):
    """Reach in pictures. An object is known by its colour, which its slot decides; the robot is the white disc."""

    @property
    def spec(self) -> Spec:
        """Observation: a picture `[64, 64, 3]`, red, green and blue as uint8. Action: the velocity, 2 numbers."""
        return Spec(
            spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8),
            spaces.Box(-1.0, 1.0, (2,), np.float32),
            HORIZON,
            rate_hz=10.0,
            version=self.version,
        )

    def make_vec(self, indices: Sequence[int], scene: Scene = "trial") -> "ReachPixelsVectorEnv":
        """The tasks `indices`, stepped and drawn together in numpy."""
        return ReachPixelsVectorEnv(self, indices, scene)

    def achieved_goal(self, observations: Shaped[np.ndarray, "n *o"]) -> Float32[np.ndarray, "n 2"]:
        """Where the robot is seen: the middle of what is white; of the pixels at its edge as much as is."""
        white = np.clip(observations.min(-1).astype(np.float32) - NO_OBJECT, 0, None)
        lines = np.arange(SIZE)
        row, column = ((white.sum(axis) * lines).sum(-1) / white.sum((1, 2)).clip(1) for axis in (2, 1))
        return np.stack([column + 0.5, SIZE - 0.5 - row], -1).astype(np.float32) * (2 * REACH / SIZE) - REACH

    def draw(self, axes: Any, episode: Episode, index: int) -> None:
        """Draw an episode into matplotlib axes as one picture of long exposure: the robot leaves a white trail."""
        axes.imshow(episode.observations.max(0))
        axes.set(xticks=[], yticks=[])


class ReachPixelsVectorEnv(ReachVectorEnv):
    """b reach tasks in lockstep, seen by a camera. Objects stay where they are, so a step draws the robot alone."""

    _tables: UInt8[np.ndarray, "b h w 3"] | None = None

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Draw a layout for every row."""
        self._tables = None
        return super().reset(seed=seed, options=options)

    def render_row(self, row: int) -> UInt8[np.ndarray, "h w 3"]:
        """What is observed; the target looks like any other object."""
        return self._observe()[row]

    def _observe(self) -> UInt8[np.ndarray, "b h w 3"]:
        if self._tables is None:
            self._tables = self._lay_tables()
        pictures = self._tables.copy()
        blend_discs(pictures, _pixels(self.positions), ROBOT_RADIUS / REACH * SIZE / 2, ROBOT)
        return pictures

    def _lay_tables(self) -> UInt8[np.ndarray, "b h w 3"]:
        """The scenes without the robots, in which a later slot lies on an earlier one."""
        tables = np.full((self.num_envs, SIZE, SIZE, 3), TABLE, np.uint8)
        _, _, colours = self.family.roles(self.colours[0], 0)
        for slot, colour in enumerate(255 * colours):
            blend_discs(tables, _pixels(self.objects[:, slot]), OBJECT_RADIUS / REACH * SIZE / 2, colour)
        return tables


def _pixels(places: Array) -> Array:
    """Places `[b, 2]` in the plane, y upwards, as rows and columns of pixels, from the middle of the first."""
    return (places * (1, -1) + REACH)[:, ::-1] * (SIZE / (2 * REACH)) - 0.5


def reach_pixels() -> ReachPixels:
    """Four objects, two candidates: task by task those of `reach-m2`."""
    return ReachPixels("reach-pixels", n_objects=4, n_candidates=2)
