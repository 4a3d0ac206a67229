"""Pictures of an arm at its table: rendered by MuJoCo if `MUJOCO_GL` is set, else drawn without OpenGL.

MuJoCo reads the same variable (`egl`, `osmesa`, `glfw`) and chooses its off-screen OpenGL by it.
"""

import os
import warnings
from typing import Any, Protocol, runtime_checkable

import mujoco
import numpy as np
from jaxtyping import Float64, UInt8
from PIL import Image, ImageDraw

from metalearn.tasks.envs.metaworld.arm import PuckArms, TaskModel

WIDTH, HEIGHT = 480, 360

_PIXELS_PER_METRE = 400
_TABLE, _INK, _HAND, _PUCK, _GOAL = "#f2efe9", "#555555", "#2f6fb0", "#c0392b", "#27ae60"


@runtime_checkable
class View(Protocol):
    """A way to draw one row of some arms together with its goal."""

    def draw(
        self, arms: PuckArms, row: int, goal: Float64[np.ndarray, "3"], radius: float
    ) -> UInt8[np.ndarray, "h w 3"]:
        """A picture of row `row`."""
        ...

    def close(self) -> None:
        """Release the resources of the pictures."""
        ...


def make_view(model: TaskModel) -> View:
    """A view by MuJoCo if `MUJOCO_GL` is set and rendering works, else a drawing."""
    if os.environ.get("MUJOCO_GL"):
        try:
            return MuJoCoView(model)
        except Exception as error:  # each OpenGL platform fails in its own way
            warnings.warn(f"MuJoCo cannot render here, drawing instead: {error}", stacklevel=2)
    return Drawing()


class MuJoCoView:
    """The scene, rendered by MuJoCo."""

    def __init__(self, model: TaskModel) -> None:
        self._model = model
        self._renderer: Any = mujoco.Renderer(model.mj_model, HEIGHT, WIDTH)
        self._camera = mujoco.MjvCamera()
        self._camera.lookat = [0.0, 0.72, 0.1]
        self._camera.distance, self._camera.azimuth, self._camera.elevation = 0.9, 215.0, -30.0

    def draw(
        self, arms: PuckArms, row: int, goal: Float64[np.ndarray, "3"], radius: float
    ) -> UInt8[np.ndarray, "h w 3"]:
        """The arm from the front; the goal is the green ball (not drawn to the scale of `radius`)."""
        data = arms.simulations[row].data
        data.site_xpos[self._model.goal_site] = goal  # in the data: the model is shared
        self._renderer.update_scene(data, self._camera)
        picture: UInt8[np.ndarray, "h w 3"] = self._renderer.render()
        return picture

    def close(self) -> None:
        """Release the OpenGL context."""
        self._renderer.close()


class Drawing:
    """Hand, puck and goal from above and from the side, drawn without OpenGL."""

    def draw(
        self, arms: PuckArms, row: int, goal: Float64[np.ndarray, "3"], radius: float
    ) -> UInt8[np.ndarray, "h w 3"]:
        """A picture of one row."""
        return draw_frame(arms.frames[row], goal, radius)

    def close(self) -> None:
        """Nothing to release."""


def draw_frame(
    frame: Float64[np.ndarray, "18"], goal: Float64[np.ndarray, "3"], radius: float
) -> UInt8[np.ndarray, "h w 3"]:
    """Left: from above (x to the right, y upwards). Right: from the side (y to the right, z upwards)."""
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    _panel(image, "above", 0, (0, 1), (0.0, 0.7), frame, goal, radius)
    _panel(image, "side", WIDTH // 2, (1, 2), (0.7, 0.3), frame, goal, radius)
    return np.array(image)


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
