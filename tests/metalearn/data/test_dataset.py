import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces
from safetensors.numpy import load_file, save_file

from metalearn.bundle import Bundle
from metalearn.data.context import Context
from metalearn.data.dataset import Dataset, TaskRecord
from metalearn.data.episode import Episode, PackedEpisode
from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.data.spec import Spec

SPEC = Spec(spaces.Box(-np.inf, np.inf, (3,)), spaces.Box(-1, 1, (2,)), horizon=9, rate_hz=10.0)


PARTS = spaces.Dict({"camera/front": spaces.Box(0, 255, (2, 2, 3), np.uint8), "mode": spaces.Discrete(3)})
WITH_PARTS = Spec(PARTS, spaces.MultiDiscrete([2, 3]), horizon=9, rate_hz=10.0)


def recorded(n_tasks: int = 3, spec: Spec = SPEC) -> Dataset:
    rng = np.random.default_rng(0)
    make = spec.example_episode
    return Dataset(
        spec,
        tuple(
            TaskRecord(f"own/{i:04d}", (make(rng).without_actions(),), (make(rng),), trials=(make(rng), make(rng)))
            for i in range(n_tasks)
        ),
    )


@pytest.mark.parametrize("spec", [SPEC, WITH_PARTS], ids=["whole", "parts"])
def test_a_dataset_survives_the_disk(tmp_path: Path, spec: Spec):
    dataset = recorded(3, spec)
    dataset.save(tmp_path)
    assert Dataset.load(tmp_path) == dataset


def test_pictures_are_compressed(tmp_path: Path):
    spec = replace(SPEC, observation_space=spaces.Box(0, 255, (32, 32, 3), np.uint8))
    scene = np.tile(np.arange(32, dtype=np.uint8)[:, None], (10, 32, 1, 3)).reshape(10, 32, 32, 3)
    episode = Episode.of(scene, np.zeros((9, 2)))
    Dataset(spec, tuple(TaskRecord(f"own/{i}", (), (episode,)) for i in range(3))).save(tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < scene.nbytes / 5
    (loaded,) = Dataset.load(tmp_path).tasks[2].experts
    assert loaded == episode
    assert isinstance(loaded, PackedEpisode)
    assert len(pickle.dumps(loaded)) < scene.nbytes / 5


@pytest.mark.parametrize(
    ("shape", "error"),
    [
        ([2, 2, 1], "4 bytes for shape"),
        ([9, 2, 2, 3], "108 bytes"),
        ([], "1 bytes"),
        ([-1, 4], "whole numbers above 0"),
        (["2"], "whole numbers above 0"),
        ([10**9, 10**9], "at most 2147483648 bytes"),
        (None, "whole numbers above 0"),
    ],
)
def test_pictures_of_another_size_than_the_index_says_are_damage(tmp_path: Path, shape: object, error: str):
    recorded(2, WITH_PARTS).save(tmp_path)
    index = json.loads((tmp_path / "dataset.json").read_text())
    index["shards"][0]["tasks"][0]["demos"][0]["pictures"] = {"observations/camera/front": shape}
    (tmp_path / "dataset.json").write_text(json.dumps(index))
    with pytest.raises(InvalidConfig, match=error):
        Dataset.load(tmp_path)


def test_pictures_that_are_not_compressed_are_damage(tmp_path: Path):
    recorded(2, WITH_PARTS).save(tmp_path)
    shard = tmp_path / "tasks-00000.safetensors"
    arrays = load_file(shard)
    arrays["0/demos/0/observations/camera/front"] = np.zeros(72, np.uint8)
    save_file(arrays, shard)
    with pytest.raises(InvalidConfig, match="damaged: 0/demos/0/observations/camera/front: expected compressed"):
        Dataset.load(tmp_path)


@pytest.mark.parametrize(
    "names", [("pick", "pick"), ("pick", "Pick"), ("a", "a/demos/0"), ("", "../x"), ("ü\n", "ü\n ")]
)
def test_tasks_keep_their_arrays_whatever_they_are_called(tmp_path: Path, names: tuple[str, ...]):
    tasks = tuple(replace(record, task=name) for name, record in zip(names, recorded().tasks, strict=False))
    Dataset(SPEC, tasks).save(tmp_path)
    assert Dataset.load(tmp_path).tasks == tasks


def test_a_pointer_in_place_of_a_shard_is_named(tmp_path: Path):
    recorded().save(tmp_path)
    next(tmp_path.glob("*.safetensors")).write_bytes(b"version https://git-lfs.example/spec/v1\noid sha256:4d7a\n")
    with pytest.raises(InvalidConfig, match=r"tasks-00000.safetensors: file: .* a Git LFS pointer"):
        Dataset.load(tmp_path)


@pytest.mark.parametrize("names", [("bc", "BC"), ("../bc",), ("a/b",), ("",), (".bc",), ("x" * 65,)])
def test_a_bundle_takes_no_names_that_are_no_files_of_their_own(tmp_path: Path, names: tuple[str, ...]):
    made = bundle()
    for name in names:
        made = made.with_baseline(name, {"v": np.ones(2, np.float32)}, {})
    with pytest.raises(InvalidConfig, match="baselines of"):
        made.save(tmp_path / "bundle")
    with pytest.raises(InvalidConfig, match="graphs of"):
        bundle().with_graphs(dict.fromkeys(names, b"")).save(tmp_path / "bundle")


@pytest.mark.parametrize("file", ["bundle.json", "weights.safetensors", "report.json"])
def test_a_pointer_in_place_of_a_file_of_a_bundle_is_named(tmp_path: Path, file: str):
    bundle().with_report({"schema": 1}).save(tmp_path)
    (tmp_path / file).write_bytes(b"version https://git-lfs.example/spec/v1\noid sha256:4d7a\nsize 1\n")
    with pytest.raises(InvalidConfig, match=f"{file}.*a Git LFS pointer"):
        Bundle.load(tmp_path)


def test_files_of_a_bundle_may_have_a_byte_order_mark(tmp_path: Path):
    made = bundle().with_report({"schema": 1})
    made.save(tmp_path)
    for name in ("bundle.json", "report.json"):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + (tmp_path / name).read_bytes())
    assert Bundle.load(tmp_path).id == made.id


