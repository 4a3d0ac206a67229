"""Tests of families that MuJoCo draws: skipped, with the reason, where it cannot draw."""

import pytest

from metalearn.data.errors import InvalidConfig

DRAWN = {"push-pixels", "push-pixels-strict"}


def skip_unless_drawn(family: str) -> None:
    """Skip the test if `family` is drawn by OpenGL and there is none."""
    if family not in DRAWN:
        return
    from metalearn.tasks.envs.metaworld.camera import open_camera

    try:
        open_camera("push-v3")
    except InvalidConfig as error:
        pytest.skip(str(error))
