"""Recordings of other people's formats come back as the episodes that went in, and damaged ones are refused."""

import json
import sys
from pathlib import Path
from typing import Any

import h5py
import minari
import numpy as np
import pyarrow as pa
import pytest
from gymnasium import spaces
from minari.data_collector import EpisodeBuffer
from pyarrow import parquet

from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidBytes, InvalidConfig, InvalidData, TooLarge
from metalearn.data.formats import (
    FORMATS,
    Limits,
    Selection,
    decode_npz,
    find_format,
    read_episodes,
    read_lerobot,
    read_minari,
    read_robomimic,
    write_episodes,
    write_minari,
)
from metalearn.data.formats.files import read_file
from metalearn.data.spec import Spec

SPEC = Spec(spaces.Box(-9, 9, (3,), np.float32), spaces.Box(-1, 1, (2,), np.float32), 50, 20.0)


def episode(seed: int, success: bool | None = True, n_steps: int = 4) -> Episode:
    rng = np.random.default_rng(seed)
    rewards = np.zeros(n_steps)
    rewards[-1] = bool(success)
    return Episode.of(rng.normal(size=(n_steps + 1, 3)), rng.uniform(-1, 1, (n_steps, 2)), rewards, success)


EPISODES = (episode(0), episode(1, False, 7), episode(2, True, 1))


@pytest.fixture(autouse=True)
def _minari_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))


# npz, safetensors, json


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_files_give_back_what_was_written(tmp_path: Path, suffix: str) -> None:
    given = (*EPISODES, EPISODES[0].without_actions(), Episode.of(np.ones((3, 2))))
    write_episodes(tmp_path / f"x{suffix}", given, rate_hz=20.0)
    read = read_episodes(tmp_path / f"x{suffix}")
    assert (read.episodes, read.rate_hz) == (given, 20.0)


def test_plain_numpy_and_json_files_are_read(tmp_path: Path) -> None:
    one = EPISODES[0]
    np.savez(
        tmp_path / "one.npz", observations=one.observations, actions=one.actions, rewards=one.rewards, success=True
    )
    assert read_episodes(tmp_path / "one.npz").episodes == (one,)
    named = {"demos/0/observations": one.observations, "demos/1/observations": EPISODES[1].observations}
    np.savez_compressed(tmp_path / "two.npz", **named)
    assert [len(e) for e in read_episodes(tmp_path / "two.npz").episodes] == [4, 7]
    (tmp_path / "x.json").write_text(json.dumps({"trials": [{"observations": one.observations.tolist()}]}))
    np.testing.assert_allclose(read_episodes(tmp_path / "x.json").episodes[0].observations, one.observations, rtol=1e-6)


def said(error: pytest.ExceptionInfo[InvalidData]) -> str:
    return str(error.value)


def test_files_that_cannot_be_used_are_named_with_the_field(tmp_path: Path) -> None:
    np.savez(tmp_path / "bad.npz", **{"demos/0/observations": np.ones((3, 2)), "demos/0/actions": np.ones((9, 2))})
    with pytest.raises(InvalidData) as caught:
        read_episodes(tmp_path / "bad.npz")
    assert said(caught).startswith(f"{tmp_path}/bad.npz: demos[0].actions: expected 2 steps")
    for name, content in {"x.npz": b"PK", "x.safetensors": b"\xff" * 20, "x.json": b"[1]", "x.txt": b""}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises((InvalidData, InvalidConfig), match="expected"):
            read_episodes(tmp_path / name)
    with pytest.raises(TooLarge):
        read_file(tmp_path / "bad.npz", limits=Limits(n_bytes=10), decode=decode_npz)
    with pytest.raises(OSError, match="No such file"):
        read_episodes(tmp_path / "none.npz")


# the table


@pytest.mark.parametrize("kind", FORMATS)
def test_what_a_kind_or_a_suffix_means_is_said_in_the_table(kind: str) -> None:
    assert find_format(f"{kind}:some/place") == (FORMATS[kind], "some/place")
    for suffix in FORMATS[kind].suffixes:
        assert find_format(Path(f"x{suffix.upper()}")) == (FORMATS[kind], f"x{suffix.upper()}")


