"""Faults that users of other projects reported: what would be dropped, guessed or doubtful is refused or said."""

import json
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
from metalearn.data.errors import InvalidBytes, InvalidData
from metalearn.data.fitting import fit_recorded, joined
from metalearn.data.formats import Recorded, Selection, read_episodes, write_episodes
from metalearn.data.reading import parse_json
from metalearn.data.spec import Spec

SPEC = Spec(spaces.Box(-9, 9, (1,), np.float32), spaces.Box(-1, 1, (1,), np.float32), 50, 20.0)
BOM = b"\xef\xbb\xbf"
POINTER = b"version https://git-lfs.example/spec/v1\noid sha256:4d7a\nsize 12345\n"
NAN = float("nan")
Columns = dict[str, Any]


@pytest.fixture(autouse=True)
def _minari_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))


def frames(n: int = 6, **changed: Any) -> Columns:
    """One episode of n frames as LeRobot writes them, features of one component without their axis."""
    t = np.arange(n)
    plain = {"observation.state": t / 10, "action": t / 20, "next.reward": t == n - 1, "timestamp": t / 20}
    return plain | {"next.success": t == n - 1, "frame_index": t} | changed


def lerobot(folder: Path, *episodes: Columns) -> Path:
    home = folder / "data" / "chunk-000"
    home.mkdir(parents=True)
    for i, one in enumerate(episodes):
        n = len(one["frame_index"])
        parquet.write_table(pa.table({**one, "episode_index": [i] * n}), home / f"episode_{i:06d}.parquet")
    features = {name: {"dtype": "float32", "shape": [1]} for name in (*episodes[0], "episode_index")}
    (folder / "meta").mkdir()
    info = {"codebase_version": "v2.1", "fps": 20, "features": features}
    (folder / "meta" / "info.json").write_text(json.dumps(info))
    return folder


def robomimic(path: Path, **arrays: Any) -> Path:
    """One demo of four steps; an array that is None is left out."""
    t = np.arange(4.0)
    plain = {"obs/state": t, "next_obs/state": t + 1, "actions": t / 9, "rewards": [0, 0, 0, 1], "dones": [0, 0, 0, 1]}
    with h5py.File(path, "w") as file:
        for name, value in (plain | arrays).items():
            if value is not None:
                file[f"data/demo_0/{name}"] = value
    return path


def minari_dataset(infos: dict[str, Any], dataset_id: str = "robot/x-v0", **changed: Any) -> str:
    n = 5
    fields = {
        "observations": np.arange(n + 1, dtype=np.float32)[:, None],
        "actions": np.zeros((n, 1), np.float32),
        "rewards": np.zeros(n),
        "terminations": [False] * n,
        "truncations": [False] * (n - 1) + [True],
    } | changed
    minari.create_dataset_from_buffers(
        dataset_id,
        [EpisodeBuffer(infos=infos, **fields)],
        observation_space=spaces.Box(-9, 9, (1,), np.float32),
        action_space=changed.get("action_space", spaces.Box(-1, 1, (1,), np.float32)),
        data_format="hdf5",
    )
    return f"minari:{dataset_id}"


def codes(found: Recorded, episode: int = 0) -> list[str]:
    return [remark.code for remark in found.remarks[episode]]


# Flags


@pytest.mark.parametrize(
    ("flags", "success"),
    [([NAN] * 6, None), ([0.0] * 5 + [NAN], None), ([0.0] * 5 + [1.0], True), ([0] * 6, False), ([2] * 6, "refused")],
)
def test_a_success_flag_means_the_same_in_every_format(tmp_path: Path, flags: Any, success: Any) -> None:
    numbers = np.array(flags, float)
    np.savez(tmp_path / "x.npz", observations=np.zeros((3, 1)), success=numbers[-1])
    body = {"observations": [[0], [1]], "success": numbers[-1]}
    (tmp_path / "x.json").write_text(json.dumps(body))
    sources = [
        tmp_path / "x.npz",
        tmp_path / "x.json",
        minari_dataset({"success": numbers}),
        f"robomimic:{robomimic(tmp_path / 'x.hdf5', success=numbers[2:])}",
        f"lerobot:{lerobot(tmp_path / 'lerobot', frames(**{'next.success': numbers}))}",
    ]
    for source in sources:
        if success == "refused":
            with pytest.raises(InvalidData, match=r"success.*: expected true, false, 1, 0, or null"):
                read_episodes(source)
        else:
            assert read_episodes(source).episodes[0].success is success, source