def test_a_missing_or_damaged_dataset_is_one_sentence(tmp_path: Path):
    with pytest.raises(InvalidConfig, match="no dataset"):
        Dataset.load(tmp_path)
    recorded().save(tmp_path)
    shard = next(tmp_path.glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-9])
    with pytest.raises(InvalidConfig, match="damaged"):
        Dataset.load(tmp_path)


def test_a_dataset_says_which_episode_does_not_fit():
    tasks = (TaskRecord("own/0000", (), (Episode.of(np.zeros((2, 4)), np.zeros((1, 2))),)),)
    with pytest.raises(InvalidData) as caught:
        Dataset(SPEC, tasks).check()
    assert caught.value.field == "own/0000.experts[0].observations"


def test_a_context_is_never_changed_in_place():
    rng = np.random.default_rng(0)
    demo, trial = SPEC.example_episode(rng), SPEC.example_episode(rng)
    before = Context((demo,))
    after = before.with_trial(trial)
    assert before.trials == ()
    assert after.trials == (trial,)
    assert after.scored
    assert not before.scored


def bundle() -> Bundle:
    weights = {"w": np.arange(6, dtype=np.float32).reshape(2, 3)}
    return Bundle("own", SPEC, {"n_frames": 3}, weights, provenance={"seed": 1})


def test_a_bundle_survives_the_disk_with_its_id(tmp_path: Path):
    made = bundle().with_baseline("bc", {"v": np.ones(2, np.float32)}, {"seed": 0}).with_report({"schema": 1})
    made.save(tmp_path)
    read = Bundle.load(tmp_path)
    assert read.id == made.id
    assert read.spec == SPEC
    assert read.report == {"schema": 1}
    np.testing.assert_array_equal(read.baselines["bc"]["v"], 1.0)


def test_the_report_does_not_change_a_bundles_id_and_the_weights_do():
    assert bundle().with_report({"schema": 1}).id == bundle().id
    other = Bundle("own", SPEC, {"n_frames": 3}, {"w": np.zeros((2, 3), np.float32)})
    assert other.id != bundle().id


@pytest.mark.parametrize("damage", ["weights", "schema", "json"])
def test_a_changed_bundle_is_refused(tmp_path: Path, damage: str):
    bundle().save(tmp_path)
    head = tmp_path / "bundle.json"
    if damage == "weights":
        file = tmp_path / "weights.safetensors"
        file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    elif damage == "schema":
        head.write_text(head.read_text().replace('"schema": 2', '"schema": 99'))
    else:
        head.write_text(head.read_text()[:-20])
    with pytest.raises(InvalidConfig):
        Bundle.load(tmp_path)
