"""ManiSkill's HDF5: `traj_N/` with `obs` (an array, or groups of them), `actions`, `rewards`, `success` and the like.

A JSON file of the same stem describes the episodes. Observations are there once more than actions.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metalearn.data.errors import InvalidData
from metalearn.data.formats.arrays import DATASET_LIMITS, Limits
from metalearn.data.formats.doubts import of_flags, of_names, of_numbered
from metalearn.data.formats.hdf5 import array, below, flags_of, is_dataset, is_group, numbered, opened
from metalearn.data.formats.naming import leaves
from metalearn.data.formats.selection import Recorded, Selection, Steps, gather
from metalearn.data.reading import own_file, read_json

if TYPE_CHECKING:
    import h5py

_OBS = "obs"
_REPLAY = (
    "observations; ManiSkill's demonstrations come without them and have to be replayed "
    "(`python -m mani_skill.trajectory.replay_trajectory --traj-path FILE -o state --save-traj`)"
)
Labels = Mapping[str, object]


def read_maniskill(
    path: str | Path,
    selection: Selection = Selection(),  # noqa: B008  frozen
    limits: Limits = DATASET_LIMITS,
) -> Recorded:
    """The trajectories of a ManiSkill file, in the order of their numbers; keys are paths such as `agent/qpos`.

    Raises:
        InvalidData: not such a file, or one without observations, naming file, field, expected and got.
        OSError: it cannot be read.
    """
    with opened(Path(path), limits) as file:
        return trajectories_of(file, selection)


def fits(file: "h5py.File") -> bool:
    """Whether a file has this layout."""
    return bool(numbered(file, "traj"))


def trajectories_of(file: "h5py.File", selection: Selection) -> Recorded:
    """The trajectories of an open file. Raises InvalidData."""
    names = numbered(file, "traj")
    if not names:
        raise InvalidData("file", "groups traj_0, traj_1, ...", "none")
    described = _described(Path(file.filename).with_suffix(".json"), selection)
    environment = described.get("env_info") if isinstance(described.get("env_info"), Mapping) else {}
    common = {name: value for name, value in leaves(environment) if _is_label(value)}
    episodes = _by_number(described.get("episodes"))

    def steps(index: int) -> Steps:
        own = dict(leaves(episodes.get(int(names[index].rpartition("_")[2]), {})))
        return _steps(file[names[index]], selection, common | {k: v for k, v in own.items() if _is_label(v)})

    return gather(selection, names, steps, rate_hz=_rate(common)).remarked(*of_numbered(file, "traj"))


def _described(path: Path, selection: Selection) -> Mapping[str, Any]:
    """The JSON file beside the HDF5 file; empty where there is none. Raises InvalidData."""
    if not path.exists():
        return {}
    found = read_json(own_file(path, path.parent, selection.links_under))
    if not isinstance(found, dict):
        raise InvalidData(f"{path}: file", "an object with env_info and episodes", type(found).__name__)
    return found


def _by_number(episodes: Any) -> dict[int, Any]:
    """What is said of each trajectory, by its number."""
    listing = episodes if isinstance(episodes, list) else []
    return {one["episode_id"]: one for one in listing if isinstance(one, dict) and type(one.get("episode_id")) is int}


def _is_label(value: object) -> bool:
    return isinstance(value, str | int | float)


def _steps(trajectory: "h5py.Group", selection: Selection, labels: Labels) -> Steps:
    seen = trajectory.get(_OBS) if is_group(trajectory) else None
    known = [_OBS] if is_dataset(seen) else below(seen) if is_group(seen) else []
    if not known:
        raise InvalidData(_OBS, _REPLAY, "none")
    wanted = selection.keys_among(known, tuple(known))
    if not selection.observations and len(known) > 1 and not selection.by_name:
        raise InvalidData("observations", f"the keys to use, in order: some of {', '.join(known)}", "none")
    terminated = array(trajectory, "terminated") if "terminated" in trajectory else np.zeros(0)
    return Steps(
        observations={key: array(trajectory if key == _OBS and is_dataset(seen) else seen, key) for key in wanted},
        actions=array(trajectory, selection.actions or "actions"),
        rewards=array(trajectory, "rewards") if "rewards" in trajectory else None,
        terminated=terminated.reshape(-1)[-1] if terminated.size else None,
        flags=_flags(trajectory, selection, labels),
        remarks=(
            *of_names(trajectory, ("rewards",)),
            *of_flags((*trajectory, *trajectory.attrs, *labels), selection.unasked_flags),
        ),
        labels=labels,
    )


def _flags(trajectory: "h5py.Group", selection: Selection, labels: Labels) -> dict[str, Any]:
    """The flags of the trajectory, or what the JSON file says of it."""
    said = {key: np.atleast_1d(np.asarray(labels[key])) for key in selection.flag_keys if key in labels}
    return said | flags_of([trajectory], selection.flag_keys)


def _rate(common: Labels) -> object:
    """Of the simulation's control, in Hz, where the file says it."""
    found = (value for name, value in common.items() if name.rpartition("/")[2] == "control_freq")
    return next(found, None)