def test_the_flag_of_the_end_is_read_by_the_same_rule_if_it_is_asked_for(tmp_path: Path) -> None:
    for i, (dones, expected) in enumerate((([0, 0, 0, NAN], None), ([0, 0, 0, 1.0], True), ([0, 0, 0, 7], "refused"))):
        path = robomimic(tmp_path / f"{i}.hdf5", dones=dones)
        read_episodes(path)
        if expected == "refused":
            with pytest.raises(InvalidData, match="terminated: expected true"):
                read_episodes(path, Selection(success="terminated"))
        else:
            assert read_episodes(path, Selection(success="terminated")).episodes[0].success is expected


# Names of fields


@pytest.mark.parametrize(
    ("name", "meant"), [("action", "actions"), ("Rewards", "rewards"), ("obs", "observations"), ("sucess", "success")]
)
def test_a_field_that_nobody_reads_is_refused_with_the_near_name(tmp_path: Path, name: str, meant: str) -> None:
    arrays = {"observations": np.zeros((3, 1)), name: np.zeros((2, 1))}
    np.savez(tmp_path / "alone.npz", **arrays)
    np.savez(tmp_path / "several.npz", **{f"episodes/0/{key}": value for key, value in arrays.items()})
    (tmp_path / "x.json").write_text(json.dumps({key: value.tolist() for key, value in arrays.items()}))
    for file in ("alone.npz", "several.npz", "x.json"):
        with pytest.raises(InvalidData, match=f"{name}: expected one of .*an unknown field; did you mean {meant}"):
            read_episodes(tmp_path / file)


def test_fields_of_no_known_meaning_are_refused_and_text_that_nobody_needs_is_passed_over(tmp_path: Path) -> None:
    arrays: Any = {"observations": np.zeros((3, 1)), "joints": np.array(["a", "b"]), "tags": np.array([None, {}])}
    np.savez(tmp_path / "x.npz", **arrays)
    found = read_episodes(tmp_path / "x.npz")
    assert codes(found) == ["arrays-unread"]
    assert "joints, tags" in found.remarks[0][0].message
    np.savez(tmp_path / "y.npz", **arrays, gripper=np.zeros(2))
    with pytest.raises(InvalidData, match="gripper: expected one of observations"):
        read_episodes(tmp_path / "y.npz")
    np.savez(tmp_path / "z.npz", observations=np.array(["0", "1"]))
    with pytest.raises(InvalidData, match="observations: expected numbers, got <U1"):
        read_episodes(tmp_path / "z.npz")


@pytest.mark.parametrize("name", ["my notes", "ünits", "0", "a//b", "../x", "." * 70, "a/b/c/d/e/f/g/h/i/j"])
def test_what_is_not_read_may_be_called_anything(tmp_path: Path, name: str) -> None:
    np.savez(tmp_path / "x.npz", **{"observations": np.zeros((3, 1)), name: np.array(["a", "b"])})
    assert codes(read_episodes(tmp_path / "x.npz")) == ["arrays-unread"]


