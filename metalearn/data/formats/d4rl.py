"""D4RL's HDF5: one flat array of `observations`, `actions`, `rewards`, `terminals`, `timeouts` for all episodes.

An episode ends where a terminal or a timeout is true. `next_observations`, `infos/*` and `metadata/*` may be there.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from metalearn.data.episode import Array
from metalearn.data.errors import InvalidData
from metalearn.data.formats.arrays import DATASET_LIMITS, Limits
from metalearn.data.formats.doubts import listed, of_flags, of_names, of_next_observations
from metalearn.data.formats.hdf5 import array, below, flags_of, is_dataset, opened
from metalearn.data.formats.selection import Recorded, Selection, Steps, gather
from metalearn.data.formats.transitions import NO_END, ends_of, spans
from metalearn.data.quality import QualityWarning

if TYPE_CHECKING:
    import h5py

_SEEN, _NEXT = "observations", "next_observations"
_ENDS = ("terminals", "timeouts")


def read_d4rl(
    path: str | Path,
    selection: Selection = Selection(),  # noqa: B008  frozen
    limits: Limits = DATASET_LIMITS,
) -> Recorded:
    """The episodes of a D4RL file; observations are `observations` unless said otherwise, as with `infos/qpos`.

    Raises:
        InvalidData: not such a file, or an episode that cannot be used, naming file, field, expected and got.
        OSError: it cannot be read.
    """
    with opened(Path(path), limits) as file:
        return episodes_of(file, selection)


def fits(file: "h5py.File") -> bool:
    """Whether a file has this layout."""
    return is_dataset(file.get(_SEEN)) and any(is_dataset(file.get(name)) for name in _ENDS)


def episodes_of(file: "h5py.File", selection: Selection) -> Recorded:
    """The episodes of an open file. Raises InvalidData."""
    if not any(name in file for name in _ENDS):
        raise InvalidData("terminals", "an array of what ended an episode (or timeouts)", "none")
    columns = _columns(file, selection)
    n_steps = len(np.atleast_1d(columns["actions"]))
    for name, values in columns.items():
        if values.ndim == 0 or len(values) != n_steps:
            raise InvalidData(name, f"{n_steps} steps, as actions", f"shape {list(values.shape)}")
    terminals, timeouts = (
        ends_of(name, columns[name]) if name in columns else np.zeros(n_steps, bool) for name in _ENDS
    )
    parts = spans(terminals | timeouts)

    def steps(index: int) -> Steps:
        rows = parts[index]
        own = {name: values[rows] for name, values in columns.items()}
        observations, remarks = _observations(own, selection)
        if not (terminals | timeouts)[rows][-1]:
            remarks.append(NO_END)
        flags = {key: own[_flag(own, key)] for key in selection.flag_keys if _flag(own, key) in own}
        return Steps(
            observations=observations,
            actions=own["actions"],
            rewards=own.get("rewards"),
            terminated=bool(terminals[rows][-1]),
            flags=flags or flags_of([file], selection.flag_keys),
            remarks=tuple(remarks),
            labels={key: own[_flag(own, key)] for key in selection.task_keys if _flag(own, key) in own},
        )

    optional, named = ("rewards", *_ENDS, _NEXT), [name.removeprefix("infos/") for name in below(file)]
    doubts = [*of_names(file, optional, (_SEEN, "actions")), *of_flags((*named, *file.attrs), selection.unasked_flags)]
    return gather(selection, [f"episode {i}" for i in range(len(parts))], steps).remarked(*doubts)


def _columns(file: "h5py.File", selection: Selection) -> dict[str, Array]:
    """What is read of the file, by the names that it has there; the actions are called so. Raises InvalidData."""
    known = [key for key in below(file) if not key.startswith("metadata/")]
    wanted = selection.keys_among(known, (_SEEN,))
    extra = [name for key in (*selection.flag_keys, *selection.task_keys) for name in (key, f"infos/{key}")]
    useful = [name for name in ("rewards", *_ENDS, *([_NEXT] if _SEEN in wanted else []), *extra) if name in known]
    columns = {"actions": array(file, selection.actions or "actions")}
    return columns | {name: array(file, name) for name in (*wanted, *useful) if name not in columns}


def _flag(columns: dict[str, Array], key: str) -> str:
    return key if key in columns else f"infos/{key}"


def _observations(own: dict[str, Array], selection: Selection) -> tuple[dict[str, Array], list[QualityWarning]]:
    """The observations of an episode, with the one after its last step if the file has it."""
    seen = {key: own[key] for key in selection.observations or (_SEEN,)}
    if _NEXT not in own:
        return seen, []
    remarks = of_next_observations({_NEXT: seen[_SEEN]}, {_NEXT: own[_NEXT]})
    if others := [key for key in seen if key != _SEEN]:
        message = f"the file has no {listed(others)} after a step, and its next_observations are not used"
        return seen, [*remarks, QualityWarning("next-observation-missing", message)]
    if own[_NEXT].shape != seen[_SEEN].shape:
        raise InvalidData(_NEXT, f"shape {list(seen[_SEEN].shape)}, as observations", f"{list(own[_NEXT].shape)}")
    return {_SEEN: np.concatenate([seen[_SEEN], own[_NEXT][-1:]])}, remarks
