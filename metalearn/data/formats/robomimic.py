"""robomimic's HDF5: `data/demo_N/` with `obs/KEY`, `next_obs/KEY`, `actions`, `rewards`, `dones`.

Its rewards are sparse, so a positive one is a success unless said otherwise.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metalearn.data.errors import InvalidData
from metalearn.data.formats.arrays import Limits
from metalearn.data.formats.doubts import listed, of_names, of_next_observations
from metalearn.data.formats.hdf5 import array, opened
from metalearn.data.formats.selection import Recorded, Selection, Steps, gather
from metalearn.data.quality import QualityWarning
from metalearn.data.reading import parse_json

if TYPE_CHECKING:
    import h5py

_DEMO = re.compile(r"demo_([0-9]{1,9})")


def read_robomimic(
    path: str | Path,
    selection: Selection = Selection(),  # noqa: B008  frozen
    limits: Limits = Limits(n_bytes=16 * 1024**3),  # noqa: B008  frozen
) -> Recorded:
    """The demonstrations of a robomimic file, in the order of their numbers.

    With `next_obs` nothing is lost; without it the action after the last observation is.

    Raises:
        InvalidData: not such a file, or a demo that cannot be used, naming file, field, expected and got.
        OSError: it cannot be read.
    """
    with opened(Path(path), limits) as file:
        data = file.get("data")
        names = sorted((name for name in data if _DEMO.fullmatch(name)), key=_number) if _is_group(data) else []
        if not names:
            raise InvalidData("data", "groups demo_0, demo_1, ...", "none")
        return gather(
            selection,
            names,
            lambda index: _steps(data[names[index]], selection),
            rate_hz=_rate(data),
            usual_success="reward",
        )


def _steps(demo: "h5py.Group", selection: Selection) -> Steps:
    seen, following = demo.get("obs"), demo.get("next_obs")
    if not _is_group(demo) or not _is_group(seen):
        raise InvalidData("obs", "a group of observations (robomimic's dataset_states_to_obs makes it)", "none")
    wanted = selection.observations or tuple(seen)
    for key in wanted:
        if key not in seen:
            raise InvalidData("observations", f"some of {', '.join(sorted(seen))}", key)
    observations = {key: array(seen, key) for key in wanted}
    after = {key: array(following, key) for key in wanted if _is_group(following) and key in following}
    remarks = [*of_next_observations(observations, after), *of_names(demo, ("rewards", "next_obs"))]
    if set(after) == set(wanted):
        observations = {key: np.concatenate([now, after[key][-1:]]) for key, now in observations.items()}
    elif after:
        missing = listed([key for key in wanted if key not in after])
        remarks.append(QualityWarning("next-observation-missing", f"next_obs has no {missing}, and is not used"))
    dones = array(demo, "dones") if selection.success == "terminated" and "dones" in demo else None
    return Steps(
        observations=observations,
        actions=array(demo, selection.actions or "actions"),
        rewards=array(demo, "rewards") if "rewards" in demo else None,
        terminated=None if dones is None or not dones.size else dones[-1],
        flags={name: array(demo, name) for name in selection.flag_keys if name in demo},
        remarks=tuple(remarks),
        labels=_labels(demo, seen, selection),
    )


def _labels(demo: "h5py.Group", seen: "h5py.Group", selection: Selection) -> dict[str, object]:
    """What may say the task: attributes of the demo, its arrays, and its observations."""
    found: dict[str, object] = {}
    for key in selection.task_keys:
        holder = next((group for group in (demo, seen) if key in group), None)
        if key in demo.attrs:
            found[key] = demo.attrs[key]
        elif holder is not None:
            found[key] = array(holder, key)
    return found


def _rate(data: "h5py.Group") -> object:
    """Of the environment that it was recorded in, in Hz."""
    try:
        text = data.attrs["env_args"]
        return parse_json(text.encode() if isinstance(text, str) else bytes(text))["env_kwargs"]["control_freq"]
    except (KeyError, TypeError, ValueError):
        return None


def _number(name: str) -> int:
    return int(name.rpartition("_")[2])


def _is_group(item: Any) -> bool:
    return hasattr(item, "keys")
