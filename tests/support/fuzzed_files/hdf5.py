"""The layouts of HDF5: robomimic's, ManiSkill's, D4RL's and ALOHA's."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from gymnasium import spaces
from support.fuzzed_files import told
from support.fuzzed_files.layout import Layout, Rng, arrays, lengths
from support.fuzzed_files.told import Contradiction, Recording, Tree, under

_FLAGS = ("success", "is_success", "next.success")


def write_hdf5(tree: Tree, path: Path) -> None:
    with h5py.File(path, "w", track_order=True) as file:
        for name, value in tree.items():
            home, at, attribute = name.partition("@")
            if at:
                file.require_group(home or "/").attrs[attribute] = value
            else:
                array = np.asarray(value)
                text = array.dtype.kind in "US"
                file.create_dataset(name, data=array.astype(object) if text else array,
                                    dtype=h5py.string_dtype() if text else None)  # fmt: skip


def load_hdf5(path: Path) -> Tree:
    tree: Tree = {}

    def visit(name: str, item: Any) -> None:
        tree.update({f"{name}@{key}": value for key, value in item.attrs.items()})
        if isinstance(item, h5py.Dataset):
            if item.shape is not None and item.size * item.dtype.itemsize > 1e8:
                raise Contradiction
            tree[name] = np.asarray(item[()])

    with h5py.File(path) as file:
        tree.update({f"@{key}": value for key, value in file.attrs.items()})
        file.visititems(visit)
    return tree


def _make_robomimic(rng: Rng) -> Tree:
    tree: Tree = {"data@env_args": json.dumps({"env_name": "Lift", "env_kwargs": {"control_freq": 20}})}
    following = bool(rng.integers(2))
    for i, n in enumerate(lengths(rng)):
        one, demo = arrays(rng, n), f"data/demo_{i}"
        seen = one["observations"]
        tree |= {f"{demo}@num_samples": n, f"{demo}/obs/eef": seen[:-1, :3], f"{demo}/obs/gripper": seen[:-1, 3:]}
        if following:
            tree |= {f"{demo}/next_obs/eef": seen[1:, :3], f"{demo}/next_obs/gripper": seen[1:, 3:]}
        tree |= {f"{demo}/actions": one["actions"], f"{demo}/rewards": one["rewards"]}
        tree[f"{demo}/dones"] = np.arange(n) == n - 1
    return tree


def _make_with_camera(rng: Rng) -> Tree:
    """Of robomimic, with a picture of one pixel where the gripper was."""
    tree = _make_robomimic(rng)
    return {
        name.replace("/gripper", "/camera"): np.abs(value).astype(np.uint8)[..., None, None]
        if name.endswith("/gripper")
        else value
        for name, value in tree.items()
    }


def _tell_robomimic(tree: Tree) -> Recording:
    episodes = []
    for number in told.numbered(list(under(tree, "data/")), "demo_"):
        demo = under(tree, f"data/demo_{number}/")
        keys = ("state",) if "obs/state" in demo else ("eef", "gripper")
        keys = ("camera", "eef") if "obs/camera" in demo else keys
        seen = [told.plain(demo.get(f"obs/{key}")) for key in keys]
        following = [demo.get(f"next_obs/{key}") for key in keys]
        after = all(one is not None for one in following)
        if after:
            nexts = [told.plain(one) for one in following]
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
        episodes.append(
            told.episode(
                np.concatenate([one.reshape(len(one), -1) for one in seen], axis=1),
                demo.get("actions"),
                rewards,
                success,
                after=after,
            )
        )
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


def _write_robomimic(tree: Tree, folder: Path) -> str:
    write_hdf5(tree, folder / "x.hdf5")
    return f"robomimic:{folder / 'x.hdf5'}"


# ManiSkill


def _make_maniskill(rng: Rng) -> Tree:
    tree: Tree = {}
    for i, n in enumerate(lengths(rng)):
        one, home = arrays(rng, n), f"traj_{i}"
        tree |= {f"{home}/obs": one["observations"], f"{home}/actions": one["actions"]}
        tree |= {f"{home}/rewards": one["rewards"], f"{home}/success": np.arange(n) >= n - rng.integers(2)}
        tree[f"{home}/terminated"] = np.arange(n) == n - 1
    return tree


def _tell_maniskill(tree: Tree) -> Recording:
    episodes = []
    for number in told.numbered(list(tree), "traj_"):
        own = under(tree, f"traj_{number}/")
        if "actions" not in own:
            raise Contradiction
        episodes.append(
            told.episode(
                own.get("obs"), own["actions"], own.get("rewards"), _flag(own), after=_after(own, "obs", "actions")
            )
        )
    if not episodes:
        raise Contradiction
    return Recording(tuple(episodes), None)


def _flag(own: Tree) -> Any:
    """The success flag, an array or an attribute."""
    return next((own[name] for key in _FLAGS for name in (key, f"@{key}") if name in own), None)


def _after(own: Tree, seen: str, acted: str) -> bool:
    return len(told.plain(own.get(seen))) == len(told.plain(own.get(acted))) + 1


# D4RL


def _make_d4rl(rng: Rng) -> Tree:
    parts = [arrays(rng, n) for n in lengths(rng)]
    last = np.cumsum([len(one["actions"]) for one in parts]) - 1
    n = int(last[-1]) + 1
    tree: Tree = {
        "observations": np.concatenate([one["observations"][:-1] for one in parts]),
        "actions": np.concatenate([one["actions"] for one in parts]),
        "rewards": np.concatenate([one["rewards"] for one in parts]),
        "terminals": np.isin(np.arange(n), last[::2]),
        "timeouts": np.isin(np.arange(n), last[1::2]),
    }
    if rng.integers(2):
        tree["next_observations"] = np.concatenate([one["observations"][1:] for one in parts])
    return tree


def _tell_d4rl(tree: Tree) -> Recording:
    acted, seen = told.plain(tree.get("actions")), told.plain(tree.get("observations"))
    following = None if "next_observations" not in tree else told.plain(tree["next_observations"])
    rewards = None if "rewards" not in tree else told.plain(tree["rewards"])
    flags = [tree[name] for name in ("terminals", "timeouts") if name in tree]
    if not flags or any(one is not None and len(one) != len(acted) for one in (seen, following, rewards)):
        raise Contradiction
    if following is not None and following.shape != seen.shape:
        raise Contradiction
    episodes, stops = [], told.ends(flags, len(acted))
    for start, stop in zip([0, *stops[:-1]], stops, strict=True):
        own = seen[start:stop]
        if following is not None:
            if not np.array_equal(own[1:], following[start : stop - 1]):
                raise Contradiction
            own = np.concatenate([own, following[stop - 1 : stop]])
        earned = None if rewards is None else rewards[start:stop]
        success = next(
            (np.asarray(tree[key])[start:stop] for one in _FLAGS for key in (one, f"infos/{one}") if key in tree), None
        )
        episodes.append(told.episode(own, acted[start:stop], earned, success, after=following is not None))
    return Recording(tuple(episodes), None)


# ALOHA


def _make_aloha(rng: Rng) -> Tree:
    [n, *_] = lengths(rng)
    one = arrays(rng, n)
    return {
        "observations/qpos": one["observations"][:-1],
        "observations/qvel": one["observations"][1:],
        "action": one["actions"],
        "@sim": True,
    }


def _tell_aloha(tree: Tree) -> Recording:
    if "action" not in tree:
        raise Contradiction
    own = told.episode(
        tree.get("observations/qpos"),
        tree["action"],
        None,
        _flag(tree),
        after=_after(tree, "observations/qpos", "action"),
    )
    return Recording((own,), None)


# Any of them


def _make_any(rng: Rng) -> Tree:
    return (_make_of_one_key, _make_maniskill, _make_d4rl, _make_aloha)[rng.integers(4)](rng)


def _make_of_one_key(rng: Rng) -> Tree:
    """Of robomimic, with all observations in one array."""
    tree = _make_robomimic(rng)
    return {
        name.replace("/eef", "/state"): np.concatenate([value, tree[name.replace("eef", "gripper")]], axis=1)
        if name.endswith("/eef")
        else value
        for name, value in tree.items()
        if not name.endswith("/gripper")
    }


def _tell_any(tree: Tree) -> Recording:
    """By what is there, in the order of the docs."""
    if told.numbered(list(under(tree, "data/")), "demo_") or told.numbered(list(tree), "demo_"):
        return _tell_robomimic(tree)
    if told.numbered(list(tree), "traj_"):
        return _tell_maniskill(tree)
    if "terminals" in tree or "timeouts" in tree:
        return _tell_d4rl(tree)
    return _tell_aloha(tree)


def _write(tree: Tree, folder: Path, kind: str) -> str:
    write_hdf5(tree, folder / "x.hdf5")
    return f"{kind}:{folder / 'x.hdf5'}"


def _load(folder: Path) -> Tree:
    return load_hdf5(folder / "x.hdf5")


def _layout(kind: str, make: Callable[[Rng], Tree], tell: Callable[[Tree], Recording]) -> Layout:
    return Layout(make, partial(_write, kind=kind), _load, tell)


CAMERA = "robomimic with a camera"
_ROBOMIMIC = _layout("robomimic", _make_robomimic, _tell_robomimic)
HDF5 = {
    "hdf5": _layout("hdf5", _make_any, _tell_any),
    "robomimic": replace(_ROBOMIMIC, observations=("eef", "gripper")),
    CAMERA: replace(
        _layout("robomimic", _make_with_camera, _tell_robomimic),
        observations=("eef", "camera"),
        observation_space=spaces.Dict(
            {
                "eef": spaces.Box(-np.inf, np.inf, (3,), np.float32),
                "camera": spaces.Box(0, 255, (1, 1, 1), np.uint8),
            }
        ),
    ),
    "maniskill": _layout("maniskill", _make_maniskill, _tell_maniskill),
    "d4rl": _layout("d4rl", _make_d4rl, _tell_d4rl),
    "aloha": _layout("aloha", _make_aloha, _tell_aloha),
}
