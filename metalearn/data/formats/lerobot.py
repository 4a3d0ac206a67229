"""LeRobot's datasets, v1 to v3: `meta/info.json` (v1 `meta_data`) and Parquet files under `data/`.

Each frame is an observation and the action that followed it, so the last action of an episode has no observation
after it and is lost. Pictures are read where they are in the Parquet files; videos are not.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from metalearn.data.episode import Array
from metalearn.data.errors import InvalidBytes, InvalidData, TooLarge
from metalearn.data.formats.arrays import DATASET_LIMITS, Limits
from metalearn.data.formats.arrow import is_numeric, is_picture, numbers_of, picture_bytes, reason
from metalearn.data.formats.doubts import listed, of_flags, of_names, of_timestamps
from metalearn.data.formats.images import pictures
from metalearn.data.formats.selection import Recorded, Selection, Skipped, Steps, gather, usable
from metalearn.data.quality import QualityWarning
from metalearn.data.reading import own_file, parse_json, read_json, refuse_pointer_at
from metalearn.data.values import check_finite, column

_VERSIONS = ("v1.", "v2.", "v3.")
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
_OBSERVED = "observation."
_NEEDS_PYAV = "videos need the library av (PyAV) to be decoded, and are not read"
_STATE, _TIME, _TASK = "observation.state", "timestamp", "task_index"
Columns = dict[str, Array]
"""Values by the names of their columns, a row per frame."""


def read_lerobot(
    folder: str | Path,
    selection: Selection = Selection(),  # noqa: B008  frozen
    limits: Limits = DATASET_LIMITS,
) -> Recorded:
    """The episodes of a LeRobot dataset; observations are `observation.state`, or the only ones, unless said otherwise.

    Raises:
        InvalidData: not such a dataset, or an episode that cannot be used, naming file, field, expected and got.
        OSError: it cannot be read.
    """
    folder = Path(folder)
    info = _info(folder, selection.links_under)
    files = _files(folder, selection.links_under)
    if info["codebase_version"].startswith("v1."):  # whose info.json says no features
        features = _numeric_columns(files[0])
    else:
        features = [name for name, one in info["features"].items() if _is_read(one)]
    videos = [name for name, one in (info.get("features") or {}).items() if _dtype(one) == "video"]
    needed, useful, keys = _columns(features, selection, folder, videos)
    frames, unread, doubts = _frames(files, needed, useful, selection, limits)
    numbers = list(frames)
    instructions = read_instructions(folder, selection.links_under) if selection.task_by == "instruction" else {}

    def steps(index: int) -> Steps:
        rate_hz = Recorded.of((), info.get("fps")).rate_hz
        return _steps(_joined(frames[numbers[index]]), keys, selection, rate_hz, instructions)

    doubts += of_names(info, ("fps",))
    if videos and selection.parts and not selection.observations:
        doubts.append(QualityWarning("videos-unread", f"{listed(videos)} not read: {_NEEDS_PYAV}"))
    try:
        names = [f"episode {number}" for number in numbers]
        found = gather(
            selection,
            names,
            steps,
            rate_hz=info.get("fps"),
            subset=lambda key: _subset(info.get("splits"), key, numbers),
        )
    except InvalidData as error:
        raise error.in_file(folder) from error
    return replace(found.remarked(*doubts), skipped=unread + found.skipped)


def _frames(
    files: Sequence[Path], needed: Sequence[str], useful: Sequence[str], selection: Selection, limits: Limits
) -> tuple[dict[int, list[Columns]], tuple[Skipped, ...], list[QualityWarning]]:
    """The frames of every episode by its number, the files that could not be read, and doubts about the others."""
    frames: dict[int, list[Columns]] = {}
    read, unread = usable(
        replace(selection, episodes=None),
        [""] * len(files),
        lambda i: _read(files[i], needed, useful, selection.unasked_flags, limits),
    )
    for table, _ in read:
        index = table["episode_index"].reshape(-1)
        for number in np.unique(index).tolist():
            rows = np.flatnonzero(index == number)
            frames.setdefault(int(number), []).append({name: values[rows] for name, values in table.items()})
    doubts = list(dict.fromkeys(doubt for _, own in read for doubt in own))
    return dict(sorted(frames.items())), tuple(replace(one, episode="file") for one in unread), doubts


def _joined(parts: Sequence[Columns]) -> Columns:
    """The frames of one episode in their order, of those columns that all its files have. Raises InvalidData."""
    joined = {}
    for name in set(parts[0]).intersection(*parts):
        columns = [part[name] for part in parts]
        if len({column.shape[1:] for column in columns}) > 1:
            raise InvalidData(name, "one shape in all files", "several")
        joined[name] = np.concatenate(columns)
    order = np.argsort(joined["frame_index"].reshape(-1), kind="stable")
    return {name: values[order] for name, values in joined.items()}


def _steps(
    frames: Columns,
    keys: Sequence[str],
    selection: Selection,
    rate_hz: float | None,
    instructions: Mapping[int, str],
) -> Steps:
    order = frames["frame_index"].reshape(-1)
    if not np.array_equal(order, np.arange(len(order))):
        raise InvalidData("frame_index", f"0 to {len(order) - 1}, each once", "gaps or repetitions")
    dones, rewards = frames.get(_DONE), frames.get(_REWARD)
    if rewards is not None and rewards.dtype.kind == "f" and np.isnan(rewards).all():
        rewards = None  # of one episode among others that have some
    return Steps(
        observations={key: frames[key] for key in keys},
        actions=frames[selection.actions or "action"],
        rewards=rewards,
        terminated=None if dones is None else dones[-1],
        flags={name: values for name, values in frames.items() if name in selection.flag_keys},
        remarks=tuple(of_timestamps(frames[_TIME], rate_hz)) if _TIME in frames else (),
        labels=_labels(frames, selection, instructions),
    )


def _labels(frames: Columns, selection: Selection, instructions: Mapping[int, str]) -> dict[str, object]:
    if selection.task_by != "instruction":
        return {key: frames[key] for key in selection.task_keys}
    numbers = np.unique(frames[_TASK])
    if len(numbers) != 1 or int(numbers[0]) not in instructions:
        raise InvalidData(_TASK, "one task of meta/tasks in an episode", ", ".join(map(str, numbers[:5])))
    return {"instruction": instructions[int(numbers[0])]}


def read_instructions(folder: Path, links_under: Path | None = None) -> dict[int, str]:
    """The sentences of `meta/tasks.jsonl` (v2) or `meta/tasks.parquet` (v3), by their numbers. Raises InvalidData."""
    lines, table = folder / "meta" / "tasks.jsonl", folder / "meta" / "tasks.parquet"
    if table.exists():
        return _instructions_of_table(own_file(table, folder, links_under))
    if not lines.exists():
        raise InvalidData(f"{folder}: task", "instructions in meta/tasks.jsonl or meta/tasks.parquet", "neither")
    found = {}
    for line in own_file(lines, folder, links_under).read_bytes().splitlines():
        one = parse_json(line)
        if not isinstance(one, dict) or type(one.get(_TASK)) is not int or not isinstance(one.get("task"), str):
            raise InvalidData(f"{lines}: task", "objects with task_index and task", ascii(line.decode("latin1"))[:60])
        found[one[_TASK]] = one["task"]
    return found


def _instructions_of_table(path: Path) -> dict[int, str]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidBytes(f"{path}: file", "Parquet", reason(error)) from error
    # Pandas wrote the sentences as the index, whose name differs between versions.
    texts = [name for name, kind in zip(table.schema.names, table.schema.types, strict=True)
             if pa.types.is_string(kind) or pa.types.is_large_string(kind)]  # fmt: skip
    if _TASK not in table.schema.names or not texts:
        raise InvalidData(f"{path}: columns", "task_index and a column of text", ", ".join(table.schema.names))
    return dict(zip(table[_TASK].to_pylist(), table[texts[0]].to_pylist(), strict=True))


def _info(folder: Path, links_under: Path | None) -> dict[str, Any]:
    old = folder / "meta_data" / "info.json"
    path = own_file(old if old.exists() else folder / "meta" / "info.json", folder, links_under)
    info = read_json(path)
    version = info.get("codebase_version") if isinstance(info, dict) else None
    if not isinstance(version, str) or not version.startswith(_VERSIONS):
        raise InvalidData(f"{path}: codebase_version", "v1.x, v2.x or v3.x", ascii(version)[:80])
    if not version.startswith("v1.") and not isinstance(info.get("features"), dict):
        raise InvalidData(f"{path}: features", "an object", type(info.get("features")).__name__)
    return info


def _subset(splits: Any, key: str, numbers: Sequence[int]) -> list[int]:
    """The places of the episodes in a split, which info.json has as `{"train": "0:50"}`. Raises InvalidData."""
    if not isinstance(splits, dict) or key not in splits:
        known = ", ".join(sorted(splits)) if isinstance(splits, dict) else ""
        raise InvalidData(
            "filter", f"one of {known}" if known else "none, since info.json has no splits", ascii(key)[:80]
        )
    match = re.fullmatch(r"([0-9]{1,9}):([0-9]{1,9})", splits[key]) if isinstance(splits[key], str) else None
    if match is None:
        raise InvalidData(f"splits.{key}", "episodes as in 0:50", ascii(splits[key])[:40])
    return [place for place, number in enumerate(numbers) if int(match[1]) <= number < int(match[2])]


def _is_read(feature: Any) -> bool:
    return _dtype(feature) in _NUMBERS | {"image"}


def _dtype(feature: Any) -> str:
    found = feature.get("dtype") if isinstance(feature, dict) else None
    return found if isinstance(found, str) else ""


def _numeric_columns(path: Path) -> list[str]:
    """The columns of a Parquet file that hold numbers, lists of them, or pictures. Raises InvalidData."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        refuse_pointer_at(path)
        schema = parquet.read_schema(path)
    except InvalidData as error:
        raise error.in_file(path) from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidBytes(f"{path}: file", "Parquet", reason(error)) from error
    return [one.name for one in schema if is_numeric(one.type) or is_picture(one.type)]


