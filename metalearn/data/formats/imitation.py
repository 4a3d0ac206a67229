"""imitation's trajectories and transitions as .npz, and its trajectories as a folder of HuggingFace's `datasets`.

A trajectory has t + 1 observations `obs` for t actions `acts`. Its `infos` are objects, and are never unpickled.
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metalearn.data.episode import Array
from metalearn.data.errors import InvalidBytes, InvalidData, TooLarge
from metalearn.data.formats.arrays import DATASET_LIMITS, Limits, Unread, read_npz
from metalearn.data.formats.arrow import numbers_of, reason
from metalearn.data.formats.doubts import of_names
from metalearn.data.formats.files import read_file, to_recorded
from metalearn.data.formats.selection import Recorded, Selection, Steps, gather
from metalearn.data.formats.transitions import CUT, NO_END, ends_of, jumps, spans
from metalearn.data.reading import own_file, read_json, refuse_pointer_at

if TYPE_CHECKING:
    import pyarrow as pa

_STATE = "state.json"
_SHARD = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*\.arrow")
_READ = ("obs", "acts", "terminal", "rews")


def read_imitation(
    path: str | Path,
    selection: Selection = Selection(),  # noqa: B008  frozen
    limits: Limits = DATASET_LIMITS,
) -> Recorded:
    """The trajectories in an .npz or in a folder that `datasets` saved, or the transitions in an .npz.

    Raises:
        InvalidData: not such a file, or an episode that cannot be used, naming file, field, expected and got.
        OSError: it cannot be read.
    """
    if not Path(path).is_dir():
        return read_file(path, selection, limits, decode=read_npz, convert=of_arrays)
    try:
        return _of_folder(Path(path), selection, limits)
    except InvalidData as error:
        raise error.in_file(path) from error


def of_npz(value: Any, selection: Selection) -> Recorded:
    """The episodes in any .npz: those of imitation, or ones by the names of a request body. Raises InvalidData."""
    return of_arrays(value, selection) if fits(value) else to_recorded(value, selection)


def fits(value: Mapping[str, Any]) -> bool:
    """Whether these are imitation's arrays."""
    return "obs" in value and "acts" in value


def of_arrays(value: Mapping[str, Any], selection: Selection) -> Recorded:
    """The episodes in imitation's arrays. Raises InvalidData."""
    if "indices" not in value and "next_obs" not in value:
        known = ", ".join(sorted(value)[:10]) or "nothing"
        raise InvalidData("arrays", "obs, acts and indices of trajectories, or next_obs of transitions", known[:200])
    _check(selection)
    found = (_of_trajectories if "indices" in value else _of_transitions)(value, selection)
    return found.remarked(*of_names(value, ("rews", "terminal" if "indices" in value else "dones")))


def _check(selection: Selection) -> None:
    """Raise InvalidData for a choice among what is there only once."""
    for field, chosen, only in (
        ("observations", selection.observations, "obs"),
        ("actions", selection.actions, "acts"),
    ):
        if chosen not in {(), None, only, (only,)}:
            raise InvalidData(field, f"{only}, which is all that there is", ascii(chosen)[:80])


def _of_trajectories(value: Mapping[str, Any], selection: Selection) -> Recorded:
    actions, observations = _array(value, "acts"), _array(value, "obs")
    starts = _indices(_array(value, "indices"), len(actions))
    n = len(starts) + 1
    _expect("obs", observations, len(actions) + n, f"one for each of {len(actions)} acts, and one for each of {n} ends")
    ended = np.zeros(0) if "terminal" not in value else _array(value, "terminal")
    if len(ended) not in {0, n}:
        raise InvalidData("terminal", f"{n} flags, one for each trajectory", str(len(ended)))
    rewards = None if "rews" not in value else _array(value, "rews")
    if rewards is not None:
        _expect("rews", rewards, len(actions), "as acts")
    acted, seen = np.split(actions, starts), np.split(observations, starts + np.arange(n - 1) + 1)
    earned = None if rewards is None else np.split(rewards, starts)

    def steps(index: int) -> Steps:
        return Steps(
            observations={"obs": seen[index]},
            actions=acted[index],
            rewards=None if earned is None else earned[index],
            terminated=ended[index] if len(ended) else None,
        )

    return gather(selection, [f"trajectory {i}" for i in range(n)], steps)


def _of_transitions(value: Mapping[str, Any], selection: Selection) -> Recorded:
    actions, observations, following = (_array(value, name) for name in ("acts", "obs", "next_obs"))
    dones = ends_of("dones", _array(value, "dones")) if "dones" in value else np.zeros(len(actions), bool)
    rewards = None if "rews" not in value else _array(value, "rews")
    for name, one in (("obs", observations), ("next_obs", following), ("dones", dones), ("rews", rewards)):
        if one is not None:
            _expect(name, one, len(actions), "as acts")
    if following.shape != observations.shape:
        raise InvalidData("next_obs", f"shape {list(observations.shape)}, as obs", f"{list(following.shape)}")
    parts = spans(dones | jumps(observations, following))

    def steps(index: int) -> Steps:
        rows = parts[index]
        ended = bool(dones[rows][-1])
        return Steps(
            observations={"obs": np.concatenate([observations[rows], following[rows][-1:]])},
            actions=actions[rows],
            rewards=None if rewards is None else rewards[rows],
            terminated=ended,
            remarks=() if ended else (NO_END,) if index == len(parts) - 1 else (CUT,),
        )

    return gather(selection, [f"episode {i}" for i in range(len(parts))], steps)


