"""LeRobot's low-dimensional datasets, v2 and v3: `meta/info.json` and Parquet files under `data/`. The home of pyarrow.

Each frame is an observation and the action that followed it, so the last action of an episode has no observation
after it and is lost. Videos are not read.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metalearn.data.episode import Array
from metalearn.data.errors import InvalidBytes, InvalidData, TooLarge
from metalearn.data.formats.arrays import Limits
from metalearn.data.formats.selection import SUCCESS_KEYS, Recorded, Selection, Steps, to_episode

if TYPE_CHECKING:
    import pyarrow as pa

_VERSIONS = ("v2.", "v3.")
_NUMBERS = frozenset(
    {
        "bool",
        *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)),
        "float16",
        "float32",
        "float64",
    }
)
_REWARD, _DONE = "next.reward", "next.done"
_STATE = "observation.state"


def read_lerobot(
    folder: str | Path,
    selection: Selection = Selection(),  # noqa: B008  frozen
    limits: Limits = Limits(n_bytes=16 * 1024**3),  # noqa: B008  frozen
) -> Recorded:
    """The episodes of a LeRobot dataset; observations are `observation.state` unless said otherwise.

    Raises:
        InvalidData: not such a dataset, or an episode that cannot be used, naming file, field, expected and got.
        OSError: it cannot be read.
    """
    folder = Path(folder)
    info = _info(folder / "meta" / "info.json")
    features = {name: one for name, one in info["features"].items() if _is_numeric(one)}
    columns = _columns(features, selection, folder)
    tables = [_read(path, columns, limits) for path in _files(folder)]
    frames = {name: np.concatenate([table[name] for table in tables]) for name in columns}
    index = frames["episode_index"].reshape(-1)
    numbers = np.unique(index)
    episodes = []
    for i in selection.pick(len(numbers)):
        rows = np.flatnonzero(index == numbers[i])
        rows = rows[np.argsort(frames["frame_index"].reshape(-1)[rows], kind="stable")]
        own = {name: frames[name][rows] for name in columns}
        try:
            episodes.append(to_episode(_steps(own, selection), selection))
        except InvalidData as error:
            raise error.within(f"episode {numbers[i]}").in_file(folder) from error
    return Recorded.of(episodes, info.get("fps"))


def _steps(frames: Mapping[str, Array], selection: Selection) -> Steps:
    order = frames["frame_index"].reshape(-1)
    if not np.array_equal(order, np.arange(len(order))):
        raise InvalidData("frame_index", f"0 to {len(order) - 1}, each once", "gaps or repetitions")
    keys = selection.observations or (_STATE,)
    dones = frames.get(_DONE)
    return Steps(
        observations={key: frames[key] for key in keys},
        actions=frames[selection.actions or "action"],
        rewards=frames.get(_REWARD),
        terminated=None if dones is None else dones[-1],
        flags={name: values for name, values in frames.items() if name in (*SUCCESS_KEYS, _rule_key(selection))},
    )


def _info(path: Path) -> dict[str, Any]:
    try:
        info = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InvalidBytes(f"{path}: file", "JSON", str(error) or type(error).__name__) from error
    version = info.get("codebase_version") if isinstance(info, dict) else None
    if not isinstance(version, str) or not version.startswith(_VERSIONS):
        raise InvalidData(f"{path}: codebase_version", "v2.x or v3.x", ascii(version)[:80])
    if not isinstance(info.get("features"), dict):
        raise InvalidData(f"{path}: features", "an object", type(info.get("features")).__name__)
    return info


def _is_numeric(feature: Any) -> bool:
    return isinstance(feature, dict) and feature.get("dtype") in _NUMBERS


def _columns(features: Mapping[str, Any], selection: Selection, folder: Path) -> list[str]:
    """What to read. Raises InvalidData."""
    needed = {"observations": selection.observations or (_STATE,), "actions": (selection.actions or "action",)}
    for field, keys in needed.items():
        for key in keys:
            if key not in features:
                known = ", ".join(sorted(features)) or "none"
                raise InvalidData(f"{folder}: {field}", f"numeric features, of {known}", key)
    usual = (_REWARD, _DONE, *SUCCESS_KEYS, _rule_key(selection))
    more = [name for name in usual if name in features]
    return list(dict.fromkeys(["episode_index", "frame_index", *needed["observations"], *needed["actions"], *more]))


def _rule_key(selection: Selection) -> str:
    return selection.success.removeprefix("any:")


def _files(folder: Path) -> Sequence[Path]:
    """The data files. The template of their names in info.json is untrusted, and not needed."""
    found = sorted((folder / "data").glob("chunk-*/*.parquet"))
    if not found:
        raise InvalidData(f"{folder}: data", "Parquet files data/chunk-*/*.parquet", "none")
    home = folder.resolve()
    for path in found:
        if not path.resolve().is_relative_to(home):
            raise InvalidBytes(f"{path}: file", "a file of the dataset", "a link out of it")
    return found


def _read(path: Path, columns: list[str], limits: Limits) -> dict[str, Array]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            missing = [name for name in columns if name not in file.schema_arrow.names]
            if missing:
                raise InvalidData(missing[0], "a column", f"none (there is {', '.join(file.schema_arrow.names)})")
            if (n_bytes := 8 * file.metadata.num_rows * len(columns)) > limits.n_bytes:
                raise TooLarge("rows", f"at most {limits.n_bytes} bytes", f"{n_bytes} or more")
            table = file.read(columns=columns)
        return {name: _numbers(table.column(name), name) for name in columns}
    except InvalidData as error:
        raise error.in_file(path) from error
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        reason = " ".join(str(error).split())[:120]
        raise InvalidBytes(f"{path}: file", "Parquet", reason) from error


def _numbers(column: "pa.ChunkedArray", name: str) -> Array:
    """A column of numbers, or of lists of equally many of them, as `[n]` or `[n, o]`."""
    import pyarrow as pa

    chunks = column.combine_chunks()
    values = chunks.combine_chunks() if isinstance(chunks, pa.ChunkedArray) else chunks
    if values.null_count:
        raise InvalidData(name, "a number in every frame", f"{values.null_count} frames without")
    axes = [len(values)]
    while (
        pa.types.is_list(values.type) or pa.types.is_large_list(values.type) or pa.types.is_fixed_size_list(values.type)
    ):
        flat = values.flatten()
        if len(values) == 0 or len(flat) % len(values) or not _even(values, len(flat) // len(values)):
            raise InvalidData(name, "lists of one length", "others")
        axes.append(len(flat) // len(values))
        values = flat
    if values.null_count or not (
        pa.types.is_integer(values.type) or pa.types.is_floating(values.type) or pa.types.is_boolean(values.type)
    ):
        raise InvalidData(name, "numbers", str(column.type))
    return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(axes)


def _even(values: "pa.Array", length: int) -> bool:
    import pyarrow as pa

    if pa.types.is_fixed_size_list(values.type):
        return True
    return bool((np.diff(values.offsets.to_numpy()) == length).all())
