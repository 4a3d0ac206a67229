"""For every format of the table: a small valid recording, how it is written, and what a written one says.

Written and read with the formats' own libraries, not with the readers that are tested. A new format needs an entry in
`LAYOUTS`.
"""

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
from pyarrow import parquet
from safetensors.numpy import load, save_file
from support.fuzzed_files import told
from support.fuzzed_files.told import Array, Contradiction, Recording, Tree, under

Rng = np.random.Generator


@dataclass(frozen=True)
class Layout:
    """A format: `make` a tree, `write` it into a folder and give its source, `load` what is there, `tell` what it says."""

    make: Callable[[Rng], Tree]
    write: Callable[[Tree, Path], str]
    load: Callable[[Path], Tree]
    tell: Callable[[Tree], Recording]
    observations: tuple[str, ...] = ()


def _arrays(rng: Rng, n: int) -> dict[str, Array]:
    """The arrays of one episode, of numbers that JSON and every float hold as they are."""
    return {
        "observations": rng.integers(-99, 99, (n + 1, told.OBSERVATION_SIZE)).astype(np.float32) / 8,
        "actions": rng.integers(-8, 9, (n, told.ACTION_SIZE)).astype(np.float32) / 8,
        "rewards": rng.integers(0, 2, n).astype(np.float32),
    }


def _lengths(rng: Rng) -> list[int]:
    """Steps of two or three episodes; none is the size of an observation or of an action."""
    return [int(n) for n in rng.integers(6, 10, rng.integers(2, 4))]


# Whole episodes by the names of a request body


def _make_body(rng: Rng) -> Tree:
    tree: Tree = {"rate_hz": np.float32(10.0)}
    for i, n in enumerate(_lengths(rng)):
        tree |= {f"episodes/{i}/{name}": value for name, value in _arrays(rng, n).items()}
        tree[f"episodes/{i}/success"] = np.bool_(rng.integers(2))
    return tree


def _tell_body(tree: Tree) -> Recording:
    found = []
    for group in ("demos/", "trials/", "episodes/"):
        own = under(tree, group)
        numbers = told.numbered(list(own), "")
        if numbers != list(range(len(numbers))):
            raise Contradiction
        found += [under(own, f"{number}/") for number in numbers]
    fields = ("observations", "actions", "rewards", "success")
    episodes = tuple(told.episode(*(one.get(name) for name in fields), after=True) for one in found or [tree])
    return Recording(episodes, told.rate(tree.get("rate_hz")))


def _write_npz(tree: Tree, folder: Path) -> str:
    np.savez(folder / "x.npz", **tree)
    return str(folder / "x.npz")


def _load_npz(folder: Path) -> Tree:
    with np.load(folder / "x.npz", allow_pickle=False) as archive:
        if len(set(archive.zip.namelist())) < len(archive.zip.namelist()):
            raise Contradiction
        return {name: _unless_objects(archive, name) for name in archive.files}


def _unless_objects(archive: Any, name: str) -> Any:
    try:
        return archive[name]
    except ValueError as error:  # an array of objects is no number, and no damage either
        if "pickle" not in str(error):
            raise
        return np.asarray("objects")


def _write_safetensors(tree: Tree, folder: Path) -> str:
    kept = {name: np.ascontiguousarray(value) for name, value in tree.items() if np.asarray(value).dtype.kind in "biuf"}
    save_file({name: np.asarray(tree[name]).reshape(np.shape(tree[name])) for name in kept}, folder / "x.safetensors")
    return str(folder / "x.safetensors")


def _load_safetensors(folder: Path) -> Tree:
    return dict(load((folder / "x.safetensors").read_bytes()))


def _write_json(tree: Tree, folder: Path) -> str:
    (folder / "x.json").write_text(json.dumps(_nested(tree)))
    return str(folder / "x.json")