def _columns(
    features: Sequence[str], selection: Selection, folder: Path, videos: Sequence[str]
) -> tuple[list[str], list[str], tuple[str, ...]]:
    """What has to be read, what is read where it is there, and which of it is observed. Raises InvalidData."""
    unread = f"; {listed(videos)}: {_NEEDS_PYAV}" if videos else ""
    observed = tuple(name for name in features if name.startswith(_OBSERVED))
    keys = selection.observations or (observed if len(observed) == 1 else (_STATE,))
    if selection.by_name and not selection.observations:
        try:
            keys = selection.keys_among(observed, (), unread)
        except InvalidData as error:
            raise error.in_file(folder) from error
    needed = {"observations": keys, "actions": (selection.actions or "action",)}
    for field, wanted in needed.items():
        for key in wanted:
            if key not in features:
                known = ", ".join(sorted(features)) or "none"
                expected = f"numeric features or pictures, of {known}{unread * (key in videos)}"
                raise InvalidData(f"{folder}: {field}", expected, key)
    if selection.task_by:
        needed["task"] = (_TASK if selection.task_by == "instruction" else selection.task_by,)
        if needed["task"][0] not in features:
            known = ", ".join(sorted(features)) or "none"
            raise InvalidData(f"{folder}: task", f"instruction, or a numeric feature, of {known}", needed["task"][0])
    usual = (_REWARD, *((_DONE,) if selection.success == "terminated" else ()), *selection.flag_keys, _TIME)
    wanted_all = ["episode_index", "frame_index", *(key for wanted in needed.values() for key in wanted)]
    must = list(dict.fromkeys(wanted_all))
    return must, [name for name in dict.fromkeys(usual) if name not in must], tuple(keys)


