"""Faults of the readers that broken recordings found (`benchmarks/fuzz_files.py`), one test each."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from support.fuzzed_files import LAYOUTS

from metalearn.data.errors import InvalidData
from metalearn.data.formats import Recorded, Selection, read_episodes
from metalearn.data.reading import own_file, parse_json

N = 4


def hdf5(path: Path, **members: Any) -> str:
    with h5py.File(path, "w") as file:
        for name, value in members.items():
            file[name] = value
    return str(path)


def demo(group: str, **changed: Any) -> dict[str, Any]:
    t = np.arange(float(N))
    plain = {"obs/state": t, "next_obs/state": t + 1, "actions": t / 9, "rewards": t > 2, "dones": t > 2}
    return {f"{group}/{name}": value for name, value in (plain | changed).items()}


def said(found: Recorded) -> str:
    return " ".join(one.message for own in found.remarks for one in own)


@pytest.mark.parametrize("name", ["Demo_1", "dmo_1", "demo1", "demo_"])
def test_a_group_that_is_nearly_a_demo_is_said(name: str, tmp_path: Path) -> None:
    found = read_episodes(hdf5(tmp_path / "x.hdf5", **demo("data/demo_0"), **demo(f"data/{name}")))
    assert len(found.episodes) == 1
    assert name in said(found)


@pytest.mark.parametrize("name", ["Traj_1", "tra_1", "trajj_1"])
def test_a_group_that_is_nearly_a_trajectory_is_said(name: str, tmp_path: Path) -> None:
    one = {"obs": np.arange(N + 1.0), "actions": np.arange(N) / 9}
    members = {f"{group}/{key}": value for group in ("traj_0", name) for key, value in one.items()}
    assert name in said(read_episodes(hdf5(tmp_path / "x.hdf5", **members)))


@pytest.mark.parametrize("name", ["succes", "Success", "is_succes"])
def test_a_flag_that_is_nearly_success_is_said(name: str, tmp_path: Path) -> None:
    members = demo("data/demo_0") | {f"data/demo_0/{name}": np.arange(N) > 2}
    assert name in said(read_episodes(hdf5(tmp_path / "x.hdf5", **members)))


def test_next_observations_of_another_length_are_refused(tmp_path: Path) -> None:
    longer = demo("data/demo_0", **{"next_obs/state": np.arange(N + 2.0)})
    with pytest.raises(InvalidData, match=r"next_obs.state: expected shape \[4\], as obs.state, got \[6\]"):
        read_episodes(hdf5(tmp_path / "x.hdf5", **longer))


@pytest.mark.parametrize("name", ["reward", "rewardss", "Rewards"])
def test_a_column_of_d4rl_that_is_nearly_a_reward_is_said(name: str, tmp_path: Path) -> None:
    t = np.arange(float(N))
    members = {"observations": t, "actions": t / 9, "terminals": t > 2, name: t}
    assert name in said(read_episodes(hdf5(tmp_path / "x.hdf5", **members)))


def test_observations_are_not_taken_for_a_slip_of_next_observations(tmp_path: Path) -> None:
    t = np.arange(float(N))
    members = {"observations": t, "actions": t / 9, "terminals": t > 2, "timeouts": t > 9, "rewards": t}
    assert "perhaps" not in said(read_episodes(hdf5(tmp_path / "x.hdf5", **members)))
    found = read_episodes(tmp_path / "x.hdf5")
    assert {one.code for own in found.remarks for one in own} == {"last-action-lost"}


def lerobot(folder: Path, *files: dict[str, Any]) -> str:
    (folder / "data" / "chunk-000").mkdir(parents=True)
    for i, columns in enumerate(files):
        parquet.write_table(pa.table(columns), folder / "data" / "chunk-000" / f"{i}.parquet")
    features = {name: {"dtype": "float32", "shape": [1]} for name in ("observation.state", "action")}
    (folder / "meta").mkdir()
    (folder / "meta" / "info.json").write_text(json.dumps({"codebase_version": "v2.1", "features": features}))
    return f"lerobot:{folder}"


def frames(episode: int, **changed: Any) -> dict[str, Any]:
    t = np.arange(N)
    plain = {"observation.state": t / 9, "action": t / 9, "frame_index": t, "episode_index": t * 0 + episode}
    return plain | changed


@pytest.mark.parametrize("name", ["nxet.reward", "next.succes"])
def test_a_column_that_is_misspelled_in_one_file_of_lerobot_is_said(name: str, tmp_path: Path) -> None:
    right = {"next.reward": np.arange(N), "next.success": np.arange(N) > 2}
    first, second = frames(0, **right), frames(1, **{name: np.arange(N) > 2})
    assert name in said(read_episodes(lerobot(tmp_path, first, second)))


@pytest.mark.parametrize("name", ["episode_index", "frame_index"])
def test_indices_of_lerobot_are_whole_numbers(name: str, tmp_path: Path) -> None:
    odd = frames(0)[name].astype(float)
    odd[-1] += 0.5
    with pytest.raises(InvalidData, match=f"{name}: expected whole numbers"):
        read_episodes(lerobot(tmp_path, frames(0, **{name: odd})))


def test_a_name_twice_in_an_hdf5_group_is_refused(tmp_path: Path) -> None:
    path = Path(hdf5(tmp_path / "x.hdf5", **demo("data/demo_0"), **demo("data/demo_1")))
    path.write_bytes(path.read_bytes().replace(b"demo_1", b"demo_0"))
    with pytest.raises(InvalidData, match="data: expected names that differ, got one twice"):
        read_episodes(path)


def test_rewards_of_lerobot_are_read_where_nothing_describes_them(tmp_path: Path) -> None:
    [read] = read_episodes(lerobot(tmp_path, frames(0, **{"next.reward": np.arange(N)}))).episodes
    assert read.rewards is not None
    assert read.rewards.tolist() == [0, 1, 2]


@pytest.mark.parametrize("rate", [True, False])
def test_a_rate_is_no_boolean(rate: bool, tmp_path: Path) -> None:
    body = {"observations": [[0], [1]], "actions": [[0]], "rate_hz": rate}
    (tmp_path / "x.json").write_text(json.dumps(body))
    with pytest.raises(InvalidData, match=r"rate_hz: expected a positive number, got (true|false)"):
        read_episodes(tmp_path / "x.json")


@pytest.mark.parametrize("text", ['{"a": 1, "a": 1}', '[{"b": {"a": 1, "c": 2, "a": 3}}]'])
def test_a_name_twice_in_a_json_object_is_refused(text: str) -> None:
    with pytest.raises(InvalidData, match="'a' twice in one object"):
        parse_json(text.encode())


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").symlink_to(tmp_path / "x")
    with pytest.raises((InvalidData, OSError), match="x"):
        own_file(tmp_path / "x", tmp_path, None).read_bytes()


def test_numbers_beyond_float32_are_refused_without_a_warning(tmp_path: Path) -> None:
    members = {f"obs/{name}": np.full((N, 1), 1e300) for name in ("a", "b")}
    given = demo("data/demo_0") | {f"data/demo_0/{name}": value for name, value in members.items()}
    with (
        np.errstate(all="raise"),
        pytest.raises(InvalidData, match=r"observations.a: expected numbers from -3.4e\+38 to"),
    ):
        read_episodes(hdf5(tmp_path / "x.hdf5", **given), Selection(("a", "b")))


@pytest.mark.parametrize("said_episodes", [0.5, True, 3, "1", None])
def test_a_minari_dataset_has_as_many_episodes_as_it_says(said_episodes: object, tmp_path: Path) -> None:
    tree = LAYOUTS["minari"].make(np.random.default_rng(0))
    only = {name: value for name, value in tree.items() if name.startswith(("metadata#", "episode_0"))}
    source = LAYOUTS["minari"].write(only | {"metadata#total_episodes": said_episodes}, tmp_path)
    with pytest.raises(InvalidData, match=r"total_episodes|dataset"):
        read_episodes(source)