def test_what_a_foreign_dataset_has_besides_stops_nothing(tmp_path: Path) -> None:
    folder = lerobot(tmp_path / "x", frames(task=["pick"] * 6))
    (folder / "data" / "chunk-000" / "._episode_000000.parquet").write_bytes(b"\0\5\x16\7")
    assert len(read_episodes(f"lerobot:{folder}").episodes) == 1
    path = robomimic(tmp_path / "x.hdf5", language=["a", "b", "c", "d"], is_success=None)
    assert len(read_episodes(path).episodes) == 1
    source = minari_dataset({"note": np.arange(6)})
    (tmp_path / "minari" / "robot" / "x-v0" / "data" / "._main_data.hdf5").write_bytes(b"\0\5\x16\7")
    assert len(read_episodes(source).episodes) == 1


# Shapes and types


def test_one_component_has_an_axis_or_has_none_in_every_format(tmp_path: Path) -> None:
    flat, column = np.arange(6) / 10, np.arange(6)[:, None] / 10
    for i, (state, rewards) in enumerate(((flat, flat[:5]), (column, column[:5]), (flat, column[:5]))):
        np.savez(tmp_path / f"{i}.npz", observations=state, actions=rewards, rewards=rewards)
        [read] = fit_recorded(read_episodes(tmp_path / f"{i}.npz"), SPEC, "demos").episodes
        assert (read.observations.shape, read.actions.shape, read.rewards.shape) == ((6, 1), (5, 1), (5,))
    [read] = read_episodes(f"lerobot:{lerobot(tmp_path / 'x', frames())}").episodes
    assert (read.observations.shape, read.actions.shape, read.rewards.shape) == ((6, 1), (5, 1), (5,))


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.uint16, np.uint32, np.uint64])
def test_booleans_and_unsigned_integers_are_numbers_in_every_format(tmp_path: Path, dtype: Any) -> None:
    state = np.array([0, 1, 1, 0, 1, 0], dtype)
    np.savez(tmp_path / "x.npz", observations=state, rewards=state[1:])
    folder = lerobot(tmp_path / "x", frames(**{"observation.state": state, "next.reward": state}))
    arrays = {"obs/state": state[:4], "next_obs/state": state[1:5], "rewards": state[:4]}
    for source in (tmp_path / "x.npz", f"lerobot:{folder}", robomimic(tmp_path / "x.hdf5", **arrays)):
        [read] = fit_recorded(read_episodes(source), SPEC, "demos").episodes
        np.testing.assert_array_equal(read.observations[:, 0], state[: len(read.observations)].astype(np.float32))
        assert read.rewards is not None


def test_a_feature_of_unsigned_integers_is_one_of_numbers(tmp_path: Path) -> None:
    folder = lerobot(tmp_path / "x", frames(**{"observation.state": np.arange(6, dtype=np.uint16)}))
    info = json.loads((folder / "meta" / "info.json").read_text())
    info["features"]["observation.state"]["dtype"] = "uint16"
    (folder / "meta" / "info.json").write_text(json.dumps(info))
    assert read_episodes(f"lerobot:{folder}").episodes[0].observations[-1] == 5


# Bad episodes


def bad_and_good(tmp_path: Path) -> dict[str, str]:
    """Episode 1 of each source cannot be used."""
    lone, hollow = frames(1), frames(**{"observation.state": [0.0, NAN, *[0.0] * 4]})
    good = {"observations": [[0.0], [1.0]]}
    (tmp_path / "x.json").write_text(json.dumps({"episodes": [good, good | {"rewards": [NAN]}, good]}))
    with h5py.File(robomimic(tmp_path / "x.hdf5"), "r+") as file:
        file.copy("data/demo_0", file["data"], "demo_1")
        file.copy("data/demo_0", file["data"], "demo_2")
        del file["data/demo_1/actions"]
    broken = lerobot(tmp_path / "broken", frames(), frames(), frames())
    (broken / "data" / "chunk-000" / "episode_000001.parquet").write_bytes(b"PAR1")
    return {
        "one frame": f"lerobot:{lerobot(tmp_path / 'lone', frames(), lone, frames())}",
        "NaN": f"lerobot:{lerobot(tmp_path / 'hollow', frames(), hollow, frames())}",
        "null": f"lerobot:{lerobot(tmp_path / 'null', frames(), frames(action=[None, *[0.5] * 5]), frames())}",
        "a broken file": f"lerobot:{broken}",
        "a json body": f"json:{tmp_path / 'x.json'}",
        "no actions": f"robomimic:{tmp_path / 'x.hdf5'}",
    }


