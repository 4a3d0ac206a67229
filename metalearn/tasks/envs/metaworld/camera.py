"""A camera over Meta-World's table: small pictures of hand and puck, hundreds a second on one core without a GPU.

Drawn by OpenGL off screen (EGL). Time goes into triangles, so the arm behind the hand (66,000 of them) and wood's
texture are left out, and so are shadows, multisampling and the goal's marker. Knows no tasks, goals or episodes.
"""

import atexit
import copy
import importlib
import os
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

import mujoco
import numpy as np
from jaxtyping import UInt8

from metalearn.data.errors import InvalidConfig
from metalearn.tasks.envs.metaworld.arm import Simulation, load_task_model

SIZE = 64
"""Pixels per side."""

_SEEN = {"RetainingWall", "hand", "leftpad", "obj", "right_hand", "rightpad", "tablelink"}
_COLOURS = {"tablelink": (0.55, 0.42, 0.33, 1.0), "RetainingWall": (0.5, 0.5, 0.5, 1.0)}
_UNSEEN_MESH = "eGripperBase"
_UNUSED = ("SHADOW", "REFLECTION", "SKYBOX", "FOG", "HAZE")
_MOST_GEOMS = 100


class Camera:
    """Pictures of simulations of one task.

    Use it in the thread that made it, since OpenGL's context belongs to a thread.
    """

    def __init__(self, task: str) -> None:
        # Mesa would start a thread per core for 4,096 pixels; read when the context is made.
        os.environ.setdefault("LP_NUM_THREADS", "1")
        with suppress(ImportError):  # torch's compiler, where it is installed, crashes if it meets Mesa's LLVM first
            importlib.import_module("triton")
        from mujoco.egl import GLContext

        self._model = _plain(load_task_model(task).mj_model)
        self._gl = GLContext(SIZE, SIZE)
        self._gl.make_current()
        self._context = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_50.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        self._scene = mujoco.MjvScene(self._model, _MOST_GEOMS)
        for name in _UNUSED:
            self._scene.flags[getattr(mujoco.mjtRndFlag, f"mjRND_{name}")] = 0
        self._options, self._frame = mujoco.MjvOption(), mujoco.MjrRect(0, 0, SIZE, SIZE)
        self._place = mujoco.MjvCamera()
        self._place.lookat = [0.0, 0.73, 0.04]
        self._place.distance, self._place.azimuth, self._place.elevation = 0.85, 225.0, -50.0

    def shoot(self, simulations: Sequence[Simulation]) -> UInt8[np.ndarray, "b h w 3"]:
        """A picture of each simulation in its current state, from the front and above."""
        pictures = np.empty((len(simulations), SIZE, SIZE, 3), np.uint8)
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        self._gl.make_current()
        for picture, simulation in zip(pictures, simulations, strict=True):
            mujoco.mjv_updateScene(
                self._model, simulation.data, self._options, None, self._place, everything, self._scene
            )
            mujoco.mjr_render(self._frame, self._scene, self._context)
            mujoco.mjr_readPixels(picture, None, self._frame, self._context)
        return pictures[:, ::-1]  # OpenGL's first row is at the bottom

    def close(self) -> None:
        """Release OpenGL; the camera cannot be used any more."""
        self._context.free()
        self._gl.free()


@lru_cache
def open_camera(task: str) -> Camera:
    """The one camera of this process for `task` (`push-v3`).

    Raises:
        InvalidConfig: this machine cannot draw.
    """
    try:
        camera = Camera(task)
    except Exception as error:  # each way of lacking OpenGL fails in its own way
        expected = "OpenGL off screen by EGL (Debian: apt install libegl1 libgl1-mesa-dri libopengl0)"
        got = " ".join(str(error).split()) or type(error).__name__
        raise InvalidConfig(f"pictures of {task}: expected {expected}, got {got:.200}") from error
    atexit.register(camera.close)
    return camera


def _plain(model: Any) -> Any:
    """A copy of a model that is drawn fast. It may be used with the simulations of the model itself."""
    plain = copy.copy(model)
    plain.vis.quality.offsamples = plain.vis.quality.shadowsize = 0
    plain.vis.global_.fovy = 36.0
    plain.light_castshadow[:] = 0
    plain.site_rgba[:, 3] = 0  # the goal is one of them
    plain.geom_matid[:] = -1
    for i in range(plain.ngeom):
        body, mesh = plain.body(plain.geom_bodyid[i]).name, plain.geom_dataid[i]
        if body not in _SEEN or (mesh >= 0 and plain.mesh(mesh).name == _UNSEEN_MESH):
            plain.geom_rgba[i, 3] = 0
        elif body in _COLOURS:
            plain.geom_rgba[i] = _COLOURS[body]
    return plain
