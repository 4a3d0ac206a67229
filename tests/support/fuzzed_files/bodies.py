"""Whole episodes by the names of a request body, as .npz, safetensors and JSON, and imitation's arrays."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save_file
from support.fuzzed_files import told
from support.fuzzed_files.layout import Layout, Rng, arrays, lengths, load_json
from support.fuzzed_files.told import Contradiction, Recording, Tree, under


def _make_body(rng: Rng) -> Tree:
    tree: Tree = {"rate_hz": np.float32(10.0)}
    for i, n in enumerate(lengths(rng)):
        tree |= {f"episodes/{i}/{name}": value for name, value in arrays(rng, n).items()}
        tree[f"episodes/{i}/success"] = np.bool_(rng.integers(2))
    return tree


def _tell_body(tree: Tree) -> Recording:
    found = []
    for group in ("demos/", "trials/", "episodes/"):
        own = under(tree, group)
        numbers = told.numbered(list(own), "")
        if numbers != [str(i) for i in range(len(numbers))]:
            raise Contradiction
        found += [under(own, f"{number}/") for number in numbers]
    fields = ("observations", "actions", "rewards", "success")
    episodes = tuple(told.episode(*(one.get(name) for name in fields), after=True) for one in found or [tree])
    return Recording(episodes, told.rate(tree.get("rate_hz")))


def _write_npz(tree: Tree, folder: Path) -> str:
    np.savez(folder / "x.npz", **tree)
    return str(folder / "x.npz")


def _load_npz(folder: Path) -> Tree:
    with zipfile.ZipFile(folder / "x.npz") as archive:
        if len(set(archive.namelist())) < len(archive.namelist()):
            raise Contradiction
        return {name.removesuffix(".npy"): _member(archive, name) for name in archive.namelist()}


def _member(archive: zipfile.ZipFile, name: str) -> Any:
    try:
        with archive.open(name) as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except ValueError as error:  # an array of objects is no number, and no damage either
        if "allow_pickle" not in str(error):
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
    return _flat(load_json((folder / "x.json").read_bytes()))


def _flat(value: Any, prefix: str = "") -> Tree:
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(one, dict) for one in value)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        tree: Tree = {}
        for key, item in items:
            tree |= _flat(item, f"{prefix}/{key}" if prefix else str(key))
        return tree
    return {prefix: value}


# imitation


def _make_imitation(rng: Rng) -> Tree:
    parts = [arrays(rng, n) for n in lengths(rng)]
    ends = np.cumsum([len(one["actions"]) for one in parts])
    if rng.integers(2):
        return {
            "obs": np.concatenate([one["observations"] for one in parts]),
            "acts": np.concatenate([one["actions"] for one in parts]),
            "rews": np.concatenate([one["rewards"] for one in parts]),
            "indices": ends[:-1],
            "terminal": np.ones(len(parts), bool),
        }
    return {
        "obs": np.concatenate([one["observations"][:-1] for one in parts]),
        "acts": np.concatenate([one["actions"] for one in parts]),
        "next_obs": np.concatenate([one["observations"][1:] for one in parts]),
        "rews": np.concatenate([one["rewards"] for one in parts]),
        "dones": np.isin(np.arange(ends[-1]), ends - 1),
    }


def _tell_imitation(tree: Tree) -> Recording:
    acts, obs, rews = (None if name not in tree else told.plain(tree[name]) for name in ("acts", "obs", "rews"))
    if acts is None or obs is None or (rews is not None and len(rews) != len(acts)):
        raise Contradiction
    episodes = []
    if "indices" in tree:
        starts = [int(one) for one in told.plain(tree["indices"]).reshape(-1)]
        if starts != list(told.plain(tree["indices"]).reshape(-1)):
            raise Contradiction
        ended = np.shape(tree["terminal"])[:1] if "terminal" in tree else (0,)
        if len(obs) != len(acts) + len(starts) + 1 or ended not in {(0,), (len(starts) + 1,)}:
            raise Contradiction
        for i, (start, stop) in enumerate(zip([0, *starts], [*starts, len(acts)], strict=True)):
            own = None if rews is None else rews[start:stop]
            episodes.append(told.episode(obs[start + i : stop + i + 1], acts[start:stop], own, None, after=True))
        return Recording(tuple(episodes), None)
    following = told.plain(tree.get("next_obs"))
    dones = tree.get("dones", np.zeros(len(acts)))
    if following.shape != obs.shape or len(obs) != len(acts) or np.shape(dones) not in {(len(acts),), (len(acts), 1)}:
        raise Contradiction
    ends = told.ends([dones], len(acts))
    for start, stop in zip([0, *ends[:-1]], ends, strict=True):
        seen, after = obs[start:stop], following[start:stop]
        if not np.array_equal(seen[1:], after[:-1]):
            raise Contradiction
        own = None if rews is None else rews[start:stop]
        episodes.append(told.episode(np.concatenate([seen, after[-1:]]), acts[start:stop], own, None, after=True))
    return Recording(tuple(episodes), None)


def _write_imitation(tree: Tree, folder: Path) -> str:
    return f"imitation:{_write_npz(tree, folder)}"


BODIES = {
    "npz": Layout(_make_body, _write_npz, _load_npz, _tell_body),
    "safetensors": Layout(_make_body, _write_safetensors, _load_safetensors, _tell_body),
    "json": Layout(_make_body, _write_json, _load_json, _tell_body),
    "imitation": Layout(_make_imitation, _write_imitation, _load_npz, _tell_imitation),
}