def test_a_bad_episode_is_left_out_if_the_user_says_so(tmp_path: Path) -> None:
    for what, source in bad_and_good(tmp_path).items():
        with pytest.raises(InvalidData, match="1"):
            read_episodes(source)
        found = read_episodes(source, Selection(skip_bad=True))
        assert len(found.episodes) == len(found.remarks) == 2, what
        [skipped] = found.skipped
        assert "1" in skipped.episode or "000001" in skipped.reason
        assert "expected" in skipped.reason


def test_episodes_that_are_all_bad_are_refused(tmp_path: Path) -> None:
    source = f"lerobot:{lerobot(tmp_path / 'x', frames(1), frames(1))}"
    with pytest.raises(InvalidData, match=r"at least one that can be used, got 2 that cannot \(episode 0: "):
        read_episodes(source, Selection(skip_bad=True))


def test_actions_out_of_bounds_are_moved_or_left_out_if_the_user_says_so() -> None:
    inside = Episode.of([0, 1, 2], [0.5, 1.0])
    outside = Episode.of([0, 1, 2], [0.5, 1.01])
    given = Recorded((inside, outside))
    with pytest.raises(InvalidData, match=r"demos\[1\].actions: expected values within"):
        fit_recorded(given, SPEC, "demos")
    clipped = fit_recorded(given, SPEC, "demos", clip=True)
    assert clipped.episodes[1].actions.tolist() == [[0.5], [1.0]]
    assert (codes(clipped, 0), codes(clipped, 1)) == ([], ["actions-moved"])
    assert "1 of its actions' numbers were out of bounds, by up to 0.01" in clipped.remarks[1][0].message
    left = fit_recorded(given, SPEC, "demos", skip_bad=True)
    assert ([one.episode for one in left.skipped], len(left.episodes)) == (["demos[1]"], 1)


# What is said


def test_what_is_lost_without_the_last_observation_is_said(tmp_path: Path) -> None:
    found = read_episodes(robomimic(tmp_path / "x.hdf5", **{"next_obs/state": None}))
    assert len(found.episodes[0]) == 3
    assert codes(found) == ["last-action-lost", "success-assumed"]
    assert "a reward of 1" in found.remarks[0][0].message
    assert codes(read_episodes(robomimic(tmp_path / "y.hdf5"))) == ["success-assumed"]


def test_a_key_that_next_obs_lacks_is_said(tmp_path: Path) -> None:
    path = robomimic(tmp_path / "x.hdf5", **{"obs/goal": np.ones(4)})
    found = read_episodes(path, Selection(("state", "goal"), "yes"))
    assert found.episodes[0].observations.tolist() == [[0, 1], [1, 1], [2, 1], [3, 1]]
    assert codes(found) == ["next-observation-missing", "last-action-lost"]
    assert "no goal" in found.remarks[0][0].message


def test_a_name_that_is_only_near_is_said(tmp_path: Path) -> None:
    found = read_episodes(robomimic(tmp_path / "x.hdf5", rewards=None, reward=np.ones(4)))
    assert (codes(found), found.episodes[0].rewards) == (["perhaps-meant"], None)
    assert "no rewards, and reward is not read" in found.remarks[0][0].message
    columns = frames()
    columns["reward"] = columns.pop("next.reward")
    assert "perhaps-meant" in codes(read_episodes(f"lerobot:{lerobot(tmp_path / 'x', columns)}"))