def test_no_two_formats_share_a_suffix_or_a_media_type() -> None:
    suffixes = [suffix for entry in FORMATS.values() for suffix in entry.suffixes]
    media_types = [entry.media_type for entry in FORMATS.values() if entry.media_type]
    assert len(set(suffixes)) == len(suffixes)
    assert len(set(media_types)) == len(media_types)
    assert all((entry.media_type is None) == (entry.decode is None) for entry in FORMATS.values())


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("mianri:robot/x-v0", "did you mean minari?"),
        ("zarr:x", "no kind zarr of recordings (there are npz, safetensors, json, minari, hdf5, "),
        ("x.csv", "a file ending in .npz, .safetensors, .json, .hdf5, .h5"),
        ("minari:", "expected minari:ID or DIR"),
    ],
)
def test_a_source_that_says_no_format_is_one_sentence(source: str, expected: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        read_episodes(source)
    assert expected in str(caught.value)


def test_a_library_that_is_not_installed_is_named_with_what_installs_it(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "x.hdf5").touch()
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InvalidConfig, match=r"h5py is not installed: pip install 'watch-try-learn\[train\]'"):
        read_episodes(tmp_path / "x.hdf5")


def test_only_what_is_chosen_of_a_file_is_read(tmp_path: Path) -> None:
    write_episodes(tmp_path / "x.npz", EPISODES)
    assert read_episodes(f"npz:{tmp_path}/x.npz", Selection(episodes=(2, 0))).episodes == (EPISODES[2], EPISODES[0])
    with pytest.raises(InvalidData, match=r"x\.npz: episodes: expected numbers from 0 to 2, got 3"):
        read_episodes(tmp_path / "x.npz", Selection(episodes=(3,)))


def test_what_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="hdf5 is only read; write one of npz, safetensors, minari"):
        write_episodes(tmp_path / "x.hdf5", EPISODES)
    with pytest.raises(InvalidConfig, match="holds the spaces of its episodes"):
        write_episodes("minari:robot/x-v0", EPISODES)


# robomimic


def robomimic(path: Path, episodes: tuple[Episode, ...] = EPISODES, next_obs: bool = True) -> Path:
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_name": "Lift", "env_kwargs": {"control_freq": 20}})
        for i, one in enumerate(episodes):
            demo = data.create_group(f"demo_{i}")
            demo.attrs["num_samples"] = len(one)
            for group, seen in (("obs", one.observations[:-1]), ("next_obs", one.observations[1:])):
                if group == "obs" or next_obs:
                    demo[f"{group}/eef_pos"], demo[f"{group}/gripper"] = seen[:, :2], seen[:, 2:]
            demo.create_dataset("actions", data=one.actions.astype(np.float64), compression="gzip")
            demo["rewards"], demo["dones"] = one.rewards, np.arange(len(one)) == len(one) - 1
    return path


KEYS = ("eef_pos", "gripper")


def test_robomimic_demos_are_read(tmp_path: Path) -> None:
    read = read_robomimic(robomimic(tmp_path / "x.hdf5"), Selection(KEYS))
    assert (read.episodes, read.rate_hz) == (EPISODES, 20.0)


def test_demos_are_ordered_by_number_and_selected(tmp_path: Path) -> None:
    many = tuple(episode(i) for i in range(12))
    read = read_robomimic(robomimic(tmp_path / "x.hdf5", many), Selection(KEYS, episodes=(10, 2)))
    assert read.episodes == (many[10], many[2])


def test_the_order_of_keys_is_the_order_of_numbers(tmp_path: Path) -> None:
    [read, *_] = read_robomimic(robomimic(tmp_path / "x.hdf5"), Selection(KEYS[::-1])).episodes
    np.testing.assert_array_equal(read.observations, EPISODES[0].observations[:, [2, 0, 1]])


def test_without_next_obs_the_last_action_is_lost_and_success_is_not(tmp_path: Path) -> None:
    path = robomimic(tmp_path / "x.hdf5", EPISODES[:2], next_obs=False)
    first, second = read_robomimic(path, Selection(KEYS)).episodes
    assert (len(first), first.success, second.success) == (3, True, False)
    np.testing.assert_array_equal(first.observations, EPISODES[0].observations[:-1])


