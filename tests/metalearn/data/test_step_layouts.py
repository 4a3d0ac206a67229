"""imitation's files and folders, RLlib's JSON and LeRobot v1, as those libraries write them."""

import base64
import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from metalearn.data.errors import InvalidBytes, InvalidData, TooLarge
from metalearn.data.formats import Limits, Recorded, Selection, read_episodes
from metalearn.data.formats.imitation import read_imitation
from metalearn.data.formats.rllib import read_rllib

NAN = float("nan")


def codes(found: Recorded, index: int = 0) -> list[str]:
    return [remark.code for remark in found.remarks[index]]


def seen(found: Recorded) -> list[list[float]]:
    return [one.observations[:, 0].tolist() for one in found.episodes]


# imitation's .npz


def trajectories(path: Path, lengths: Sequence[int] = (3, 1, 2), **arrays: Any) -> Path:
    """As `imitation.data.types.save` wrote them before it took to `datasets`."""
    n = sum(lengths)
    usual = {
        "obs": np.concatenate([np.arange(k + 1.0) + 10 * i for i, k in enumerate(lengths)])[:, None],
        "acts": np.arange(n) % 3,
        "infos": np.array([{"step": i} for i in range(n)], object),
        "terminal": np.arange(len(lengths)) % 2 == 0,
        "indices": np.cumsum([*lengths[:-1]]),
        "rews": np.arange(float(n)),
    }
    given = usual | arrays
    np.savez_compressed(path, **{name: value for name, value in given.items() if value is not None})
    return path


def test_trajectories_are_split_where_the_indices_say(tmp_path: Path) -> None:
    found = read_episodes(f"imitation:{trajectories(tmp_path / 'x.npz')}", Selection(success="terminated"))
    assert seen(found) == [[0, 1, 2, 3], [10, 11], [20, 21, 22]]
    assert [one.actions.tolist() for one in found.episodes] == [[0, 1, 2], [0], [1, 2]]
    assert [one.rewards.tolist() for one in found.episodes] == [[0, 1, 2], [3], [4, 5]]
    assert [one.success for one in found.episodes] == [True, False, True]
    assert codes(found) == []


def test_one_trajectory_alone_has_no_indices_and_rewards_are_optional(tmp_path: Path) -> None:
    found = read_episodes(trajectories(tmp_path / "x.npz", (4,), rews=None))
    assert (seen(found), found.episodes[0].rewards) == ([[0, 1, 2, 3, 4]], None)


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"acts": None, "obs": None}, "acts: expected an array of numbers, got none"),
        ({"obs": None}, "obs: expected an array of numbers, got none"),
        ({"obs": np.zeros((8, 1))}, "obs: expected 9 of them"),
        ({"rews": np.zeros(5)}, "rews: expected 6 of them (as acts), got 5"),
        ({"terminal": np.zeros(2, bool)}, "terminal: expected 3 flags"),
        ({"indices": np.array([4, 3])}, "indices: expected whole numbers that grow, from 1 to 5"),
        ({"indices": np.array([3, 6])}, "indices: expected whole numbers that grow"),
        ({"indices": np.array([1.5, 3])}, "indices: expected whole numbers"),
        ({"indices": np.array([NAN, 3])}, "indices: expected whole numbers"),
        ({"obs": np.full((9, 1), NAN)}, "trajectory 0.observations: expected finite numbers"),
        ({"obs": np.array([{"image": 1}] * 9, object)}, "obs: expected an array of numbers, got |O of shape (9,)"),
        ({"obs": np.zeros((1, 1)), "acts": np.zeros(0), "indices": np.zeros(0), "terminal": None}, "indices: expected"),
    ],
)
def test_damaged_trajectories_are_refused(tmp_path: Path, arrays: Any, expected: str) -> None:
    with pytest.raises(InvalidData) as caught:
        read_episodes(f"imitation:{trajectories(tmp_path / 'x.npz', **arrays)}")
    assert expected in str(caught.value)


def transitions(path: Path, **arrays: Any) -> Path:
    """An episode that ends, one that is cut off, and the beginning of a third one."""
    usual = {
        "obs": np.array([[0.0], [1], [10], [11], [20]]),
        "acts": np.arange(5.0)[:, None],
        "next_obs": np.array([[1.0], [2], [11], [12], [21]]),
        "dones": np.array([False, True, False, False, False]),
        "infos": np.array([{}] * 5, object),
    }
    np.savez(path, **{name: value for name, value in (usual | arrays).items() if value is not None})
    return path