def _nested(tree: Tree) -> Any:
    """Objects and lists, of members by their paths."""
    heads: dict[str, Any] = {}
    for name, value in tree.items():
        head, _, rest = name.partition("/")
        if rest and isinstance(heads.setdefault(head, {}), dict):
            heads[head][rest] = value
        elif not rest:
            heads[head] = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    made = {head: _nested(value) if isinstance(value, dict) else value for head, value in heads.items()}
    numbers = sorted(made, key=lambda head: (len(head), head))
    return [made[head] for head in numbers] if made and all(head.isdecimal() for head in made) else made


def _load_json(folder: Path) -> Tree:
    return _flat(json.loads((folder / "x.json").read_bytes().removeprefix(b"\xef\xbb\xbf"), object_pairs_hook=_once))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise Contradiction
    return dict(pairs)


def _flat(value: Any, prefix: str = "") -> Tree:
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(one, dict) for one in value)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        tree: Tree = {}
        for key, item in items:
            tree |= _flat(item, f"{prefix}/{key}" if prefix else str(key))
        return tree
    return {prefix: value}


# HDF5


def _write_hdf5(tree: Tree, path: Path) -> None:
    with h5py.File(path, "w", track_order=True) as file:
        for name, value in tree.items():
            home, at, attribute = name.partition("@")
            if at:
                file.require_group(home).attrs[attribute] = value
            else:
                array = np.asarray(value)
                text = array.dtype.kind in "US"
                file.create_dataset(name, data=array.astype(object) if text else array,
                                    dtype=h5py.string_dtype() if text else None)  # fmt: skip


def _load_hdf5(path: Path) -> Tree:
    tree: Tree = {}

    def visit(name: str, item: Any) -> None:
        tree.update({f"{name}@{key}": value for key, value in item.attrs.items()})
        if isinstance(item, h5py.Dataset):
            if item.shape is not None and item.size * item.dtype.itemsize > 1e8:
                raise Contradiction
            tree[name] = np.asarray(item[()])

    with h5py.File(path) as file:
        file.visititems(visit)
    return tree


def _make_robomimic(rng: Rng) -> Tree:
    tree: Tree = {"data@env_args": json.dumps({"env_name": "Lift", "env_kwargs": {"control_freq": 20}})}
    following = bool(rng.integers(2))
    for i, n in enumerate(_lengths(rng)):
        one, demo = _arrays(rng, n), f"data/demo_{i}"
        seen = one["observations"]
        tree |= {f"{demo}@num_samples": n, f"{demo}/obs/eef": seen[:-1, :3], f"{demo}/obs/gripper": seen[:-1, 3:]}
        if following:
            tree |= {f"{demo}/next_obs/eef": seen[1:, :3], f"{demo}/next_obs/gripper": seen[1:, 3:]}
        tree |= {f"{demo}/actions": one["actions"], f"{demo}/rewards": one["rewards"]}
        tree[f"{demo}/dones"] = np.arange(n) == n - 1
    return tree


def _tell_robomimic(tree: Tree) -> Recording:
    episodes = []
    for number in told.numbered(list(under(tree, "data/")), "demo_"):
        demo = under(tree, f"data/demo_{number}/")
        keys = ("eef", "gripper")
        seen = [_columns(demo.get(f"obs/{key}")) for key in keys]
        following = [demo.get(f"next_obs/{key}") for key in keys]
        after = all(one is not None for one in following)
        if after:
            nexts = [_columns(one) for one in following]
            if any(a.shape != b.shape for a, b in zip(seen, nexts, strict=True)):
                raise Contradiction
            if any(not np.array_equal(a[1:], b[:-1]) for a, b in zip(seen, nexts, strict=True)):
                raise Contradiction
            seen = [np.concatenate([a, b[-1:]]) for a, b in zip(seen, nexts, strict=True)]
        if len({len(one) for one in seen}) > 1:
            raise Contradiction
        rewards = demo.get("rewards")
        flags = [demo[key] for key in ("success", "is_success", "next.success") if key in demo]
        success = flags[0] if flags else None if rewards is None else bool((np.asarray(rewards) > 0).any())
        episodes.append(told.episode(np.concatenate(seen, axis=1), demo.get("actions"), rewards, success, after=after))
        if demo.get("actions") is None:
            raise Contradiction
    if not episodes:
        raise Contradiction
    return Recording(tuple(episodes), _control_freq(tree.get("data@env_args")))