@pytest.mark.parametrize(
    ("rule", "successes"),
    [
        ("reward", [True, False]),
        ("terminated", [True, True]),
        ("yes", [True, True]),
        ("no", [False, False]),
        ("unknown", [None, None]),
    ],
)
def test_rules_of_success(tmp_path: Path, rule: str, successes: list[bool | None]) -> None:
    path = robomimic(tmp_path / "x.hdf5", EPISODES[:2])
    assert [one.success for one in read_robomimic(path, Selection(KEYS, rule)).episodes] == successes


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), "observations: expected the keys to use, in order: some of eef_pos, gripper"),
        (Selection(("eef",)), "expected some of eef_pos, gripper, got eef"),
        (Selection(KEYS, episodes=(3,)), "episodes: expected numbers from 0 to 2, got 3"),
        (Selection(KEYS, "solved"), "demo_0.success: expected one of auto"),
        (Selection(KEYS, actions="joint"), "data/demo_0/joint: expected an array, got none"),
    ],
)
def test_what_cannot_be_mapped_is_said(tmp_path: Path, selection: Selection, expected: str) -> None:
    with pytest.raises(InvalidData) as caught:
        read_robomimic(robomimic(tmp_path / "x.hdf5"), selection)
    assert expected in said(caught)
    assert said(caught).startswith(str(tmp_path / "x.hdf5"))


def damage(path: Path, kind: str) -> Any:
    with h5py.File(path, "r+") as file:
        demo = file["data/demo_0"]
        del demo["rewards"]
        match kind:
            case "an external link":
                demo["rewards"] = h5py.ExternalLink("/etc/hostname", "/")
            case "a soft link":
                demo["rewards"] = h5py.SoftLink("/data/demo_1/rewards")
            case "data in another file":
                demo.create_dataset("rewards", (4,), "u1", external=[("/etc/hostname", 0, 4)])
            case "a virtual dataset":
                layout = h5py.VirtualLayout((4,), "f8")
                layout[:] = h5py.VirtualSource(str(path), "data/demo_1/dones", (4,))
                demo.create_virtual_dataset("rewards", layout)
            case "a huge shape":
                demo.create_dataset("rewards", (2**40,), "f8", chunks=(1024,))
            case "strings":
                demo["rewards"] = ["a", "b", "c", "d"]
            case "a group":
                demo.create_group("rewards")
            case "a cycle":
                demo["rewards"] = file["data"]


KINDS = (
    "an external link",
    "a soft link",
    "data in another file",
    "a virtual dataset",
    "a huge shape",
    "strings",
    "a group",
    "a cycle",
)


@pytest.mark.parametrize("kind", KINDS)
def test_hdf5_that_points_out_of_itself_or_lies_is_refused(tmp_path: Path, kind: str) -> None:
    damage(robomimic(tmp_path / "x.hdf5"), kind)
    with pytest.raises(InvalidData, match=r"x\.hdf5: "):
        read_robomimic(tmp_path / "x.hdf5", Selection(KEYS))


def test_what_is_no_robomimic_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.hdf5").write_text("hello")
    (tmp_path / "cut.hdf5").write_bytes(robomimic(tmp_path / "x.hdf5").read_bytes()[:3000])
    h5py.File(tmp_path / "empty.hdf5", "w").close()
    for name in ("text", "cut", "empty"):
        with pytest.raises(InvalidData):
            read_robomimic(tmp_path / f"{name}.hdf5", Selection(KEYS))
    with pytest.raises(FileNotFoundError):
        read_robomimic(tmp_path / "none.hdf5")


# LeRobot


