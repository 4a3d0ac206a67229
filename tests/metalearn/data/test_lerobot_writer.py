"""Episodes as a LeRobot dataset: our own reader reads equal ones, and what LeRobot itself looks at is there."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from pyarrow import parquet

from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.data.formats import Selection, read_episodes, write_episodes
from metalearn.data.spec import Spec

CAMERA = spaces.Box(0, 255, (6, 8, 3), np.uint8)
ARM = spaces.Box(-9, 9, (3,), np.float32)
PUSH = spaces.Box(-1, 1, (2,), np.float32)
SPECS = {
    "vector": Spec(ARM, PUSH, 50, 20.0),
    "one number": Spec(spaces.Box(-9, 9, (1,)), spaces.Box(-1, 1, (1,)), 50, 12.5),
    "choices": Spec(spaces.Discrete(5), spaces.Discrete(3), 50, 20.0),
    "several choices": Spec(ARM, spaces.MultiDiscrete([3, 2]), 50, 20.0),
    "picture": Spec(CAMERA, PUSH, 50, 20.0),
    "grey": Spec(spaces.Box(0, 255, (6, 8, 1), np.uint8), PUSH, 50, 20.0),
    "frames in a stack": Spec(spaces.Box(0, 255, (6, 8, 9), np.uint8), PUSH, 50, 20.0),
    "parts": Spec(
        spaces.Dict({"cameras": spaces.Dict({"top": CAMERA}), "arm": ARM, "held": spaces.Discrete(2),
                     "objects": spaces.Box(-9, 9, (4, 3))}), PUSH, 50, 10.0,
    ),
}  # fmt: skip


def episodes(
    spec: Spec, outcomes: tuple[bool | None, ...] = (True, False), rewarded: bool = True
) -> tuple[Episode, ...]:
    rng = np.random.default_rng(0)
    made = [spec.example_episode(rng, n) for n in (4, 1, 7)[: len(outcomes)]]
    rewards = [rng.normal(size=len(one)).astype(np.float32) if rewarded else None for one in made]
    return tuple(
        replace(one, success=success, rewards=own) for one, success, own in zip(made, outcomes, rewards, strict=True)
    )


@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize(("outcomes", "rewarded"), [((True, False), True), ((None, None), False), ((None, True), True)])
def test_what_is_written_is_read_again(
    tmp_path: Path, kind: str, outcomes: tuple[bool | None, ...], rewarded: bool
) -> None:
    spec = SPECS[kind]
    given = episodes(spec, outcomes, rewarded)
    write_episodes(f"lerobot:{tmp_path / 'x'}", given, spec=spec)
    read = read_episodes(f"lerobot:{tmp_path / 'x'}", Selection().for_model(spec))
    assert tuple(spec.fit(one) for one in read.episodes) == given
    assert [spec.fit(one).digest for one in read.episodes] == [one.digest for one in given]
    assert read.rate_hz == spec.rate_hz


def test_rewards_that_one_episode_lacks_are_unknown_there_alone(tmp_path: Path) -> None:
    spec = SPECS["vector"]
    first, second = episodes(spec)
    given = (first, replace(second, rewards=None))
    write_episodes(f"lerobot:{tmp_path / 'x'}", given, spec=spec)
    assert read_episodes(f"lerobot:{tmp_path / 'x'}").episodes == given


def test_what_lerobot_looks_up_is_there(tmp_path: Path) -> None:
    spec, folder = SPECS["parts"], tmp_path / "x"
    write_episodes(f"lerobot:{folder}", episodes(spec, (True, False, None)), spec=spec, description="push it")
    info = json.loads((folder / "meta" / "info.json").read_text())
    assert [info[name] for name in ("codebase_version", "fps", "total_episodes", "total_frames", "total_tasks")] == [
        "v3.0", 10, 3, 15, 1,
    ]  # fmt: skip
    assert info["features"]["observation.cameras.top"] == {
        "dtype": "image", "shape": [6, 8, 3], "names": ["height", "width", "channels"],
    }  # fmt: skip
    frames = parquet.read_table(folder / info["data_path"].format(chunk_index=0, file_index=0))
    assert set(frames.column_names) == set(info["features"])
    assert frames["index"].to_pylist() == list(range(15))
    assert frames["timestamp"].to_pylist()[:3] == pytest.approx([0, 0.1, 0.2])
    assert frames["action"].to_pylist()[3] == frames["action"].to_pylist()[4]  # the last one has none of its own
    assert frames["next.reward"].to_pylist()[4] == 0
    found = parquet.read_table(folder / "meta" / "episodes" / "chunk-000" / "file-000.parquet").to_pylist()
    spans = [(one["dataset_from_index"], one["dataset_to_index"], one["length"], one["tasks"]) for one in found]
    assert spans == [(0, 5, 5, ["push it"]), (5, 7, 2, ["push it"]), (7, 15, 8, ["push it"])]
    stats: dict[str, Any] = json.loads((folder / "meta" / "stats.json").read_text())
    assert np.shape(stats["observation.cameras.top"]["mean"]) == (3, 1, 1)
    assert np.shape(stats["action"]["std"]) == (2,)
    assert read_episodes(f"lerobot:{folder}", Selection(task_by="instruction", parts=True)).tasks == ("push it",) * 3


def test_the_instruction_is_the_index_of_a_table_of_pandas(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    spec = SPECS["vector"]
    write_episodes(f"lerobot:{tmp_path / 'x'}", episodes(spec), spec=spec, description="reach")
    table = parquet.read_table(tmp_path / "x" / "meta" / "tasks.parquet").to_pandas()
    assert (table.index.tolist(), table.loc["reach", "task_index"]) == (["reach"], 0)


def test_what_lerobot_cannot_hold_and_a_folder_in_use_are_refused(tmp_path: Path) -> None:
    spec = SPECS["vector"]
    given = episodes(spec)
    with pytest.raises(InvalidConfig, match="name their model"):
        write_episodes(f"lerobot:{tmp_path / 'x'}", given)
    with pytest.raises(InvalidData, match=r"episodes\[1\].actions: expected actions"):
        write_episodes(
            f"lerobot:{tmp_path / 'x'}", (given[0], replace(given[1], actions=None, rewards=None)), spec=spec
        )
    twice = Spec(spaces.Dict({"a": spaces.Dict({"b": ARM}), "a.b": ARM}), PUSH, 50, 20.0)
    with pytest.raises(InvalidConfig, match=r"observation\.a\.b twice"):
        write_episodes(f"lerobot:{tmp_path / 'x'}", episodes(twice), spec=twice)
    assert not (tmp_path / "x").exists()
    (tmp_path / "x").mkdir()
    write_episodes(f"lerobot:{tmp_path / 'x'}", given, spec=spec)
    with pytest.raises(InvalidConfig, match="expected a new or an empty folder"):
        write_episodes(f"lerobot:{tmp_path / 'x'}", given, spec=spec)