def _control_freq(text: Any) -> float | None:
    if text is None:
        return None
    try:
        return told.rate(json.loads(text)["env_kwargs"]["control_freq"])
    except (ValueError, KeyError, TypeError):
        return None


def _columns(value: Any) -> Array:
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" or array.ndim == 0 or not len(array):
        raise Contradiction
    with np.errstate(all="ignore"):
        return array.astype(np.float32).reshape(len(array), -1)


def _write_robomimic(tree: Tree, folder: Path) -> str:
    _write_hdf5(tree, folder / "x.hdf5")
    return f"robomimic:{folder / 'x.hdf5'}"


# Minari


@cache
def _minari_template() -> tuple[Tree, Tree]:
    """The members and the metadata that Minari itself writes for a dataset, made once."""
    import os

    import minari
    from gymnasium import spaces
    from minari.data_collector import EpisodeBuffer

    home = tempfile.mkdtemp(prefix="fuzz-minari-")
    before = os.environ.get("MINARI_DATASETS_PATH")
    os.environ["MINARI_DATASETS_PATH"] = home
    try:
        n = 6
        flags = {"rewards": [0.0] * n, "terminations": [False] * n, "truncations": [False] * n}
        minari.create_dataset_from_buffers(
            "robot/x-v0",
            [
                EpisodeBuffer(
                    observations=np.zeros((n + 1, told.OBSERVATION_SIZE), np.float32),
                    actions=np.zeros((n, told.ACTION_SIZE), np.float32),
                    infos={"success": [False] * (n + 1)},
                    **flags,
                )
            ],
            observation_space=spaces.Box(-np.inf, np.inf, (told.OBSERVATION_SIZE,), np.float32),
            action_space=spaces.Box(-1, 1, (told.ACTION_SIZE,), np.float32),
            data_format="hdf5",
            description="x", algorithm_name="x", code_permalink="x", author="x", author_email="x",
        )  # fmt: skip
        data = Path(home) / "robot" / "x-v0" / "data"
        return _load_hdf5(data / "main_data.hdf5"), json.loads((data / "metadata.json").read_text())
    finally:
        shutil.rmtree(home)
        if before is None:
            del os.environ["MINARI_DATASETS_PATH"]
        else:
            os.environ["MINARI_DATASETS_PATH"] = before


def _make_minari(rng: Rng) -> Tree:
    template, metadata = _minari_template()
    tree: Tree = {}
    lengths = _lengths(rng)
    for i, n in enumerate(lengths):
        own = under(template, "episode_0")
        one = _arrays(rng, n)
        ends = np.arange(n) == n - 1
        own |= {"@id": i, "@total_steps": n}
        own |= {f"/{name}": value for name, value in one.items()}
        own |= {"/terminations": ends, "/truncations": ~ends & ends}
        own["/infos/success"] = np.append(ends, rng.integers(2) == 1)
        tree |= {f"episode_{i}{name}": value for name, value in own.items()}
    counts = {"total_episodes": len(lengths), "total_steps": sum(lengths), "rate_hz": 20}
    return tree | {f"metadata#{name}": value for name, value in (metadata | counts).items()}


def _write_minari(tree: Tree, folder: Path) -> str:
    _write_hdf5({name: value for name, value in tree.items() if "#" not in name}, folder / "main_data.hdf5")
    metadata = under(tree, "metadata#")
    (folder / "metadata.json").write_text(json.dumps(metadata, default=lambda value: np.asarray(value).tolist()))
    return f"minari:{folder}"


