"""RLlib's JSON: a batch of steps on each line. Members are `LINE/COLUMN`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from support.fuzzed_files import told
from support.fuzzed_files.layout import Layout, Rng, arrays, lengths, load_json
from support.fuzzed_files.told import Contradiction, Recording, Tree, under

_ENDS = ("terminateds", "truncateds", "dones")


def _make(rng: Rng) -> Tree:
    tree: Tree = {}
    for i, n in enumerate(lengths(rng)):
        one = arrays(rng, n)
        tree[f"{i}/type"] = "SampleBatch"
        tree |= {f"{i}/obs": one["observations"][:-1], f"{i}/new_obs": one["observations"][1:]}
        tree |= {f"{i}/actions": one["actions"], f"{i}/rewards": one["rewards"]}
        tree |= {f"{i}/terminateds": np.arange(n) == n - 1, f"{i}/truncateds": np.zeros(n, bool)}
        tree |= {f"{i}/eps_id": np.full(n, 70 + i), f"{i}/t": np.arange(n)}
    return tree


def _write(tree: Tree, folder: Path) -> str:
    lines: dict[str, dict[str, Any]] = {}
    for name, value in tree.items():
        line, _, column = name.partition("/")
        lines.setdefault(line, {})[column] = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    (folder / "x.json").write_text("".join(json.dumps(lines[line]) + "\n" for line in sorted(lines)))
    return f"rllib:{folder / 'x.json'}"


def _load(folder: Path) -> Tree:
    lines = [load_json(line) for line in (folder / "x.json").read_bytes().splitlines() if line.strip()]
    return {f"{i}/{name}": value for i, line in enumerate(lines) for name, value in line.items()}


def _tell(tree: Tree) -> Recording:
    """Each line is a whole episode, and ends with a flag: anything else is not plain here."""
    episodes = []
    for line in told.numbered(list(tree), ""):
        own = {name: value for name, value in under(tree, f"{line}/").items() if value is not None}
        if own.get("type") != "SampleBatch" or "actions" not in own or "obs" not in own:
            raise Contradiction
        n = len(told.plain(own["actions"]))
        columns = ("obs", "new_obs", "rewards", "t", *_ENDS, "success")
        if any(len(told.plain(own[name])) != n for name in columns if name in own):
            raise Contradiction
        known = [own[name] for name in _ENDS if name in own]
        if told.ends(known, n) != [n] or not any(np.asarray(one).reshape(-1)[-1] for one in known):
            raise Contradiction
        numbers = np.asarray(own.get("eps_id", [0] * n)).reshape(-1)  # which may as well be text
        times = np.asarray(own.get("t", range(n))).reshape(-1)
        if len(numbers) != n or (numbers != numbers[0]).any() or len(times) != n or (times != np.arange(n)).any():
            raise Contradiction
        seen = told.plain(own["obs"])
        if "new_obs" in own:
            after = told.plain(own["new_obs"])
            if after.shape != seen.shape or not np.array_equal(after[:-1], seen[1:]):
                raise Contradiction
            seen = np.concatenate([seen, after[-1:]])
        flag = next((own[name] for name in ("success", "is_success", "next.success") if name in own), None)
        episodes.append(told.episode(seen, own["actions"], own.get("rewards"), flag, after="new_obs" in own))
    if not episodes:
        raise Contradiction
    return Recording(tuple(episodes), None)


RLLIB = Layout(_make, _write, _load, _tell)