@pytest.mark.parametrize(("name", "value"), [("success", 1), ("success", [[True]])])
def test_a_flag_of_the_whole_episode_is_one(tmp_path: Path, name: str, value: Any) -> None:
    assert read_episodes(robomimic(tmp_path / "x.hdf5", **{name: value})).episodes[0].success is True


@pytest.mark.parametrize("name", ["actions", "rewards", "obs/state"])
def test_an_array_without_steps_is_refused_by_its_name(tmp_path: Path, name: str) -> None:
    path = robomimic(tmp_path / "x.hdf5", **{name: 1.0, "next_obs/state": None})
    with pytest.raises(
        InvalidData, match=rf"demo_0\.{name.removeprefix('obs/').replace('state', 'observations.state')}"
    ):
        read_episodes(path)


def test_observations_that_jump_are_said(tmp_path: Path) -> None:
    found = read_episodes(robomimic(tmp_path / "x.hdf5", **{"next_obs/state": [1.0, 2.0, 9.0, 4.0]}))
    assert codes(found)[0] == "observations-jump"


@pytest.mark.parametrize(
    ("times", "code", "words"),
    [
        ([0, 0.05, 0.10, 2.10, 2.15, 2.20], "timestamps-uneven", "a hole of 2 s after frame 2"),
        ([0, 0.05, 0.10, 0.05, 0.10, 0.15], "timestamps-uneven", "a step back of 0.05 s after frame 2"),
        ([0, 0.1, 0.2, 0.3, 0.4, 0.5], "timestamps-differ", "those of 10 Hz, and the recording says 20 Hz"),
        ([0, 0.05, NAN, 0.15, 0.2, 0.25], "timestamps-unknown", "no numbers"),
    ],
)
def test_a_clock_with_a_hole_is_said(tmp_path: Path, times: list[float], code: str, words: str) -> None:
    found = read_episodes(f"lerobot:{lerobot(tmp_path / 'x', frames(timestamp=times))}")
    assert codes(found) == [code, "last-action-lost"]
    assert words in found.remarks[0][0].message


def test_an_even_clock_is_no_news(tmp_path: Path) -> None:
    found = read_episodes(f"lerobot:{lerobot(tmp_path / 'x', frames())}")
    assert (codes(found), found.rate_hz) == (["last-action-lost"], 20.0)


def test_recordings_at_several_rates_say_so() -> None:
    one = Episode.of([0, 1, 2])
    assert joined([Recorded((one,), 5.0), Recorded((one,))]).rate_hz == 5.0
    both = joined([Recorded((one,), 5.0), Recorded((one,), 10.0)])
    assert (both.rate_hz, codes(both), codes(both, 1)) == (None, ["rates-differ"], ["rates-differ"])


def test_a_rate_that_is_none_and_roles_that_mix_are_said(tmp_path: Path) -> None:
    assert codes(Recorded.of([Episode.of([0, 1])], "fast")) == ["rate-unknown"]
    one = {"observations": [[0], [1]]}
    (tmp_path / "x.json").write_text(json.dumps({"demos": [one], "trials": [one], "ask": {}}))
    found = read_episodes(tmp_path / "x.json")
    assert (codes(found), codes(found, 1)) == (["ask-unused"], ["another-role", "ask-unused"])


# Selectors


@pytest.mark.parametrize(
    "selection",
    [
        Selection(episodes=()),
        Selection(episodes=(7,)),
        Selection(success=""),
        Selection(success="any:"),
        Selection(success="sucess"),
        Selection(observations=("stat",)),
        Selection(actions="jerk"),
        Selection(filter_key="train"),
    ],
)
def test_a_selector_that_selects_nothing_is_refused_by_every_format(tmp_path: Path, selection: Selection) -> None:
    write_episodes(tmp_path / "x.npz", [Episode.of([0, 1, 2], [0.1, 0.2])])
    for source in (
        tmp_path / "x.npz",
        robomimic(tmp_path / "x.hdf5"),
        f"lerobot:{lerobot(tmp_path / 'x', frames())}",
        minari_dataset({}),
    ):
        with pytest.raises(InvalidData):
            read_episodes(source, selection)