def _array(value: Mapping[str, Any], name: str) -> Array:
    found = value.get(name)
    if isinstance(found, np.ndarray) and found.dtype.kind in "biuf" and found.ndim:
        return found
    got = found.what if isinstance(found, Unread) else "none" if found is None else type(found).__name__
    raise InvalidData(name, "an array of numbers", got)


def _expect(name: str, array: Array, n: int, why: str) -> None:
    if len(array) != n:
        raise InvalidData(name, f"{n} of them ({why})", str(len(array)))


def _indices(given: Array, n_steps: int) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """Where every trajectory but the first one starts; numpy writes none of them as floats. Raises InvalidData."""
    starts = given.reshape(-1)
    whole = np.isfinite(starts).all() and (starts == np.floor(starts)).all()
    bounds = np.concatenate([[0], starts, [n_steps]])
    if not whole or (np.diff(bounds.astype(np.float64)) <= 0).any():
        raise InvalidData("indices", f"whole numbers that grow, from 1 to {n_steps - 1}", str(starts[:10].tolist()))
    return starts.astype(np.int64)


def _of_folder(folder: Path, selection: Selection, limits: Limits) -> Recorded:
    """The rows of a table that `datasets.Dataset.save_to_disk` wrote, of which each is a trajectory."""
    _check(selection)
    table = _table(
        [own_file(folder / name, folder, selection.links_under) for name in _shards(folder, selection)], limits
    )
    for name in _READ[:2]:
        if name not in table.column_names:
            raise InvalidData(name, "a column", f"none (there is {', '.join(table.column_names) or 'nothing'})")
    names = [f"trajectory {i}" for i in range(table.num_rows)]
    return gather(selection, names, partial(_row, table))


def _shards(folder: Path, selection: Selection) -> Sequence[str]:
    """The names of the files that `state.json` lists, as far as they can be names of files beside it."""
    state = read_json(own_file(folder / _STATE, folder, selection.links_under))
    listed = state.get("_data_files") if isinstance(state, dict) else None
    found = [
        one.get("filename") if isinstance(one, dict) else None for one in (listed if isinstance(listed, list) else ())
    ]
    names = [name for name in found if isinstance(name, str) and _SHARD.fullmatch(name)]
    if not names or len(names) < len(found):
        raise InvalidData(
            f"{_STATE}: _data_files",
            "a list of objects with filename, as data-00000-of-00001.arrow",
            ascii(listed)[:80],
        )
    return names


def _table(files: Sequence[Path], limits: Limits) -> "pa.Table":
    """The columns that are read, of all files. Raises InvalidData."""
    import pyarrow as pa

    batches, n_bytes = [], 0
    for path in files:
        try:
            refuse_pointer_at(path)
            with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as stream:
                for batch in stream:
                    own = batch.select([name for name in _READ if name in batch.schema.names])
                    own.validate(full=True)  # so that damage is found before anything is read by it
                    if (n_bytes := n_bytes + own.nbytes) > limits.n_bytes:
                        raise TooLarge("rows", f"at most {limits.n_bytes} bytes", "more")
                    batches.append(own)
        except InvalidData as error:
            raise error.in_file(path.name) from error
        except FileNotFoundError as error:
            raise InvalidData(path.name, f"a file, which {_STATE} lists", "none") from error
        except (pa.ArrowException, OSError, KeyError, ValueError, OverflowError, MemoryError) as error:
            raise InvalidBytes(f"{path.name}: file", "a stream of Arrow", reason(error)) from error
    if not batches:
        raise InvalidData("rows", "at least one trajectory", "none")
    if any(one.schema != batches[0].schema for one in batches):
        raise InvalidData("columns", "the same ones in all files", "others")
    return pa.Table.from_batches(batches)


def _row(table: "pa.Table", index: int) -> Steps:
    """One trajectory. Raises InvalidData."""

    def values(name: str) -> Array:
        found = table.column(name)[index]
        if not found.is_valid or not hasattr(found, "values"):
            raise InvalidData(
                name, "a list of a number or a list per step", "null" if not found.is_valid else str(found.type)
            )
        return numbers_of(found.values, name)

    observations, actions = values("obs"), values("acts")
    if len(observations) != len(actions) + 1:
        raise InvalidData("obs", f"{len(actions) + 1} of them for {len(actions)} acts", str(len(observations)))
    rewards = "rews" in table.column_names and table.column("rews")[index].is_valid
    return Steps(
        observations={"obs": observations},
        actions=actions,
        rewards=values("rews") if rewards else None,
        terminated=table.column("terminal")[index].as_py() if "terminal" in table.column_names else None,
    )
