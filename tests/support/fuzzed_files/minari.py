"""Minari datasets, after a template that Minari itself writes."""

import json
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

import minari
import numpy as np
from gymnasium import spaces
from minari.data_collector import EpisodeBuffer
from support.fuzzed_files import told
from support.fuzzed_files.hdf5 import load_hdf5, write_hdf5
from support.fuzzed_files.layout import Layout, Rng, arrays, lengths, load_json
from support.fuzzed_files.told import Contradiction, Recording, Tree, under


@cache
def _minari_template() -> tuple[Tree, Tree]:
    """The members and the metadata that Minari itself writes for a dataset, made once."""
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
        return load_hdf5(data / "main_data.hdf5"), json.loads((data / "metadata.json").read_text())
    finally:
        shutil.rmtree(home)
        if before is None:
            del os.environ["MINARI_DATASETS_PATH"]
        else:
            os.environ["MINARI_DATASETS_PATH"] = before


def _make_minari(rng: Rng) -> Tree:
    template, metadata = _minari_template()
    tree: Tree = {}
    sizes = lengths(rng)
    for i, n in enumerate(sizes):
        own = under(template, "episode_0")
        one = arrays(rng, n)
        ends = np.arange(n) == n - 1
        own |= {"@id": i, "@total_steps": n}
        own |= {f"/{name}": value for name, value in one.items()}
        own |= {"/terminations": ends, "/truncations": ~ends & ends}
        own["/infos/success"] = np.append(ends, rng.integers(2) == 1)
        tree |= {f"episode_{i}{name}": value for name, value in own.items()}
    counts = {"total_episodes": len(sizes), "total_steps": sum(sizes), "rate_hz": 20}
    return tree | {f"metadata#{name}": value for name, value in (metadata | counts).items()}


def _write_minari(tree: Tree, folder: Path) -> str:
    write_hdf5({name: value for name, value in tree.items() if "#" not in name}, folder / "main_data.hdf5")
    metadata = under(tree, "metadata#")
    (folder / "metadata.json").write_text(json.dumps(metadata, default=lambda value: np.asarray(value).tolist()))
    return f"minari:{folder}"


def _load_minari(folder: Path) -> Tree:
    metadata = load_json((folder / "metadata.json").read_bytes())
    return load_hdf5(folder / "main_data.hdf5") | {f"metadata#{name}": value for name, value in metadata.items()}


def _tell_minari(tree: Tree) -> Recording:
    numbers = told.numbered(list(tree), "episode_")
    if numbers != [str(i) for i in range(len(numbers))] or len(numbers) != tree.get("metadata#total_episodes"):
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


MINARI = Layout(_make_minari, _write_minari, _load_minari, _tell_minari)
