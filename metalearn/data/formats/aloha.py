"""ALOHA's HDF5: a file per episode with `observations/qpos`, `observations/qvel` and `action`, alone or in a folder.

Each step is an observation and the action that followed it, so the last action has no observation after it and is
lost. Pictures, `observations/images/CAMERA`, are pixels or rows of JPEG.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from metalearn.data.episode import Array
from metalearn.data.errors import InvalidData
from metalearn.data.formats.arrays import DATASET_LIMITS, Limits
from metalearn.data.formats.doubts import of_flags
from metalearn.data.formats.hdf5 import (
    array,
    below,
    flags_of,
    is_dataset,
    is_group,
    opened,
    opened_part,
    rows_of_bytes,
)
from metalearn.data.formats.images import pictures
from metalearn.data.formats.selection import Recorded, Selection, Steps, gather
from metalearn.data.reading import own_file

if TYPE_CHECKING:
    import h5py

_STATE, _IMAGES = "qpos", "images/"
_FILE = re.compile(r"episode_([0-9]{1,9})\.(hdf5|h5)")


def read_aloha(
    path: str | Path,
    selection: Selection = Selection(),  # noqa: B008  frozen
    limits: Limits = DATASET_LIMITS,
) -> Recorded:
    """The episode in a file, or those in the files `episode_N.hdf5` of a folder, in the order of their numbers.

    Raises:
        InvalidData: not such a file, or an episode that cannot be used, naming file, field, expected and got.
        OSError: it cannot be read.
    """
    path = Path(path)
    if not path.is_dir():
        with opened(path, limits) as file:
            return episode_of(file, selection, limits)
    files = sorted((one for one in path.iterdir() if _FILE.fullmatch(one.name)), key=_number)
    if not files:
        raise InvalidData(f"{path}: files", "episode_0.hdf5, episode_1.hdf5, ...", "none")

    def steps(index: int) -> Steps:
        with opened_part(own_file(files[index], path, selection.links_under), limits) as file:
            return _steps(file, selection, limits)

    try:
        return gather(selection, [one.name for one in files], steps)
    except InvalidData as error:
        raise error.in_file(path) from error


def fits(file: "h5py.File") -> bool:
    """Whether a file has this layout."""
    return is_group(file.get("observations")) and is_dataset(file.get("action"))


def episode_of(file: "h5py.File", selection: Selection, limits: Limits = DATASET_LIMITS) -> Recorded:
    """The one episode of an open file. Raises InvalidData."""
    return gather(selection, [""], lambda _: _steps(file, selection, limits))


def _steps(file: "h5py.File", selection: Selection, limits: Limits) -> Steps:
    seen = file.get("observations")
    if not is_group(seen):
        raise InvalidData("observations", f"a group with {_STATE}", "none")
    wanted = selection.keys_among(below(seen), (_STATE,))
    return Steps(
        observations={key: _seen(seen, key, limits) for key in wanted},
        actions=array(file, selection.actions or "action"),
        flags=flags_of([file], selection.flag_keys),
        remarks=tuple(of_flags((*file, *file.attrs), selection.unasked_flags)),
        labels={key: file.attrs[key] for key in selection.task_keys if key in file.attrs},
    )


def _seen(seen: "h5py.Group", key: str, limits: Limits) -> Array:
    """Numbers, or the pixels of pictures that are compressed: rows of bytes, which ALOHA pads with zeros."""
    if not key.startswith(_IMAGES):
        return array(seen, key)
    found = rows_of_bytes(seen, key)
    return array(seen, key) if found is None else pictures(f"observations/{key}", found, limits.n_bytes)


def _number(path: Path) -> tuple[int, str]:
    match = _FILE.fullmatch(path.name)
    assert match is not None  # such are the files that are sorted
    return int(match[1]), path.name
