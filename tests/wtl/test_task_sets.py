"""Recordings of others as tasks to train on: by file, by instruction, by any key that stays what it is."""

import contextlib
import io
import json
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from metalearn.bundle import Bundle
from metalearn.data.dataset import Dataset
from metalearn.data.episode import Episode
from metalearn.data.formats import write_episodes, write_minari
from metalearn.data.spec import Spec
from metalearn.tasks.registry import find_family
from wtl.cli import main

T = 6


def episode(goal: float, success: bool | None = True) -> Episode:
    rng = np.random.default_rng(int(100 * goal) + 7 * (success is False))
    return Episode.of(rng.normal(size=(T + 1, 2)) + goal, rng.uniform(-0.1, 0.1, (T, 1)), np.ones(T), success)


def run(*arguments: object) -> str:
    """All that the command prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        main([str(one) for one in arguments])
    return printed.getvalue()


def converted(tmp_path: Path, *arguments: object) -> Dataset:
    run("convert", f"dataset:{tmp_path / 'set'}", *arguments)
    return Dataset.load(tmp_path / "set").check()


def lerobot(folder: Path, version: str) -> Path:
    """Six episodes of three instructions."""
    rows = [
        {"observation.state": [float(i), float(t)], "action": [float(t)], "next.success": t == T - 1 and i != 5,
         "episode_index": i, "frame_index": t, "task_index": i % 3, "goal": float(i % 2)}
        for i in range(6)
        for t in range(T)
    ]  # fmt: skip
    (folder / "meta").mkdir(parents=True)
    (folder / "data" / "chunk-000").mkdir(parents=True)
    parquet.write_table(pa.Table.from_pylist(rows), folder / "data" / "chunk-000" / "file-000.parquet")
    features = {name: {"dtype": "float32", "shape": [1]} for name in rows[0]}
    (folder / "meta" / "info.json").write_text(
        json.dumps({"codebase_version": version, "fps": 20, "features": features})
    )
    tasks = [{"task_index": i, "task": f"push to the {side}"} for i, side in enumerate(("left", "right", "middle"))]
    if version.startswith("v3"):
        parquet.write_table(pa.Table.from_pylist(tasks), folder / "meta" / "tasks.parquet")
    else:
        (folder / "meta" / "tasks.jsonl").write_text("\n".join(map(json.dumps, tasks)))
    return folder


def test_a_folder_holds_a_file_for_each_task(tmp_path: Path) -> None:
    for i in range(4):
        group = [episode(i), episode(i, success=False), episode(i + 0.5, success=None)]
        (tmp_path / "files").mkdir(exist_ok=True)
        write_episodes(tmp_path / "files" / f"t{i}.npz", group, rate_hz=10)
    made = converted(tmp_path, "--from", tmp_path / "files", "--held-out", 0.25)
    aside = Dataset.load(tmp_path / "set-held-out")
    assert sorted(record.task for record in (*made.tasks, *aside.tasks)) == ["t0", "t1", "t2", "t3"]
    assert len(aside.tasks) == 1
    for record in made.tasks:
        assert [e.success for e in (*record.demos, *record.experts, *record.trials)] == [True, None, False]
    assert made.spec.rate_hz == 10
    assert made.spec.horizon == T


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_lerobots_instructions_name_tasks(tmp_path: Path, version: str) -> None:
    source = f"lerobot:{lerobot(tmp_path / 'x', version)}"
    output = run("convert", f"dataset:{tmp_path / 'set'}", "--from", source, "--task-by", "instruction")
    made = Dataset.load(tmp_path / "set")
    assert [record.task for record in made.tasks] == ["push to the left", "push to the right"]
    assert "left out task push to the middle" in output  # one of its two episodes failed


def test_a_key_names_tasks(tmp_path: Path) -> None:
    made = converted(tmp_path, "--from", f"lerobot:{lerobot(tmp_path / 'x', 'v3.0')}", "--task-by", "goal")
    assert [(record.task, len(record.experts), len(record.trials)) for record in made.tasks] == [
        ("0.0", 2, 0),
        ("1.0", 1, 1),
    ]


def test_a_key_that_changes_or_is_not_there_names_none(tmp_path: Path) -> None:
    source = f"lerobot:{lerobot(tmp_path / 'x', 'v3.0')}"
    for key, reason in (("frame_index", "one value of frame_index"), ("colour", "colour")):
        output = run("convert", f"dataset:{tmp_path / 'set'}", "--from", source, "--task-by", key)
        assert "wtl: " in output
        assert reason in output
        assert not (tmp_path / "set").exists()


def test_attributes_and_observations_of_robomimic_name_tasks(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "low_dim.hdf5", "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_kwargs": {"control_freq": 20}})
        for i in range(4):
            demo, one = data.create_group(f"demo_{i}"), episode(i)
            demo["obs/pos"], demo["next_obs/pos"] = one.observations[:-1], one.observations[1:]
            demo["obs/goal"] = np.full((T, 2), i % 2, np.float32)
            demo["actions"], demo["rewards"] = one.actions, one.rewards
            demo.attrs["language_instruction"] = ("lift", "drop")[i % 2]
    source = ("--from", tmp_path / "low_dim.hdf5", "--observations", "pos")
    assert [r.task for r in converted(tmp_path, *source, "--task-by", "instruction").tasks] == ["lift", "drop"]
    made = converted(tmp_path / "again", *source, "--task-by", "goal")
    assert [r.task for r in made.tasks] == ["0.0 0.0", "1.0 1.0"]
    assert made.spec.rate_hz == 20


def test_minari_datasets_are_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    episodes = [episode(i) for i in range(4)]
    spec = Spec.of_episodes(episodes, 5.0)
    for i in range(2):
        write_minari(f"robot/t{i}-v0", episodes[2 * i : 2 * i + 2], spec)
    made = converted(tmp_path, "--from", "minari:robot/t0-v0", "--from", "minari:robot/t1-v0")
    assert [len(r.demos) + len(r.experts) for r in made.tasks] == [2, 2]


def test_recordings_that_make_no_two_tasks_are_one_sentence(tmp_path: Path) -> None:
    write_episodes(tmp_path / "one.npz", [episode(1), episode(2)], rate_hz=10)
    write_episodes(tmp_path / "no-rate.npz", [episode(1), episode(2)])
    for source, reason in ((tmp_path / "one.npz", "--task-by"), (tmp_path / "no-rate.npz", "--rate")):
        output = run("train", "--episodes", source, "--out", tmp_path / "run")
        assert "wtl: " in output
        assert reason in output
        assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_recordings_are_trained_on(tmp_path: Path) -> None:
    for i in range(3):
        write_episodes(tmp_path / f"t{i}.npz", [episode(i), episode(i + 0.5)], rate_hz=10)
    output = run("train", "--episodes", tmp_path, "--steps", 10, "--no-baselines", "--out", tmp_path / "run")
    assert "3 tasks: 3 demonstrations, 3 episodes to imitate" in output
    assert (tmp_path / "run" / "bundle" / "act.onnx").exists()


def colours(path: Path) -> Path:
    """A dataset of two tasks whose observations have the names of `reach-colour`'s parts, in another order."""
    family = find_family("reach-colour")
    spec = family.spec
    with h5py.File(path, "w") as file:
        file.create_group("data").attrs["env_args"] = json.dumps({"env_kwargs": {"control_freq": spec.rate_hz}})
        for i in range(4):
            recorded = spec.example_episode(np.random.default_rng(i))
            demo = file.create_group(f"data/demo_{i}")
            demo.attrs.update({"task": str(i % 2), "success": True})
            for name in ("robot", "objects"):
                demo[f"obs/{name}"] = recorded.observations[name][:-1]
                demo[f"next_obs/{name}"] = recorded.observations[name][1:]
            demo["actions"], demo["rewards"] = recorded.actions, recorded.rewards
    return path


@pytest.mark.slow
def test_recordings_of_a_family_are_read_as_its_parts(tmp_path: Path) -> None:
    source = f"robomimic:{colours(tmp_path / 'colours.hdf5')}"
    usual = ("--task-by", "task", "--steps", 10, "--no-baselines", "--set", "training.check_steps=2")
    output = run("train", "--episodes", source, "--family", "reach-colour", *usual, "--out", tmp_path / "run")
    bundle = Bundle.load(tmp_path / "run" / "bundle")
    assert "2 tasks" in output
    assert bundle.spec.to_json() == find_family("reach-colour").spec.to_json()


def test_recordings_that_do_not_fit_the_family_name_what_is_missing(tmp_path: Path) -> None:
    source, out = f"robomimic:{colours(tmp_path / 'colours.hdf5')}", tmp_path / "run"
    output = run("train", "--episodes", source, "--task-by", "task", "--family", "reach-m2", "--out", out)
    assert output.startswith("wtl: ")
    assert "observations" in output
    assert not out.exists()