def test_the_success_of_whole_episodes_can_be_said(tmp_path: Path) -> None:
    write_episodes(tmp_path / "x.npz", [Episode.of([0, 1, 2], None, [0, 1])])
    for rule, success in {"auto": None, "yes": True, "no": False, "unknown": None, "reward": True}.items():
        assert read_episodes(tmp_path / "x.npz", Selection(success=rule)).episodes[0].success is success


# Links, pointers and byte order marks


def cached(tmp_path: Path) -> tuple[Path, Path]:
    """A dataset as a download cache lays it out: files that are links into a folder beside."""
    home = lerobot(tmp_path / "cache" / "snapshots" / "x", frames())
    blobs = tmp_path / "cache" / "blobs"
    blobs.mkdir()
    for i, path in enumerate([*home.rglob("*.parquet"), home / "meta" / "info.json"]):
        path.rename(blobs / str(i))
        path.symlink_to(blobs / str(i))
    return home, blobs


def test_links_of_a_cache_are_followed_under_the_folder_that_the_user_names(tmp_path: Path) -> None:
    home, blobs = cached(tmp_path)
    for under in (blobs, tmp_path / "cache"):
        assert len(read_episodes(f"lerobot:{home}", Selection(links_under=under)).episodes) == 1
    for selection in (Selection(), Selection(links_under=tmp_path / "cache" / "snapshots")):
        with pytest.raises(InvalidBytes, match=f"a link out of it; if {blobs} is trusted, name it with --links-under"):
            read_episodes(f"lerobot:{home}", selection)


def test_links_of_minari_datasets_are_held_to_the_same_rule(tmp_path: Path) -> None:
    source = minari_dataset({})
    data = tmp_path / "minari" / "robot" / "x-v0" / "data"
    (tmp_path / "blobs").mkdir()
    (data / "main_data.hdf5").rename(tmp_path / "blobs" / "1")
    (data / "main_data.hdf5").symlink_to(tmp_path / "blobs" / "1")
    with pytest.raises(InvalidBytes, match="name it with --links-under"):
        read_episodes(source)
    assert len(read_episodes(source, Selection(links_under=tmp_path / "blobs")).episodes) == 1


def test_a_pointer_of_git_lfs_is_called_one_in_every_format(tmp_path: Path) -> None:
    home = lerobot(tmp_path / "lerobot", frames())
    info = lerobot(tmp_path / "info", frames())
    source = minari_dataset({})
    data = tmp_path / "minari" / "robot" / "x-v0" / "data"
    for path in (
        *(tmp_path / f"x.{suffix}" for suffix in ("npz", "safetensors", "json", "hdf5")),
        home / "data" / "chunk-000" / "episode_000000.parquet",
        info / "meta" / "info.json",
        data / "main_data.hdf5",
    ):
        path.write_bytes(POINTER)
    sources = [tmp_path / f"x.{suffix}" for suffix in ("npz", "safetensors", "json", "hdf5")]
    for one in (*sources, f"lerobot:{home}", f"lerobot:{info}", source):
        with pytest.raises(InvalidBytes, match="a Git LFS pointer to it"):
            read_episodes(one)


def test_json_with_a_byte_order_mark_is_json(tmp_path: Path) -> None:
    body = json.dumps({"observations": [[0], [1]]})
    for data in (BOM + body.encode(), body.encode("utf-16")):
        (tmp_path / "x.json").write_bytes(data)
        assert len(read_episodes(tmp_path / "x.json").episodes) == 1
    assert parse_json(BOM + b"[1]") == [1]
    home = lerobot(tmp_path / "x", frames())
    (home / "meta" / "info.json").write_bytes(BOM + (home / "meta" / "info.json").read_bytes())
    assert len(read_episodes(f"lerobot:{home}").episodes) == 1
