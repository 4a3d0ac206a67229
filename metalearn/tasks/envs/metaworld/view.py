"""Pictures of an arm at its table: MuJoCo's, where an off-screen OpenGL was chosen, else a drawing.

Which one is decided by `MUJOCO_GL` (`egl`, `osmesa`, `glfw`) as MuJoCo reads it; unset, it needs no OpenGL.
"""

import os
import warnings
from typing import Any, Protocol, runtime_checkable

import mujoco
import numpy as np
from jaxtyping import Float64, UInt8
from PIL import Image, ImageDraw

from metalearn.tasks.envs.metaworld.arm import Arms, Table

WIDTH, HEIGHT = 480, 360

_PIXELS_PER_METRE = 400
_TABLE, _INK, _HAND, _PUCK, _GOAL = "#f2efe9", "#555555", "#2f6fb0", "#c0392b", "#27ae60"


@runtime_checkable
class View(Protocol):
    """Something that draws row `row` of some arms, and where its puck has to go."""

    def draw(self, arms: Arms, row: int, goal: Float64[np.ndarray, "3"], radius: float) -> UInt8[np.ndarray, "h w 3"]:
        """The picture."""
        ...

    def close(self) -> None:
        """Release what the pictures needed."""
        ...


def make_view(table: Table) -> View:
    """MuJoCo's picture if `MUJOCO_GL` asks for one and it can be made, else the drawing."""
    if os.environ.get("MUJOCO_GL"):
        try:
            return MuJoCoView(table)
        except Exception as error:  # each OpenGL platform fails in its own way
            warnings.warn(f"MuJoCo cannot render here, drawing instead: {error}", stacklevel=2)
    return Drawing()


class MuJoCoView:
    """The scene as MuJoCo renders it."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._renderer: Any = mujoco.Renderer(table.model, HEIGHT, WIDTH)
        self._camera = mujoco.MjvCamera()
        self._camera.lookat = [0.0, 0.72, 0.1]
        self._camera.distance, self._camera.azimuth, self._camera.elevation = 0.9, 215.0, -30.0

    def draw(self, arms: Arms, row: int, goal: Float64[np.ndarray, "3"], radius: float) -> UInt8[np.ndarray, "h w 3"]:
        """The arm from the front; the goal is the green ball (not to the scale of `radius`)."""
        data = arms.sims[row].data
        data.site_xpos[self._table.goal_site] = goal  # in the data: the model is shared
        self._renderer.update_scene(data, self._camera)
        picture: UInt8[np.ndarray, "h w 3"] = self._renderer.render()
        return picture

    def close(self) -> None:
        """Release the OpenGL context."""
        self._renderer.close()


class Drawing:
    """Hand, puck and goal from above and from the side."""

    def draw(self, arms: Arms, row: int, goal: Float64[np.ndarray, "3"], radius: float) -> UInt8[np.ndarray, "h w 3"]:
        """The picture of what is to be seen at table `row`."""
        return self.picture(arms.frames[row], goal, radius)

    def picture(
        self, frame: Float64[np.ndarray, "18"], goal: Float64[np.ndarray, "3"], radius: float
    ) -> UInt8[np.ndarray, "h w 3"]:
        """Left: from above (x to the right, y upwards). Right: from the side (y to the right, z upwards)."""
        image = Image.new("RGB", (WIDTH, HEIGHT), "white")
        _panel(image, "above", 0, (0, 1), (0.0, 0.7), frame, goal, radius)
        _panel(image, "side", WIDTH // 2, (1, 2), (0.7, 0.3), frame, goal, radius)
        return np.array(image)

    def close(self) -> None:
        """Nothing to release."""


def _panel(
    image: Image.Image,
    title: str,
    left: int,
    axes: tuple[int, int],
    centre: tuple[float, float],
    frame: Float64[np.ndarray, "18"],
    goal: Float64[np.ndarray, "3"],
    radius: float,
) -> None:
    pen = ImageDraw.Draw(image)
    pen.rectangle((left + 4, 4, left + WIDTH // 2 - 4, HEIGHT - 4), fill=_TABLE)
    pen.text((left + 12, 10), title, fill=_INK)

    def pixel(xyz: Float64[np.ndarray, "3"]) -> tuple[float, float]:
        across, up = xyz[axes[0]] - centre[0], xyz[axes[1]] - centre[1]
        return left + WIDTH // 4 + across * _PIXELS_PER_METRE, HEIGHT // 2 - up * _PIXELS_PER_METRE

    def circle(xyz: Float64[np.ndarray, "3"], metres: float, **colours: Any) -> None:
        pen.circle(pixel(xyz), metres * _PIXELS_PER_METRE, **colours)

    circle(goal, radius, outline=_GOAL, width=3)
    circle(goal, 0.005, fill=_GOAL)
    circle(frame[4:7], 0.02, fill=_PUCK)
    half = np.array([0.01 + 0.04 * frame[3], 0.01 + 0.04 * frame[3], 0.0])  # the fingers, as far as they are open
    pen.line([pixel(frame[:3] - half), pixel(frame[:3] + half)], fill=_HAND, width=3)
    circle(frame[:3], 0.01, fill=_HAND)
