"""HDF5 files in the layouts of robomimic, D4RL, ManiSkill and ALOHA, as those libraries write them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from metalearn.data.errors import InvalidData
from metalearn.data.formats import Recorded, Selection, read_episodes

NAN = float("nan")


def hdf5(path: Path, arrays: Mapping[str, Any], **attributes: Any) -> Path:
    """A file with these arrays, None for none; attributes are those of the root."""
    with h5py.File(path, "w") as file:
        for name, value in arrays.items():
            if value is not None:
                file[name] = value
        file.attrs.update(attributes)
    return path


def codes(found: Recorded, index: int = 0) -> list[str]:
    return [remark.code for remark in found.remarks[index]]


def demo(start: float, n: int = 3) -> dict[str, Any]:
    states = np.arange(start, start + n + 1)[:, None]
    return {
        "obs/state": states[:-1],
        "next_obs/state": states[1:],
        "actions": np.full((n, 1), start / 10),
        "rewards": np.eye(n)[-1],
        "dones": np.eye(n)[-1],
    }


def robomimic(path: Path, home: str = "data/", mask: Mapping[str, Any] | None = None, n: int = 3) -> Path:
    arrays = {f"{home}demo_{i}/{name}": value for i in range(n) for name, value in demo(10 * i).items()}
    return hdf5(path, arrays | {f"mask/{key}": value for key, value in (mask or {}).items()})


# robomimic


@pytest.mark.parametrize("home", ["data/", ""])
def test_demos_are_read_from_the_group_data_and_from_the_root(tmp_path: Path, home: str) -> None:
    found = read_episodes(robomimic(tmp_path / "x.hdf5", home))
    assert [one.observations[:, 0].tolist() for one in found.episodes] == [
        [0, 1, 2, 3],
        [10, 11, 12, 13],
        [20, 21, 22, 23],
    ]


@pytest.mark.parametrize("kind", [np.bytes_, object])
def test_a_filter_key_chooses_its_demos_in_the_order_of_the_file(tmp_path: Path, kind: Any) -> None:
    mask = {"train": np.array([b"demo_2", b"demo_0"], kind), "valid": np.array([b"demo_1"], kind)}
    path = robomimic(tmp_path / "x.hdf5", mask=mask)
    starts = lambda chosen: [one.observations[0, 0] for one in read_episodes(path, chosen).episodes]  # noqa: E731
    assert starts(Selection(filter_key="train")) == [0, 20]
    assert starts(Selection(filter_key="valid")) == [10]
    assert starts(Selection(filter_key="train", episodes=(1,))) == [20]


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        ({"valid": [b"demo_1"]}, "filter: expected one of valid, got 'train'"),
        ({}, "filter: expected none, since the file has no filter keys mask/KEY, got 'train'"),
        ({"train": [b"demo_9"]}, "mask/train: expected demos of the file, got 'demo_9'"),
        ({"train": [1, 2]}, "mask/train: expected an array of text"),
        ({"train": np.zeros(0, "S6")}, "episodes: expected at least one episode, got none"),
    ],
)
def test_a_filter_key_that_chooses_nothing_is_refused(tmp_path: Path, mask: Any, expected: str) -> None:
    with pytest.raises(InvalidData) as caught:
        read_episodes(robomimic(tmp_path / "x.hdf5", mask=mask), Selection(filter_key="train"))
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("flag", "success"),
    [(True, True), (np.int64(0), False), (np.array([0.0, 1.0]), True), (NAN, None)],
)
@pytest.mark.parametrize("rule", ["auto", "solved"])
def test_success_is_read_from_an_attribute_as_from_an_array(
    tmp_path: Path, rule: str, flag: Any, success: bool | None
) -> None:
    path = robomimic(tmp_path / "x.hdf5", n=1)
    with h5py.File(path, "r+") as file:
        file["data/demo_0"].attrs["success" if rule == "auto" else rule] = flag
    assert read_episodes(path, Selection(success=rule)).episodes[0].success is success


def test_an_attribute_that_is_no_flag_is_refused(tmp_path: Path) -> None:
    path = robomimic(tmp_path / "x.hdf5", n=1)
    with h5py.File(path, "r+") as file:
        file["data/demo_0"].attrs["success"] = "very much so"
    with pytest.raises(InvalidData, match=r"success\[0\]: expected true, false"):
        read_episodes(path)


# D4RL


def d4rl(path: Path, **arrays: Any) -> Path:
    """Two episodes, of which the first one ends in a terminal and the second one in a timeout, and a tail."""
    states = np.arange(16.0).reshape(8, 2)
    usual = {
        "observations": states,
        "actions": np.linspace(-1, 1, 8)[:, None],
        "rewards": np.arange(8.0),
        "terminals": np.array([0, 0, 1, 0, 0, 0, 0, 0], bool),
        "timeouts": np.array([0, 0, 0, 0, 0, 1, 0, 0], bool),
        "next_observations": states + 2,
        "infos/qpos": np.arange(8.0)[:, None] * 10,
        "infos/success": np.array([0, 0, 1, 0, 0, 0, 0, 0]),
        "metadata/algorithm": np.bytes_("SAC"),
    }
    return hdf5(path, usual | arrays)


def test_d4rl_episodes_end_at_terminals_and_timeouts_and_the_tail_is_kept(tmp_path: Path) -> None:
    found = read_episodes(d4rl(tmp_path / "x.hdf5"), Selection(success="unknown"))
    assert [one.observations[:, 0].tolist() for one in found.episodes] == [
        [0, 2, 4, 6],
        [6, 8, 10, 12],
        [12, 14, 16],
    ]
    assert [one.rewards.tolist() for one in found.episodes] == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert [one.actions[0, 0] for one in found.episodes] == pytest.approx([-1, -1 / 7, 5 / 7])
    assert [codes(found, i) for i in range(3)] == [[], [], ["end-unknown"]]


@pytest.mark.parametrize(
    ("rule", "successes"),
    [("auto", [None, None, None]), ("terminated", [True, False, False]), ("success", [True, False, False])],
)
def test_d4rl_success(tmp_path: Path, rule: str, successes: list[bool | None]) -> None:
    without = {"infos/success": None} if rule == "auto" else {}
    found = read_episodes(d4rl(tmp_path / "x.hdf5", **without), Selection(success=rule))
    assert [one.success for one in found.episodes] == successes


def test_d4rl_without_next_observations_loses_the_last_action_of_each_episode(tmp_path: Path) -> None:
    found = read_episodes(d4rl(tmp_path / "x.hdf5", next_observations=None, timeouts=None))
    assert [one.observations[:, 0].tolist() for one in found.episodes] == [[0, 2, 4], [6, 8, 10, 12, 14]]
    assert codes(found) == ["last-action-lost"]


def test_d4rl_keys_are_paths(tmp_path: Path) -> None:
    chosen = Selection(("infos/qpos", "observations"), actions="infos/qpos")
    found = read_episodes(d4rl(tmp_path / "x.hdf5"), chosen)
    assert found.episodes[0].observations.tolist() == [[0, 0, 1], [10, 2, 3], [20, 4, 5]]
    assert found.episodes[0].actions.tolist() == [[0], [10]]
    assert codes(found) == ["next-observation-missing", "last-action-lost"]


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"actions": None}, "actions: expected an array, got none"),
        ({"terminals": None, "timeouts": None}, "layout: expected one of"),
        ({"rewards": np.zeros(7)}, "rewards: expected 8 steps, as actions, got shape [7]"),
        ({"observations": np.zeros((7, 2))}, "observations: expected 8 steps"),
        ({"terminals": np.full(8, 0.5)}, "terminals[0]: expected true, false, 1 or 0, got 0.5"),
        ({"observations": np.full((8, 2), NAN)}, "observations: expected finite numbers"),
        ({"next_observations": np.zeros((8, 3))}, "next_observations: expected shape [3, 2]"),
        ({"actions": np.bytes_("none")}, "actions: expected numbers"),
        ({"actions": 1.0}, "actions: expected 1 steps, as actions, got shape []"),
    ],
)
def test_damaged_d4rl_files_are_refused(tmp_path: Path, arrays: Any, expected: str) -> None:
    with pytest.raises(InvalidData) as caught:
        read_episodes(d4rl(tmp_path / "x.hdf5", **arrays))
    assert expected in str(caught.value)


def test_an_empty_d4rl_file_is_refused(tmp_path: Path) -> None:
    empty = {"observations": np.zeros((0, 2)), "actions": np.zeros((0, 1)), "terminals": np.zeros(0, bool)}
    with pytest.raises(InvalidData, match="episodes: expected at least one episode, got none"):
        read_episodes(hdf5(tmp_path / "x.hdf5", empty))


# ManiSkill


def maniskill(path: Path, side: Any = None, **arrays: Any) -> Path:
    """Two trajectories of 3 and of 2 steps, with nested observations."""
    named: dict[str, Any] = {}
    for number, n in ((10, 2), (9, 3)):
        own = {
            "obs/agent/qpos": np.arange(n + 1.0)[:, None] + number,
            "obs/agent/qvel": np.zeros((n + 1, 2)),
            "obs/extra/goal": np.full((n + 1, 1), 7.0),
            "obs/sensor_data/camera/rgb": np.zeros((n + 1, 2, 2, 3), np.uint8),
            "actions": np.full((n, 2), number / 100, np.float32),
            "rewards": np.ones(n),
            "success": np.arange(n) == n - 1,
            "terminated": np.arange(n) == n - 1,
            "truncated": np.zeros(n, bool),
            "env_states/actors/cube": np.zeros((n + 1, 13)),
        } | arrays
        named |= {f"traj_{number}/{name}": value for name, value in own.items()}
    if side is not None:
        path.with_suffix(".json").write_text(json.dumps(side))
    return hdf5(path, named)


SIDE = {
    "env_info": {"env_id": "PickCube-v1", "env_kwargs": {"sim_config": {"control_freq": 20}}},
    "episodes": [
        {"episode_id": 9, "episode_seed": 5, "control_mode": "pd_joint_pos", "success": True},
        {"episode_id": 10, "episode_seed": 6, "control_mode": "pd_ee_delta_pose", "success": False},
    ],
}


def test_maniskill_trajectories_are_read_by_paths(tmp_path: Path) -> None:
    found = read_episodes(maniskill(tmp_path / "x.h5", SIDE), Selection(("extra/goal", "agent/qpos")))
    assert [one.observations.tolist() for one in found.episodes] == [
        [[7, 9], [7, 10], [7, 11], [7, 12]],
        [[7, 10], [7, 11], [7, 12]],
    ]
    assert [one.actions.shape for one in found.episodes] == [(3, 2), (2, 2)]
    assert [one.success for one in found.episodes] == [True, True]
    assert (found.rate_hz, codes(found)) == (20.0, [])


def test_maniskill_observations_may_be_one_array(tmp_path: Path) -> None:
    flat = dict.fromkeys(("obs/agent/qpos", "obs/agent/qvel", "obs/extra/goal", "obs/sensor_data/camera/rgb"))
    path = maniskill(tmp_path / "x.h5", **flat)
    with h5py.File(path, "r+") as file:
        for name, n in (("traj_9", 3), ("traj_10", 2)):
            file.pop(f"{name}/obs", None)
            file[f"{name}/obs"] = np.arange(n + 1.0)[:, None]
    assert read_episodes(path).episodes[1].observations.tolist() == [[0], [1], [2]]


def test_the_json_file_says_success_and_tasks(tmp_path: Path) -> None:
    path = maniskill(tmp_path / "x.h5", SIDE, success=None)
    chosen = Selection(("agent/qpos",), task_by="control_mode")
    found = read_episodes(path, chosen)
    assert [one.success for one in found.episodes] == [True, False]
    assert found.tasks == ("pd_joint_pos", "pd_ee_delta_pose")


def test_a_maniskill_file_without_observations_has_to_be_replayed(tmp_path: Path) -> None:
    path = maniskill(tmp_path / "x.h5")
    with h5py.File(path, "r+") as file:
        for name in file:
            del file[f"{name}/obs"]
    with pytest.raises(InvalidData, match=r"traj_9\.obs: expected observations; .* have to be replayed .*, got none"):
        read_episodes(path)


@pytest.mark.parametrize(
    ("selection", "arrays", "side", "expected"),
    [
        (Selection(), {}, None, "expected the keys to use, in order: some of agent/qpos, agent/qvel"),
        (Selection(("qpos",)), {}, None, "observations: expected some of agent/qpos"),
        (Selection(("agent/qpos",)), {"actions": None}, None, "traj_9/actions: expected an array, got none"),
        (Selection(("agent/qpos",)), {"obs/agent/qpos": np.zeros((9, 1))}, None, "observations: expected 3 or 4 of"),
        (Selection(("agent/qpos",)), {"rewards": [1, NAN]}, None, "rewards: expected 3 of them"),
        (Selection(("agent/qpos",)), {"actions": np.full((3, 2), NAN)}, None, "actions: expected finite numbers"),
        (Selection(("agent/qpos",)), {}, [], "x.json: file: expected an object with env_info and episodes"),
    ],
)
def test_damaged_maniskill_files_are_refused(
    tmp_path: Path, selection: Selection, arrays: Any, side: Any, expected: str
) -> None:
    with pytest.raises(InvalidData) as caught:
        read_episodes(maniskill(tmp_path / "x.h5", side, **arrays), selection)
    assert expected in str(caught.value)


# ALOHA


def aloha(path: Path, start: float = 0, **arrays: Any) -> Path:
    usual = {
        "observations/qpos": np.arange(start, start + 4)[:, None],
        "observations/qvel": np.ones((4, 1)),
        "observations/images/cam_high": np.zeros((4, 2, 2, 3), np.uint8),
        "action": np.full((4, 1), 0.5),
    }
    return hdf5(path, usual | {name.replace("__", "/"): value for name, value in arrays.items()}, sim=True)


def test_an_aloha_file_is_an_episode_without_its_last_action(tmp_path: Path) -> None:
    found = read_episodes(aloha(tmp_path / "episode_0.hdf5"))
    [one] = found.episodes
    assert (one.observations.tolist(), one.actions.tolist()) == ([[0], [1], [2], [3]], [[0.5]] * 3)
    assert (one.success, one.rewards, codes(found)) == (None, None, ["last-action-lost"])
    both = read_episodes(tmp_path / "episode_0.hdf5", Selection(("qvel", "qpos"), "yes")).episodes[0]
    assert (both.observations[1].tolist(), both.success) == ([1, 1], True)


def test_a_folder_of_aloha_files_is_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 2, 0):
        aloha(tmp_path / f"episode_{number}.hdf5", number)
    (tmp_path / "notes.txt").touch()
    found = read_episodes(f"aloha:{tmp_path}")
    assert [one.observations[0, 0] for one in found.episodes] == [0, 2, 10]
    assert len(read_episodes(f"aloha:{tmp_path}", Selection(episodes=(2,))).episodes) == 1


def test_aloha_success_may_be_an_attribute(tmp_path: Path) -> None:
    assert read_episodes(aloha(tmp_path / "episode_0.hdf5"), Selection(success="sim")).episodes[0].success is True


@pytest.mark.parametrize(
    ("selection", "arrays", "expected"),
    [
        (Selection(("images/cam_low",)), {}, "expected some of images/cam_high, qpos, qvel, got 'images/cam_low'"),
        (Selection(), {"observations__qpos": None}, "observations: expected some of images/cam_high, qvel, got 'qpos'"),
        (Selection(), {"observations__qpos": np.full((4, 1), NAN)}, "observations: expected finite numbers"),
        (Selection(), {"observations__qpos": np.zeros((7, 1))}, "observations: expected 4 or 5 of them"),
        (Selection(), {"observations__qpos": np.zeros((0, 1)), "action": np.zeros((0, 1))}, "expected at least one"),
        (Selection(), {"action": 0.5}, "actions: expected"),
        (Selection(actions="base_action"), {}, "base_action: expected an array, got none"),
    ],
)
def test_damaged_aloha_files_are_named(tmp_path: Path, selection: Selection, arrays: Any, expected: str) -> None:
    aloha(tmp_path / "episode_0.hdf5")
    aloha(tmp_path / "episode_1.hdf5", **arrays)
    with pytest.raises(InvalidData) as caught:
        read_episodes(f"aloha:{tmp_path}", selection)
    assert expected in str(caught.value)
    if arrays:
        assert "episode_1.hdf5" in str(caught.value)
        assert len(read_episodes(f"aloha:{tmp_path}", Selection(skip_bad=True)).episodes) == 1


def test_a_folder_without_aloha_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match=r"files: expected episode_0\.hdf5, episode_1\.hdf5, \.\.\., got none"):
        read_episodes(f"aloha:{tmp_path}")


# Any of them


@pytest.mark.parametrize("kind", ["robomimic", "maniskill", "d4rl", "aloha"])
def test_the_layout_inside_decides_where_no_kind_is_named(tmp_path: Path, kind: str) -> None:
    path = {"robomimic": robomimic, "maniskill": maniskill, "d4rl": d4rl, "aloha": aloha}[kind](tmp_path / "x.H5")
    chosen = Selection(("agent/qpos",) if kind == "maniskill" else ())
    named = read_episodes(f"{kind}:{path}", chosen)
    assert read_episodes(path, chosen) == read_episodes(f"hdf5:{path}", chosen) == named


@pytest.mark.parametrize("kind", ["hdf5", "robomimic", "maniskill", "d4rl", "aloha"])
@pytest.mark.parametrize("arrays", [{}, {"data/foo": np.zeros(3)}, {"observations": np.zeros(3)}, {"traj_0": [1.0]}])
def test_a_file_in_another_layout_is_one_sentence(tmp_path: Path, kind: str, arrays: Any) -> None:
    with pytest.raises(InvalidData, match=r"expected .*, got") as caught:
        read_episodes(f"{kind}:{hdf5(tmp_path / 'x.hdf5', arrays)}")
    assert "\n" not in str(caught.value)


def test_groups_in_a_circle_end(tmp_path: Path) -> None:
    path = maniskill(tmp_path / "x.h5")
    with h5py.File(path, "r+") as file:
        file["traj_9/obs/agent/again"] = file["traj_9/obs"]
    assert len(read_episodes(path, Selection(("agent/qpos",))).episodes) == 2
