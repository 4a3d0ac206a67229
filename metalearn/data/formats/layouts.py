"""Files whose suffix does not say the format: what is inside decides which reader is theirs.

`LAYOUTS` lists those of HDF5. Does not know any of them further.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from metalearn.data.errors import InvalidData
from metalearn.data.formats import aloha, d4rl, maniskill, rllib, robomimic
from metalearn.data.formats.arrays import DATASET_LIMITS, Limits
from metalearn.data.formats.files import decode_json, read_file
from metalearn.data.formats.hdf5 import opened
from metalearn.data.formats.selection import Recorded, Selection

if TYPE_CHECKING:
    import h5py


@dataclass(frozen=True)
class Layout:
    """One way to arrange episodes in an HDF5 file: what tells it, whether a file has it, and its reader."""

    members: str
    fits: Callable[["h5py.File"], bool]
    read: Callable[["h5py.File", Selection], Recorded]


LAYOUTS = {
    "robomimic": Layout("demo_0", robomimic.fits, robomimic.demos_of),
    "maniskill": Layout("traj_0", maniskill.fits, maniskill.trajectories_of),
    "d4rl": Layout("observations and terminals", d4rl.fits, d4rl.episodes_of),
    "aloha": Layout("observations/qpos and action", aloha.fits, aloha.episode_of),
}


def read_hdf5(
    path: str | Path,
    selection: Selection = Selection(),  # noqa: B008  frozen
    limits: Limits = DATASET_LIMITS,
) -> Recorded:
    """The episodes of an HDF5 file, in whichever layout of `LAYOUTS` it has.

    Raises:
        InvalidData: no layout that is known, or an episode that cannot be used, naming file, field, expected and got.
        OSError: it cannot be read.
    """
    with opened(Path(path), limits) as file:
        for layout in LAYOUTS.values():
            if layout.fits(file):
                return layout.read(file, selection)
        known = "; ".join(f"{name} with {layout.members}" for name, layout in LAYOUTS.items())
        there = ", ".join(sorted(file)[:10]) or "nothing"
        raise InvalidData("layout", f"one of {known}", there[:200])


def read_json_file(
    path: str | Path,
    selection: Selection = Selection(),  # noqa: B008  frozen
    limits: Limits = Limits(),  # noqa: B008  frozen
) -> Recorded:
    """The episodes of a JSON file: RLlib's lines of batches, or a request body. Raises InvalidData, OSError."""
    if rllib.fits(Path(path)):
        return rllib.read_rllib(path, selection, limits)
    return read_file(path, selection, limits, decode=decode_json)