def _files(folder: Path, links_under: Path | None) -> Sequence[Path]:
    """The data files. The template of their names in info.json is untrusted, and not needed."""
    # Names with a dot in front are what file systems and editors leave behind.
    found = sorted(path for path in (folder / "data").glob("chunk-*/*.parquet") if not path.name.startswith("."))
    found = found or sorted((folder / "data").glob("train-*.parquet"))  # of v1
    if not found:
        expected = "Parquet files data/chunk-*/*.parquet, or data/train-*.parquet of v1"
        raise InvalidData(f"{folder}: data", expected, "none")
    return [own_file(path, folder, links_under) for path in found]


def _read(
    path: Path, needed: Sequence[str], useful: Sequence[str], unasked: Sequence[str], limits: Limits
) -> tuple[Columns, list[QualityWarning]]:
    """The columns of a file that are read, and doubts about the others. Raises InvalidData, OSError."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        refuse_pointer_at(path)
        with parquet.ParquetFile(path) as file:
            there = file.schema_arrow.names
            if missing := [name for name in needed if name not in there]:
                raise InvalidData(missing[0], "a column", f"none (there is {', '.join(there)})")
            columns = [*needed, *(name for name in useful if name in there)]
            if (n_bytes := 8 * file.metadata.num_rows * len(columns)) > limits.n_bytes:
                raise TooLarge("rows", f"at most {limits.n_bytes} bytes", f"{n_bytes} or more")
            table = file.read(columns=columns)
        if not table.num_rows:
            raise InvalidData("rows", "at least one frame", "none")
        found = {
            name: pictures(name, picture_bytes(table.column(name), name), limits.n_bytes)
            if is_picture(table.column(name).type)
            else numbers_of(table.column(name), name)
            for name in columns
        }
        for name in ("episode_index", "frame_index"):
            numbers = check_finite(name, column(name, found[name]))
            if (odd := numbers[numbers != np.floor(numbers)]).size:
                raise InvalidData(name, "whole numbers", str(odd[0]))
        return found, [*of_names(there, (_REWARD,), known=needed), *of_flags(there, unasked)]
    except InvalidData as error:
        raise error.in_file(path) from error
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        raise InvalidBytes(f"{path}: file", "Parquet", reason(error)) from error
