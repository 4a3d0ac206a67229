"""LeRobot datasets: members are `FILE/COLUMN`, and `info#KEY` or `info#features#NAME` of meta/info.json."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet
from support.fuzzed_files import told
from support.fuzzed_files.layout import Layout, Rng, arrays, lengths, load_json
from support.fuzzed_files.told import Array, Contradiction, Recording, Tree, under


def _make_lerobot(rng: Rng) -> Tree:
    sizes, v3 = lengths(rng), bool(rng.integers(2))
    parts = []
    for i, n in enumerate(sizes):
        one = arrays(rng, n - 1)
        grown = {name: np.concatenate([value, value[-1:]]) for name, value in one.items() if name != "observations"}
        parts.append(
            {
                "observation.state": one["observations"],
                "action": grown["actions"],
                "next.reward": grown["rewards"],
                "next.success": np.arange(n) == (n - 1 if rng.integers(2) else -1),
                "next.done": np.arange(n) == n - 1,
                "timestamp": (np.arange(n) / 20).astype(np.float32),
                "frame_index": np.arange(n),
                "episode_index": np.full(n, i),
                "task_index": np.zeros(n, np.int64),
            }
        )
    if v3:
        parts = [{name: np.concatenate([part[name] for part in parts]) for name in parts[0]}]
    tree: Tree = {f"{i}/{name}": value for i, part in enumerate(parts) for name, value in part.items()}
    tree |= {"info#codebase_version": "v3.0" if v3 else "v2.1", "info#fps": 20, "info#total_episodes": len(sizes)}
    kinds = {"f": "float32", "b": "bool", "i": "int64"}
    for name, value in parts[0].items():
        tree[f"info#features#{name}"] = {"dtype": kinds[value.dtype.kind], "shape": list(value.shape[1:]) or [1]}
    return tree


def _write_lerobot(tree: Tree, folder: Path) -> str:
    info = {name: value for name, value in under(tree, "info#").items() if "#" not in name}
    info["features"] = under(tree, "info#features#")
    (folder / "meta").mkdir()
    (folder / "meta" / "info.json").write_text(json.dumps(info, default=lambda value: np.asarray(value).tolist()))
    home = folder / "data" / "chunk-000"
    home.mkdir(parents=True)
    files: dict[str, dict[str, Any]] = {}
    for name, value in tree.items():
        file, slash, column = name.partition("/")
        if slash and file.isdecimal():
            files.setdefault(file, {})[column] = np.asarray(value)
    for file, columns in files.items():
        # Parquet holds columns of one length only: a member that is cut is null where it is not.
        most = max(_length(value) for value in columns.values())
        made = {name: pa.array(_padded(value, most)) for name, value in columns.items()}
        parquet.write_table(pa.table(made), home / f"file-{int(file):03d}.parquet")
    return f"lerobot:{folder}"


def _length(value: Array) -> int:
    return len(value) if value.ndim else 0


def _padded(value: Array, n: int) -> list[Any]:
    return [*(value.tolist() if value.ndim else []), *[None] * (n - _length(value))]


def _load_lerobot(folder: Path) -> Tree:
    info = load_json((folder / "meta" / "info.json").read_bytes())
    tree: Tree = {f"info#{name}": value for name, value in info.items() if name != "features"}
    tree |= {f"info#features#{name}": value for name, value in info["features"].items()}
    for i, path in enumerate(sorted((folder / "data").glob("chunk-*/[!.]*.parquet"))):
        table = parquet.read_table(path)
        tree |= {f"{i}/{name}": table.column(name).to_pylist() for name in table.column_names}
    return tree


def _tell_lerobot(tree: Tree) -> Recording:
    frames: dict[int, list[dict[str, Any]]] = {}
    for file in told.numbered(list(tree), ""):
        columns = under(tree, f"{file}/")
        needed = ("observation.state", "action", "frame_index", "episode_index")
        if any(name not in columns for name in needed):
            raise Contradiction
        for row in zip(*columns.values(), strict=True):
            one = dict(zip(columns, row, strict=True))
            frames.setdefault(_whole(one["episode_index"]), []).append(one)
    if not frames:
        raise Contradiction
    episodes = []
    for _, unordered in sorted(frames.items()):
        own = sorted(unordered, key=lambda one: _whole(one["frame_index"]))
        if [_whole(one["frame_index"]) for one in own] != list(range(len(own))):
            raise Contradiction

        def of(name: str, own: list[dict[str, Any]] = own) -> Any:
            return [one[name] for one in own] if all(name in one for one in own) else None

        episodes.append(
            told.episode(of("observation.state"), of("action"), of("next.reward"), of("next.success"), after=False)
        )
    return Recording(tuple(episodes), told.rate(tree.get("info#fps")))


def _whole(value: Any) -> int:
    flat = np.asarray(value).reshape(-1)
    if flat.size != 1 or flat.dtype.kind not in "biuf" or flat[0] != np.floor(flat[0]) or not np.isfinite(flat[0]):
        raise Contradiction
    return int(flat[0])


LEROBOT = Layout(_make_lerobot, _write_lerobot, _load_lerobot, _tell_lerobot)