def test_transitions_end_at_dones_and_where_they_jump(tmp_path: Path) -> None:
    found = read_episodes(transitions(tmp_path / "x.npz"), Selection(success="terminated"))
    assert seen(found) == [[0, 1, 2], [10, 11, 12], [20, 21]]
    assert [one.actions[:, 0].tolist() for one in found.episodes] == [[0, 1], [2, 3], [4]]
    assert [one.success for one in found.episodes] == [True, False, False]
    assert [codes(found, i) for i in range(3)] == [[], ["cut-at-jump"], ["end-unknown"]]


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"dones": np.zeros(4, bool)}, "dones: expected 5 of them"),
        ({"dones": np.full(5, 2)}, "dones[0]: expected true, false, 1 or 0, got 2"),
        ({"next_obs": np.zeros((5, 2))}, "next_obs: expected shape [5, 1]"),
        ({"obs": np.zeros((4, 1))}, "obs: expected 5 of them"),
        ({"next_obs": None}, "arrays: expected obs, acts and indices of trajectories, or next_obs of transitions"),
    ],
)
def test_damaged_transitions_are_refused(tmp_path: Path, arrays: Any, expected: str) -> None:
    with pytest.raises(InvalidData) as caught:
        read_episodes(transitions(tmp_path / "x.npz", **arrays))
    assert expected in str(caught.value)


@pytest.mark.parametrize("chosen", [Selection(("state",)), Selection(actions="obs"), Selection(filter_key="train")])
def test_there_is_nothing_to_choose_among_trajectories(tmp_path: Path, chosen: Selection) -> None:
    with pytest.raises(InvalidData):
        read_episodes(trajectories(tmp_path / "x.npz"), chosen)


# imitation's folders


def folder(home: Path, shards: Sequence[Mapping[str, Any]], **types: pa.DataType) -> Path:
    """As `datasets.Dataset.save_to_disk` writes the data set that imitation makes of trajectories."""
    home.mkdir()
    names = [f"data-{i:05d}-of-{len(shards):05d}.arrow" for i in range(len(shards))]
    for name, shard in zip(names, shards, strict=True):
        table = pa.table({key: pa.array(value, types.get(key)) for key, value in shard.items()})
        with pa.OSFile(str(home / name), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    (home / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (home / "dataset_info.json").write_text(json.dumps({"features": {}}))
    return home


def rows(start: float = 0, **columns: Any) -> dict[str, Any]:
    """Two trajectories of 2 steps and of 1 step."""
    usual = {
        "obs": [[[start], [start + 1], [start + 2]], [[start + 10], [start + 11]]],
        "acts": [[0, 2], [1]],
        "infos": [['{"py/object": "os.system"}', "{}"], ["{}"]],
        "terminal": [True, False],
        "rews": [[0.0, 1.0], [0.5]],
    }
    return {name: value for name, value in (usual | columns).items() if value is not None}


def test_a_folder_of_trajectories_is_read(tmp_path: Path) -> None:
    found = read_episodes(f"imitation:{folder(tmp_path / 'x', [rows(), rows(100)])}", Selection(success="terminated"))
    assert seen(found) == [[0, 1, 2], [10, 11], [100, 101, 102], [110, 111]]
    assert [one.actions.tolist() for one in found.episodes[:2]] == [[0, 2], [1]]
    assert [one.rewards.tolist() for one in found.episodes[:2]] == [[0, 1], [0.5]]
    assert [one.success for one in found.episodes[:2]] == [True, False]


def test_images_and_trajectories_without_rewards_are_read(tmp_path: Path) -> None:
    pixels = [np.full((3, 2, 2), 7, np.uint8).tolist(), np.zeros((2, 2, 2), np.uint8).tolist()]
    kind = pa.list_(pa.list_(pa.list_(pa.uint8(), 2)))
    source = folder(tmp_path / "x", [rows(obs=pixels, rews=None)], obs=kind)
    one = read_episodes(f"imitation:{source}").episodes[0]
    assert (one.observations.dtype, one.observations.shape, one.rewards) == (np.uint8, (3, 2, 2), None)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"acts": None}, "acts: expected a column, got none (there is obs, terminal, rews)"),
        ({"acts": [[0], [1]]}, "trajectory 0.obs: expected 2 of them for 1 acts, got 3"),
        ({"acts": [[0, 1], None]}, "trajectory 1.acts: expected a list"),
        ({"obs": [[[0.0], [1.0, 2.0], [3.0]], [[1.0], [2.0]]]}, "trajectory 0.obs: expected lists of one length"),
        ({"obs": [["a", "b", "c"], ["d", "e"]]}, "trajectory 0.obs: expected numbers, got"),
        ({"obs": [[[NAN], [1.0], [2.0]], [[1.0], [2.0]]]}, "trajectory 0.observations: expected finite numbers"),
        ({"obs": [[], []], "acts": [[], []]}, "trajectory 0"),
    ],
)
def test_damaged_folders_of_trajectories_are_refused(tmp_path: Path, columns: Any, expected: str) -> None:
    source = folder(tmp_path / "x", [rows(**columns)])
    with pytest.raises(InvalidData) as caught:
        read_episodes(f"imitation:{source}")
    assert expected in str(caught.value)