def _load_minari(folder: Path) -> Tree:
    metadata = json.loads(
        (folder / "metadata.json").read_bytes().removeprefix(b"\xef\xbb\xbf"), object_pairs_hook=_once
    )
    return _load_hdf5(folder / "main_data.hdf5") | {f"metadata#{name}": value for name, value in metadata.items()}


def _tell_minari(tree: Tree) -> Recording:
    numbers = told.numbered(list(tree), "episode_")
    if numbers != list(range(len(numbers))) or len(numbers) != tree.get("metadata#total_episodes"):
        raise Contradiction
    episodes = []
    for number in numbers:
        own = under(tree, f"episode_{number}/")
        if "actions" not in own:
            raise Contradiction
        flags = [own[key] for key in ("infos/success", "infos/is_success", "infos/next.success") if key in own]
        unknown = bool(np.any(own.get("infos/rewards_unknown", False)))
        rewards = None if unknown else own.get("rewards")
        episodes.append(
            told.episode(own.get("observations"), own["actions"], rewards, flags[0] if flags else None, after=True)
        )
    return Recording(tuple(episodes), told.rate(tree.get("metadata#rate_hz")))


# LeRobot: members are `FILE/COLUMN`, and `info#KEY` or `info#features#NAME` of meta/info.json


def _make_lerobot(rng: Rng) -> Tree:
    lengths, v3 = _lengths(rng), bool(rng.integers(2))
    parts = []
    for i, n in enumerate(lengths):
        one = _arrays(rng, n - 1)
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
    tree |= {"info#codebase_version": "v3.0" if v3 else "v2.1", "info#fps": 20, "info#total_episodes": len(lengths)}
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
        most = max(len(value) if value.ndim else 0 for value in columns.values())
        made = {
            name: pa.array(
                [*(value.tolist() if value.ndim else []), *[None] * (most - (len(value) if value.ndim else 0))]
            )
            for name, value in columns.items()
        }
        parquet.write_table(pa.table(made), home / f"file-{int(file):03d}.parquet")
    return f"lerobot:{folder}"


def _load_lerobot(folder: Path) -> Tree:
    info = json.loads(
        (folder / "meta" / "info.json").read_bytes().removeprefix(b"\xef\xbb\xbf"), object_pairs_hook=_once
    )
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
    features = under(tree, "info#features#")
    episodes = []
    for _, own in sorted(frames.items()):
        own = sorted(own, key=lambda one: _whole(one["frame_index"]))
        if [_whole(one["frame_index"]) for one in own] != list(range(len(own))):
            raise Contradiction

        def of(name: str, own: list[dict[str, Any]] = own) -> Any:
            known = name in features and all(name in one for one in own)
            return [one[name] for one in own] if known else None

        episodes.append(
            told.episode(of("observation.state"), of("action"), of("next.reward"), of("next.success"), after=False)
        )
    return Recording(tuple(episodes), told.rate(tree.get("info#fps")))


def _whole(value: Any) -> int:
    flat = np.asarray(value).reshape(-1)
    if flat.size != 1 or flat.dtype.kind not in "biuf" or flat[0] != np.floor(flat[0]) or not np.isfinite(flat[0]):
        raise Contradiction
    return int(flat[0])


LAYOUTS = {
    "npz": Layout(_make_body, _write_npz, _load_npz, _tell_body),
    "safetensors": Layout(_make_body, _write_safetensors, _load_safetensors, _tell_body),
    "json": Layout(_make_body, _write_json, _load_json, _tell_body),
    "minari": Layout(_make_minari, _write_minari, _load_minari, _tell_minari),
    "robomimic": Layout(
        _make_robomimic, _write_robomimic, lambda folder: _load_hdf5(folder / "x.hdf5"), _tell_robomimic,
        observations=("eef", "gripper"),
    ),
    "lerobot": Layout(_make_lerobot, _write_lerobot, _load_lerobot, _tell_lerobot),
}  # fmt: skip