def lerobot(folder: Path, version: str = "v3.0", episodes: tuple[Episode, ...] = EPISODES[:2], **info: Any) -> Path:
    """As LeRobot writes them: v2 with a file per episode and plain lists, v3 with one file and lists of fixed size."""
    rows = [
        {
            "observation.state": one.observations[t],
            "action": one.actions[t],
            "next.reward": one.rewards[t],
            "next.success": bool(one.success) and t == len(one) - 1,
            "next.done": t == len(one) - 1,
            "episode_index": i,
            "frame_index": t,
        }
        for i, one in enumerate(episodes)
        for t in range(len(one))
    ]
    fixed = version.startswith("v3")
    types = {
        "observation.state": pa.list_(pa.float32(), 3 if fixed else -1),
        "action": pa.list_(pa.float32(), 2 if fixed else -1),
    }
    table = pa.table({name: pa.array([row[name] for row in rows], types.get(name)) for name in rows[0]})
    home = folder / "data" / "chunk-000"
    home.mkdir(parents=True)
    if fixed:
        parquet.write_table(table, home / "file-000.parquet")
    else:
        for i in range(len(episodes)):
            own = table.filter(pa.compute.equal(table["episode_index"], i))
            parquet.write_table(own, home / f"episode_{i:06d}.parquet")
    features = {name: {"dtype": "float32", "shape": [1]} for name in table.column_names}
    features["observation.images.top"] = {"dtype": "video", "shape": [3, 96, 96]}
    (folder / "meta").mkdir()
    head = {"codebase_version": version, "fps": 20, "features": features} | info
    (folder / "meta" / "info.json").write_text(json.dumps(head))
    return folder


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_lerobot_datasets_are_read_but_for_the_last_action(tmp_path: Path, version: str) -> None:
    read = read_lerobot(lerobot(tmp_path / "x", version))
    assert read.rate_hz == 20.0
    for got, given in zip(read.episodes, EPISODES, strict=False):
        expected = Episode.of(given.observations[:-1], given.actions[:-1], given.rewards[:-1], given.success)
        assert got == expected


def test_lerobot_episodes_and_observations_are_selected(tmp_path: Path) -> None:
    selection = Selection(("action", "observation.state"), "unknown", (1,))
    [read] = read_lerobot(lerobot(tmp_path / "x"), selection).episodes
    assert (read.observations.shape, read.success) == ((7, 5), None)


@pytest.mark.parametrize(
    ("selection", "info", "expected"),
    [
        (Selection(), {"codebase_version": "v9.0"}, "codebase_version: expected v1.x, v2.x or v3.x, got 'v9.0'"),
        (Selection(), {"features": None}, "features: expected an object"),
        (Selection(("observation.images.top",)), {}, "observations: expected numeric features"),
        (Selection(episodes=(2,)), {}, "episodes: expected numbers from 0 to 1"),
        (Selection(), {"data_path": "{x.__class__}/../../etc"}, None),
    ],
)
def test_lerobot_metadata_are_checked(tmp_path: Path, selection: Selection, info: Any, expected: str | None) -> None:
    folder = lerobot(tmp_path / "x", **info)
    if expected is None:
        assert len(read_lerobot(folder, selection).episodes) == 2  # a template of a stranger's is not used
        return
    with pytest.raises(InvalidData) as caught:
        read_lerobot(folder, selection)
    assert expected in said(caught)


def test_damaged_lerobot_datasets_are_refused(tmp_path: Path) -> None:
    file = Path("data/chunk-000/file-000.parquet")
    whole = lerobot(tmp_path / "whole")
    table = parquet.read_table(whole / file)
    ragged = table.set_column(0, "observation.state", pa.array([[1.0]] * 10 + [[1.0, 2.0]]))
    nulls = table.set_column(1, "action", pa.array([None] + [[1.0, 2.0]] * 10))
    for name, content in {
        "ragged": ragged,
        "null": nulls,
        "gap": table.slice(1),
        "missing": table.drop(["action"]),
    }.items():
        folder = lerobot(tmp_path / name)
        parquet.write_table(content, folder / file)
        with pytest.raises(InvalidData):
            read_lerobot(folder)
    (whole / file).write_bytes((whole / file).read_bytes()[:200])
    with pytest.raises(InvalidBytes, match="Parquet"):
        read_lerobot(whole)
    (whole / file).unlink()
    (whole / file).symlink_to(tmp_path / "ragged" / file)
    with pytest.raises(InvalidBytes, match="link out of it"):
        read_lerobot(whole)


# Minari