def test_files_of_a_folder_that_are_missing_cut_or_elsewhere_are_refused(tmp_path: Path) -> None:
    home = folder(tmp_path / "x", [rows(), rows()])
    second = home / "data-00001-of-00002.arrow"
    whole = second.read_bytes()
    second.write_bytes(whole[:300])
    with pytest.raises(InvalidBytes, match=r"data-00001-of-00002\.arrow: file: expected a stream of Arrow"):
        read_imitation(home)
    second.unlink()
    with pytest.raises(InvalidData, match=r"expected a file, which state\.json lists"):
        read_imitation(home)
    (tmp_path / "outside.arrow").write_bytes(whole)
    second.symlink_to(tmp_path / "outside.arrow")
    with pytest.raises(InvalidBytes, match="link out of it"):
        read_imitation(home)
    second.unlink()
    second.write_bytes(whole)
    with pytest.raises(TooLarge):
        read_imitation(home, limits=Limits(n_bytes=10))
    for state in ({}, [], {"_data_files": [{"filename": "../outside.arrow"}]}, {"_data_files": []}):
        (home / "state.json").write_text(json.dumps(state))
        with pytest.raises(InvalidData, match=r"state\.json: _data_files: expected a list of objects"):
            read_imitation(home)


# RLlib


def batch(ids: Sequence[int], begin: int = 0, end: bool = True, **columns: Any) -> dict[str, Any]:
    """A SampleBatch: the observation is the id and the step."""
    n = len(ids)
    own = {
        "type": "SampleBatch",
        "obs": [[eps, begin + i] for i, eps in enumerate(ids)],
        "new_obs": [[eps, begin + i + 1] for i, eps in enumerate(ids)],
        "actions": [0.5] * n,
        "rewards": [float(begin + i) for i in range(n)],
        "terminateds": [end and i == n - 1 for i in range(n)],
        "truncateds": [False] * n,
        "eps_id": list(ids),
        "t": [begin + i for i in range(n)],
        "infos": [{}] * n,
    }
    return {name: value for name, value in (own | columns).items() if value is not None}


def rllib(path: Path, *batches: Any) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in batches))
    return path


def steps(found: Recorded) -> list[list[list[float]]]:
    return [one.observations.tolist() for one in found.episodes]


def test_pieces_of_an_episode_are_joined_by_its_id_across_lines(tmp_path: Path) -> None:
    lines = (batch([7, 7], end=False), batch([8], end=True), batch([7], begin=2), batch([7, 7], begin=0))
    found = read_episodes(rllib(tmp_path / "x.json", *lines), Selection(success="terminated"))
    assert steps(found) == [[[7, 0], [7, 1], [7, 2], [7, 3]], [[8, 0], [8, 1]], [[7, 0], [7, 1], [7, 2]]]
    assert [one.rewards.tolist() for one in found.episodes] == [[0, 1, 2], [0], [0, 1]]
    assert [one.success for one in found.episodes] == [True, True, True]
    assert codes(found) == []


def test_several_episodes_in_a_line_come_apart(tmp_path: Path) -> None:
    line = batch([1, 1, 2, 2], t=[0, 1, 0, 1], terminateds=None, truncateds=None, dones=[False, False, False, True])
    found = read_episodes(f"rllib:{rllib(tmp_path / 'x.json', line)}")
    assert [len(one) for one in found.episodes] == [2, 2]
    assert [codes(found, i) for i in range(2)] == [["end-unknown"], []]


