"""Episodes as a LeRobot dataset v3, which `read_lerobot` reads again. Pictures are PNG in the Parquet file, no videos.

A frame of LeRobot's is an observation and the action that follows it. The last observation of an episode has none, so
its frame repeats the last action, with a reward of 0.
"""

import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metalearn.data.episode import Array, Episode
from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.data.parts import SEPARATOR, split

if TYPE_CHECKING:
    import pyarrow as pa

    from metalearn.data.spaces import Part
    from metalearn.data.spec import Spec

_FILE = "chunk-000/file-000.parquet"
_OWN = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}
Features = Mapping[str, Mapping[str, Any]]
"""What info.json says of each column: its dtype, and its shape without the frames."""


def write_lerobot(
    folder: str | Path, episodes: Sequence[Episode], spec: "Spec", rate_hz: float | None = None, description: str = ""
) -> None:
    """Write episodes as a new dataset. Its instruction, which LeRobot asks for, is the description.

    Rewards and outcomes that are unknown in some episodes are null there, and no column if they are in all.

    Raises:
        InvalidConfig: the folder is not empty, or two parts have one name in LeRobot.
        InvalidData: an episode without actions.
        OSError: it cannot be written.
    """
    from pyarrow import parquet

    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidConfig(f"lerobot:{folder}: expected a new or an empty folder, got one with something in it")
    rate = float(rate_hz or spec.rate_hz)
    features = _features(episodes, spec)
    tables = [_frames(episode, spec, f"episodes[{i}]", rate) for i, episode in enumerate(episodes)]
    ends = np.cumsum([len(table["action"]) for table in tables]).tolist()
    starts = [0, *ends[:-1]]
    for i, (table, start, end) in enumerate(zip(tables, starts, ends, strict=True)):
        table |= {"episode_index": np.full(end - start, i), "index": np.arange(start, end)}
    (folder / "data" / _FILE).parent.mkdir(parents=True)
    (folder / "meta" / "episodes" / _FILE).parent.mkdir(parents=True)
    schema = _schema(features)
    with parquet.ParquetWriter(folder / "data" / _FILE, schema) as writer:
        for table in tables:  # a group of rows for each, so that a reader can fetch one
            writer.write_table(_table(table, features, schema))
    task = description or "episodes of watch, try, learn"
    _write_meta(folder / "meta", task, starts, ends)
    info = {
        "codebase_version": "v3.0",
        "robot_type": None,
        "total_episodes": len(episodes),
        "total_frames": ends[-1],
        "total_tasks": 1,
        "chunks_size": 1000,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": int(rate) if rate.is_integer() else rate,
        "splits": {"train": f"0:{len(episodes)}"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": None,
        "features": features,
    }
    (folder / "meta" / "info.json").write_text(json.dumps(info, indent=4) + "\n")
    stats = {name: _stats(tables, name, feature["dtype"] == "image") for name, feature in features.items()}
    (folder / "meta" / "stats.json").write_text(json.dumps(stats, indent=4) + "\n")


def _key(part: "Part") -> str:
    """The column of a part: LeRobot's own names where an observation has one part only."""
    if not part.name:
        return "observation.image" if _in_files(part) else "observation.state"
    return f"observation.{part.name.replace(SEPARATOR, '.')}"


def _in_files(part: "Part") -> bool:
    """Whether a part is PNG, as pictures are whose channels a PNG can have: others are numbers."""
    from metalearn.data.pictures import CHANNELS_OF_FILES

    return part.kind == "image" and part.shape[-1] in CHANNELS_OF_FILES


def _features(episodes: Sequence[Episode], spec: "Spec") -> Features:
    features: dict[str, dict[str, Any]] = {}
    for part in spec.parts:
        if _key(part) in features:
            raise InvalidConfig(f"lerobot: expected a name of its own for each part, got {_key(part)} twice")
        picture = _in_files(part)
        dtype, names = ("image", ["height", "width", "channels"]) if picture else (part.dtype.name, None)
        features[_key(part)] = {"dtype": dtype, "shape": list(part.shape) or [1], "names": names}
    acts = {"dtype": "int64" if spec.actions.discrete else "float32", "shape": list(spec.actions.shape) or [1]}
    features["action"] = {**acts, "names": None}
    known = {
        "next.reward": ("float32", any(one.rewards is not None for one in episodes)),
        "next.success": ("bool", any(one.success is not None for one in episodes)),
        "next.done": ("bool", True),
    }
    own = {name: dtype for name, (dtype, there) in known.items() if there} | _OWN
    return features | {name: {"dtype": dtype, "shape": [1], "names": None} for name, dtype in own.items()}


def _frames(episode: Episode, spec: "Spec", where: str, rate_hz: float) -> dict[str, Any]:
    """The columns of one episode, one more frame than it has steps. What is unknown is None."""
    if episode.actions is None:
        raise InvalidData(f"{where}.actions", "actions, which LeRobot needs", "none")
    n = len(episode)
    parts = split(episode.observations)
    return {
        **{_key(part): parts[part.name] for part in spec.parts},
        "action": np.concatenate([episode.actions, episode.actions[-1:]]),
        "next.reward": None if episode.rewards is None else np.append(episode.rewards, np.float32(0)),
        "next.success": None if episode.success is None else (np.arange(n + 1) >= n - 1) & episode.success,
        "next.done": np.arange(n + 1) >= n - 1,
        "timestamp": (np.arange(n + 1) / rate_hz).astype(np.float32),
        "frame_index": np.arange(n + 1),
        "task_index": np.zeros(n + 1, np.int64),
    }


def _schema(features: Features) -> "pa.Schema":
    import pyarrow as pa

    def kind(feature: Mapping[str, Any]) -> "pa.DataType":
        if feature["dtype"] == "image":
            return pa.struct({"bytes": pa.binary(), "path": pa.string()})
        found = pa.from_numpy_dtype(np.dtype(feature["dtype"]))
        for size in reversed(feature["shape"]):
            found = pa.list_(found, size if len(feature["shape"]) == 1 else -1)
        return found.value_type if feature["shape"] == [1] else found

    return pa.schema({name: kind(feature) for name, feature in features.items()})


def _table(frames: Mapping[str, Any], features: Features, schema: "pa.Schema") -> "pa.Table":
    import pyarrow as pa

    n = len(frames["action"])

    def rows(name: str, feature: Mapping[str, Any]) -> list[Any]:
        values = frames[name]
        if values is None:
            return [None] * n
        if feature["dtype"] == "image":
            return [{"bytes": _png(one), "path": f"frame-{i:06d}.png"} for i, one in enumerate(values)]
        return list((values.reshape(n) if feature["shape"] == [1] else values).tolist())

    return pa.table({name: pa.array(rows(name, one), schema.field(name).type) for name, one in features.items()})


def _png(picture: Array) -> bytes:
    from PIL import Image

    out = BytesIO()
    Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(out, "PNG")
    return out.getvalue()


def _write_meta(meta: Path, task: str, starts: Sequence[int], ends: Sequence[int]) -> None:
    """Where the frames of each episode are, and the one instruction, which LeRobot has as the index of a table."""
    import pyarrow as pa
    from pyarrow import parquet

    n = len(starts)
    episodes = {
        "episode_index": list(range(n)),
        "tasks": [[task]] * n,
        "length": [end - start for start, end in zip(starts, ends, strict=True)],
        "dataset_from_index": starts,
        "dataset_to_index": ends,
        **{f"{where}/{which}_index": [0] * n for where in ("data", "meta/episodes") for which in ("chunk", "file")},
    }
    parquet.write_table(pa.table(episodes), meta / "episodes" / _FILE)
    columns = [
        {"name": name, "field_name": name, "pandas_type": pandas, "numpy_type": numpy, "metadata": None}
        for name, pandas, numpy in (("task_index", "int64", "int64"), ("task", "unicode", "object"))
    ]
    index = {"index_columns": ["task"], "column_indexes": [], "columns": columns, "pandas_version": "2.0.0"}
    tasks = pa.table({"task_index": pa.array([0], pa.int64()), "task": [task]})
    parquet.write_table(tasks.replace_schema_metadata({"pandas": json.dumps(index)}), meta / "tasks.parquet")


def _stats(tables: Sequence[Mapping[str, Any]], name: str, pictures: bool) -> Mapping[str, Any]:
    """What LeRobot scales a column by; of pictures for each channel, as they are 0 to 1 there."""
    values = np.concatenate([table[name] for table in tables if table[name] is not None]).astype(np.float64)
    values = values[:, None] if values.ndim == 1 else values
    axes: Any = (0, 1, 2) if pictures else 0
    found = {which: getattr(np, which)(values, axis=axes) for which in ("min", "max", "mean", "std")}
    scaled = {which: (one / 255)[:, None, None] if pictures else one for which, one in found.items()}
    return {which: one.tolist() for which, one in scaled.items()} | {"count": [len(values)]}
