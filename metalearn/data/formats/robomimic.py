"""robomimic's HDF5: `data/demo_N/` with `obs/KEY`, `next_obs/KEY`, `actions`, `rewards`, `dones`, and `mask/KEY`.

The demos may as well be at the root of the file. Its rewards are sparse, so a positive one is a success unless said
otherwise.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from metalearn.data.errors import InvalidData
from metalearn.data.formats.arrays import DATASET_LIMITS, Limits
from metalearn.data.formats.doubts import listed, of_flags, of_names, of_next_observations, of_numbered
from metalearn.data.formats.hdf5 import array, flags_of, is_group, numbered, opened, text
from metalearn.data.formats.selection import Recorded, Selection, Steps, gather
from metalearn.data.quality import QualityWarning
from metalearn.data.reading import parse_json

if TYPE_CHECKING:
    import h5py


def read_robomimic(
    path: str | Path,
    selection: Selection = Selection(),  # noqa: B008  frozen
    limits: Limits = DATASET_LIMITS,
) -> Recorded:
    """The demonstrations of a robomimic file, in the order of their numbers.

    With `next_obs` nothing is lost; without it the action after the last observation is.

    Raises:
        InvalidData: not such a file, or a demo that cannot be used, naming file, field, expected and got.
        OSError: it cannot be read.
    """
    with opened(Path(path), limits) as file:
        return demos_of(file, selection)


def fits(file: "h5py.File") -> bool:
    """Whether a file has this layout."""
    return bool(numbered(file.get("data"), "demo") or numbered(file, "demo"))


def demos_of(file: "h5py.File", selection: Selection) -> Recorded:
    """The demonstrations of an open file. Raises InvalidData."""
    data = file["data"] if numbered(file.get("data"), "demo") else file
    names = numbered(data, "demo")
    if not names:
        raise InvalidData("data", "groups demo_0, demo_1, ...", "none")
    found = gather(
        selection,
        names,
        lambda index: _steps(data[names[index]], selection),
        rate_hz=_rate(data),
        usual_success="reward",
        subset=lambda key: _subset(file, key, names),
    )
    return found.remarked(*of_numbered(data, "demo"))


def _subset(file: "h5py.File", key: str, names: Sequence[str]) -> list[int]:
    """The numbers of the demos that a filter key lists, in the order of the file. Raises InvalidData."""
    masks = file.get("mask")
    known = sorted(masks) if is_group(masks) else []
    if key not in known:
        listing = ", ".join(known)
        expected = f"one of {listing}" if known else "none, since the file has no filter keys mask/KEY"
        raise InvalidData("filter", expected, ascii(key)[:80])
    wanted = set(text(masks, key))
    if unknown := sorted(wanted - set(names)):
        raise InvalidData(f"mask/{key}", "demos of the file", ascii(unknown[0])[:80])
    return [i for i, name in enumerate(names) if name in wanted]


def _steps(demo: "h5py.Group", selection: Selection) -> Steps:
    seen, following = (demo.get("obs"), demo.get("next_obs")) if is_group(demo) else (None, None)
    if seen is None or not is_group(seen):
        raise InvalidData("obs", "a group of observations (robomimic's dataset_states_to_obs makes it)", "none")
    wanted = selection.observations or selection.keys_among(tuple(seen), tuple(seen))
    for key in wanted:
        if key not in seen:
            raise InvalidData("observations", f"some of {', '.join(sorted(seen))}", key)
    observations = {key: array(seen, key) for key in wanted}
    later = following if following is not None and is_group(following) else {}
    after = {key: array(following, key) for key in wanted if key in later}
    remarks = [*of_next_observations(observations, after), *of_names(demo, ("rewards", "next_obs"))]
    remarks += of_flags((*demo, *demo.attrs), selection.unasked_flags)
    for key, one in after.items():
        if one.shape != observations[key].shape:
            shape = list(observations[key].shape)
            raise InvalidData(f"next_obs.{key}", f"shape {shape}, as obs.{key}", str(list(one.shape)))
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
        flags=flags_of([demo], selection.flag_keys),
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
        given = data.attrs["env_args"]
        return parse_json(given.encode() if isinstance(given, str) else bytes(given))["env_kwargs"]["control_freq"]
    except (KeyError, TypeError, ValueError):
        return None