def test_the_files_of_a_folder_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number, begin in ((10, 2), (9, 0)):
        rllib(tmp_path / f"output-worker-1_{number}.json", batch([5, 5], begin=begin, end=begin > 0))
    found = read_episodes(f"rllib:{tmp_path}")
    assert steps(found) == [[[5, 0], [5, 1], [5, 2], [5, 3], [5, 4]]]


def test_a_batch_of_one_policy_is_read_by_agents_and_one_of_several_is_refused(tmp_path: Path) -> None:
    own = batch([3, 3], terminateds=[True, True], t=[0, 0], agent_index=[0, 1])
    del own["type"]
    lines = {"type": "MultiAgentBatch", "count": 2, "policy_batches": {"default_policy": own}}
    found = read_episodes(rllib(tmp_path / "x.json", lines))
    assert [len(one) for one in found.episodes] == [1, 1]
    lines["policy_batches"]["other"] = own
    with pytest.raises(InvalidData, match=r"line 1.policy_batches: expected one policy, .*, got default_policy, other"):
        read_episodes(rllib(tmp_path / "x.json", lines))


def test_without_ids_flags_end_the_episodes_and_without_new_obs_the_last_action_is_lost(tmp_path: Path) -> None:
    lines = [batch([1, 1], eps_id=None, new_obs=None, t=None, end=end) for end in (False, True, True)]
    found = read_episodes(rllib(tmp_path / "x.json", *lines))
    assert [len(one) for one in found.episodes] == [3, 1]
    assert codes(found) == ["last-action-lost"]


def test_ids_may_be_text(tmp_path: Path) -> None:
    found = read_episodes(rllib(tmp_path / "x.json", batch([1, 1, 2], eps_id=["a", "a", "b"], t=[0, 1, 0])))
    assert [len(one) for one in found.episodes] == [2, 1]


def test_packed_columns_are_refused_with_what_writes_them_plain(tmp_path: Path) -> None:
    packed = base64.b64encode(pickle.dumps([[0.0]])).decode()
    with pytest.raises(InvalidData, match=r"line 1\.obs: expected plain .* output_compress_columns=\[\], got a packed"):
        read_episodes(rllib(tmp_path / "x.json", batch([1], obs=packed)))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ({"type": "Episode"}, "line 2.type: expected SampleBatch or MultiAgentBatch"),
        ([1], "line 2.type: expected SampleBatch"),
        ({"type": "MultiAgentBatch"}, "policy_batches: expected one policy"),
        (batch([2], obs=None), "line 2.obs: expected a list of numbers, got none"),
        (batch([2], actions=None), "line 2.actions: expected a list of numbers, got none"),
        (batch([], obs=[], new_obs=[]), "line 2.actions: expected at least one step, got none"),
        (batch([2], obs={"a": [1]}), "line 2.obs: expected a list of numbers, got an object"),
        (batch([2], rewards=[1.0, 2.0]), "line 2.rewards: expected 1 steps, as actions, got 2"),
        (batch([2, 2], obs=[[1.0], [1.0, 2.0]]), "line 2.obs: expected a rectangular list of numbers"),
        (batch([2], obs=[None]), "line 2.obs: expected a rectangular list of numbers, got null"),
        (batch([2], obs=[[NAN, 0]]), "episode 1.observations: expected finite numbers"),
        (batch([2, 2], t=[0, 2]), "episode 1.t: expected 1 after 0, as steps that follow each other, got 2"),
        (batch([2], terminateds=[0.5]), "terminateds[0]: expected true, false, 1 or 0, got 0.5"),
        (batch([2], new_obs=[[1.0]]), "new_obs: expected shape [1, 2]"),
        (batch([2], terminateds=None, truncateds=None, eps_id=None), "eps_id: expected the episode of every step"),
    ],
)
def test_damaged_batches_are_refused_by_their_line(tmp_path: Path, line: Any, expected: str) -> None:
    with pytest.raises(InvalidData) as caught:
        read_rllib(rllib(tmp_path / "x.json", batch([1]), line))
    assert expected in str(caught.value)