def test_what_is_written_to_minari_is_read_back(tmp_path: Path) -> None:
    bare = Episode.of(EPISODES[0].observations, EPISODES[0].actions)
    given = (*EPISODES, bare)
    write_minari("robot/reach-v0", given, SPEC)
    read = read_minari("robot/reach-v0")
    assert (read.episodes, read.rate_hz) == (given, 20.0)
    assert read_minari(tmp_path / "minari" / "robot" / "reach-v0").episodes == given
    assert read_minari("robot/reach-v0", Selection(episodes=(1,))).episodes == (EPISODES[1],)
    assert minari.load_dataset("robot/reach-v0").total_steps == sum(map(len, given))
    with pytest.raises(InvalidConfig, match="already"):
        write_minari("robot/reach-v0", given, SPEC)


def test_discrete_actions_and_dictionaries_of_observations(tmp_path: Path) -> None:
    space = spaces.Dict({"a": spaces.Box(-9, 9, (2,)), "b": spaces.Discrete(5)})
    buffer = EpisodeBuffer(
        observations={"a": np.ones((4, 2), np.float32), "b": np.array([0, 1, 2, 3])},
        actions=np.array([0, 1, 0]),
        rewards=[0.0, 0.0, 1.0],
        terminations=[False, False, True],
        truncations=[False] * 3,
        infos={"success": np.array([False, False, True, False])},
    )
    minari.create_dataset_from_buffers(
        "robot/dict-v0", [buffer], observation_space=space, action_space=spaces.Discrete(2), data_format="hdf5"
    )
    [read] = read_minari("robot/dict-v0", Selection(("b", "a"))).episodes
    assert (read.observations.tolist()[1], read.actions.tolist(), read.success) == ([1, 1, 1], [0, 1, 0], False)
    [read] = read_minari("robot/dict-v0", Selection(("a",), "any:success")).episodes
    assert read.success is True
    with pytest.raises(InvalidData, match="some of a, b"):
        read_minari("robot/dict-v0")


@pytest.mark.parametrize("dataset_id", ["", "x", "../x-v0", "/etc/x-v0", "x v0"])
def test_no_dataset_is_written_outside(dataset_id: str) -> None:
    with pytest.raises(InvalidConfig, match="is no dataset id"):
        write_minari(dataset_id, EPISODES, SPEC)
    with pytest.raises(InvalidData, match="Minari dataset on this machine"):
        read_minari(dataset_id or "nothing-v0")


def test_an_episode_without_actions_has_no_place_in_minari() -> None:
    with pytest.raises(InvalidData, match=r"episodes\[1\].actions"):
        write_minari("robot/other-v0", [EPISODES[0], EPISODES[1].without_actions()], SPEC)


def test_a_minari_dataset_runs_no_code_and_damage_is_refused(tmp_path: Path) -> None:
    write_minari("robot/other-v0", EPISODES, SPEC)
    data = tmp_path / "minari" / "robot" / "other-v0" / "data"
    metadata = json.loads((data / "metadata.json").read_text())
    spec = {"id": "x-v0", "entry_point": "os:mkdir", "kwargs": {"path": str(tmp_path / "ran")}}
    evil = {key: value for key, value in metadata.items() if not key.endswith("_space")} | {
        "env_spec": json.dumps(spec)
    }
    (data / "metadata.json").write_text(json.dumps(evil))
    with pytest.raises(InvalidData, match="observation_space"):
        read_minari("robot/other-v0")
    assert not (tmp_path / "ran").exists()
    for broken in (
        metadata | {"minari_version": "99"},
        metadata | {"total_episodes": 5},
        metadata | {"action_space": "{"},
    ):
        (data / "metadata.json").write_text(json.dumps(broken))
        with pytest.raises(InvalidData):
            read_minari("robot/other-v0")
    (data / "metadata.json").write_text(json.dumps(metadata))
    with h5py.File(data / "main_data.hdf5", "r+") as file:
        del file["episode_0/rewards"]
        file["episode_0/rewards"] = h5py.ExternalLink("/etc/hostname", "/")
    with pytest.raises(InvalidBytes, match="a link"):
        read_minari("robot/other-v0")