def test_a_line_that_was_cut_is_left_out_if_the_user_says_so(tmp_path: Path) -> None:
    path = rllib(tmp_path / "x.json", batch([1]))
    path.write_text(path.read_text() + json.dumps(batch([2]))[:40])
    with pytest.raises(InvalidBytes, match=r"line 2\.batch: expected JSON"):
        read_episodes(path)
    found = read_episodes(path, Selection(skip_bad=True))
    assert (len(found.episodes), found.skipped[0].episode) == (1, "line 2")


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_an_empty_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InvalidData, match="lines: expected at least one batch of steps, got none"):
        read_rllib(tmp_path / "x.json")
    (tmp_path / "x.json").unlink()
    with pytest.raises(InvalidData, match="files: expected"):
        read_rllib(tmp_path)


def test_what_begins_or_ends_outside_of_the_recording_is_said(tmp_path: Path) -> None:
    found = read_episodes(rllib(tmp_path / "x.json", batch([1, 1], begin=5, end=False)))
    assert codes(found) == ["begin-unknown", "end-unknown"]


# LeRobot v1


def lerobot_v1(home: Path, meta: str = "meta_data", **info: Any) -> Path:
    """Two episodes of 4 and 3 frames, in two files, with a column of references to videos."""
    frames = [(i, t) for i, n in enumerate((4, 3)) for t in range(n)]
    table = pa.table(
        {
            "observation.state": [[10.0 * i + t, 1.0] for i, t in frames],
            "observation.images.top": [{"path": "videos/x.mp4", "timestamp": 0.1} for _ in frames],
            "action": [[0.5] for _ in frames],
            "episode_index": [i for i, _ in frames],
            "frame_index": [t for _, t in frames],
            "timestamp": [t / 30 for _, t in frames],
            "next.done": [t == 3 - i for i, t in frames],
            "next.success": [i == 0 and t == 3 for i, t in frames],
        }
    )
    (home / "data").mkdir(parents=True)
    parquet.write_table(table.slice(0, 5), home / "data" / "train-00000-of-00002.parquet")
    parquet.write_table(table.slice(5), home / "data" / "train-00001-of-00002.parquet")
    (home / meta).mkdir()
    (home / meta / "info.json").write_text(json.dumps({"codebase_version": "v1.6", "fps": 30, "video": True} | info))
    return home


@pytest.mark.parametrize("meta", ["meta_data", "meta"])
def test_lerobot_v1_is_read(tmp_path: Path, meta: str) -> None:
    found = read_episodes(f"lerobot:{lerobot_v1(tmp_path / 'x', meta)}")
    assert seen(found) == [[0, 1, 2, 3], [10, 11, 12]]
    assert (found.rate_hz, [one.success for one in found.episodes]) == (30.0, [True, False])
    assert codes(found) == ["last-action-lost"]


def test_a_split_of_lerobot_is_a_filter(tmp_path: Path) -> None:
    home = lerobot_v1(tmp_path / "x", splits={"train": "1:2", "val": "0:1", "odd": "first", "none": "7:9"})
    assert seen(read_episodes(f"lerobot:{home}", Selection(filter_key="train"))) == [[10, 11, 12]]
    for key, expected in {
        "test": "filter: expected one of none, odd, train, val",
        "odd": "splits.odd: expected episodes as in 0:50, got 'first'",
        "none": "episodes: expected at least one episode",
    }.items():
        with pytest.raises(InvalidData) as caught:
            read_episodes(f"lerobot:{home}", Selection(filter_key=key))
        assert expected in str(caught.value)


def test_damaged_lerobot_v1_is_refused(tmp_path: Path) -> None:
    home = lerobot_v1(tmp_path / "x")
    with pytest.raises(
        InvalidData, match=r"expected numeric features or pictures, of action, .*, got observation\.images\.top"
    ):
        read_episodes(f"lerobot:{home}", Selection(("observation.images.top",)))
    (home / "data" / "train-00000-of-00002.parquet").write_bytes(b"PAR1")
    with pytest.raises(InvalidBytes, match=r"train-00000-of-00002\.parquet: file: expected Parquet"):
        read_episodes(f"lerobot:{home}")
    for file in (home / "data").iterdir():
        file.unlink()
    with pytest.raises(InvalidData, match=r"or data/train-\*\.parquet of v1, got none"):
        read_episodes(f"lerobot:{home}")
