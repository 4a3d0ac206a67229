"""Named observations of other people's formats as parts, with pictures, and how they are matched to a model."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pytest
from gymnasium import spaces
from PIL import Image
from pyarrow import parquet

from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidData
from metalearn.data.formats import Selection, read_episodes, read_minari, write_minari
from metalearn.data.formats.parts import keys_of, name_of
from metalearn.data.spec import Spec

N = 5
RNG = np.random.default_rng(0)
CAMERA = RNG.integers(0, 256, (N, 8, 6, 3), np.uint8)
ARM = RNG.normal(size=(N, 3)).astype(np.float32)
GRIPPER = RNG.normal(size=(N, 1)).astype(np.float32)
ACTIONS = np.zeros((N, 2), np.float32)
SPEC = Spec(
    spaces.Dict({"camera": spaces.Box(0, 255, (8, 6, 3), np.uint8), "arm": spaces.Box(-9, 9, (3,))}),
    spaces.Box(-1, 1, (2,)),
    horizon=9,
    rate_hz=10.0,
)


def encoded(picture: Any, kind: str = "PNG") -> bytes:
    target = BytesIO()
    Image.fromarray(picture).save(target, kind)
    return target.getvalue()


def robomimic(path: Path) -> str:
    with h5py.File(path, "w") as file:
        demo = file.create_group("data/demo_0")
        demo["obs/camera_image"], demo["obs/arm"], demo["obs/gripper"] = CAMERA, ARM, GRIPPER
        demo["actions"] = ACTIONS
    return f"robomimic:{path}"


def aloha(path: Path, compressed: bool) -> str:
    with h5py.File(path, "w") as file:
        file["observations/qpos"], file["action"] = ARM, ACTIONS
        if not compressed:
            file["observations/images/top"] = CAMERA
            return f"aloha:{path}"
        rows = [encoded(one, "JPEG") for one in CAMERA]
        padded = np.zeros((N, max(map(len, rows)) + 3), np.uint8)
        for i, row in enumerate(rows):
            padded[i, : len(row)] = np.frombuffer(row, np.uint8)
        file["observations/images/top"] = padded
        return f"aloha:{path}"


def lerobot(folder: Path, cameras: list[dict[str, Any]], **features: Any) -> str:
    columns = {
        "observation.state": pa.array(ARM.tolist()),
        "observation.images.top": pa.array(cameras, pa.struct({"bytes": pa.binary(), "path": pa.string()})),
        "action": pa.array(ACTIONS.tolist()),
        "episode_index": pa.array([0] * N),
        "frame_index": pa.array(range(N)),
    }
    home = folder / "data" / "chunk-000"
    home.mkdir(parents=True)
    parquet.write_table(pa.table(columns), home / "file-000.parquet")
    kinds: dict[str, Any] = {name: {"dtype": "float32", "shape": [1]} for name in columns}
    kinds["observation.images.top"] = {"dtype": "image", "shape": [8, 6, 3]}
    (folder / "meta").mkdir()
    info = {"codebase_version": "v3.0", "fps": 10, "features": kinds | features}
    (folder / "meta" / "info.json").write_text(json.dumps(info))
    return f"lerobot:{folder}"


def png_rows() -> list[dict[str, Any]]:
    return [{"bytes": encoded(one), "path": f"{i}.png"} for i, one in enumerate(CAMERA)]


def test_vectors_stay_one_vector_and_pictures_beside_others_keep_their_names(tmp_path: Path) -> None:
    source = robomimic(tmp_path / "x.hdf5")
    [flat] = read_episodes(source, Selection(("gripper", "arm"))).episodes
    [named] = read_episodes(source, Selection(("camera_image", "arm"))).episodes
    [alone] = read_episodes(source, Selection(("camera_image",))).episodes
    assert flat.observations.shape == (N, 4)
    assert named.observations.dtype.names == ("arm", "camera_image")
    np.testing.assert_array_equal(named.observations["camera_image"], CAMERA)
    assert (alone.observations.dtype, alone.observations.shape) == (np.uint8, (N, 8, 6, 3))


def test_frames_in_a_stack_are_a_picture_too(tmp_path: Path) -> None:
    frames = RNG.integers(0, 256, (N, 8, 6, 9), np.uint8)
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        demo = file.create_group("data/demo_0")
        demo["obs/frames"], demo["obs/arm"], demo["actions"] = frames, ARM, ACTIONS
    [read] = read_episodes(f"robomimic:{tmp_path / 'x.hdf5'}", Selection(("frames", "arm"))).episodes
    assert read.observations.dtype.names == ("arm", "frames")
    np.testing.assert_array_equal(read.observations["frames"], frames)


def test_parts_are_all_keys_or_those_that_are_named(tmp_path: Path) -> None:
    source = robomimic(tmp_path / "x.hdf5")
    [every] = read_episodes(source, Selection(parts=True)).episodes
    [some] = read_episodes(source, Selection(("gripper", "arm"), parts=True)).episodes
    assert every.observations.dtype.names == ("arm", "camera_image", "gripper")
    assert some.observations.dtype.names == ("arm", "gripper")
    assert some.observations["gripper"].shape == (N, 1)


@pytest.mark.parametrize("compressed", [False, True])
def test_alohas_pictures_are_pixels_or_padded_jpeg(tmp_path: Path, compressed: bool) -> None:
    [read] = read_episodes(aloha(tmp_path / "x.hdf5", compressed), Selection(("qpos", "images/top"))).episodes
    camera = read.observations["images/top"]
    assert (camera.dtype, camera.shape) == (np.uint8, (N, 8, 6, 3))
    assert compressed or np.array_equal(camera, CAMERA)


def test_lerobots_pictures_are_read_and_named_without_the_prefix(tmp_path: Path) -> None:
    [read] = read_episodes(lerobot(tmp_path / "x", png_rows()), Selection(parts=True)).episodes
    assert read.observations.dtype.names == ("images/top", "state")
    np.testing.assert_array_equal(read.observations["images/top"], CAMERA)


def test_a_damaged_or_another_picture_is_refused_by_its_place(tmp_path: Path) -> None:
    rows, kinds = png_rows(), Selection(("observation.state", "observation.images.top"))
    rows[2] = {"bytes": rows[2]["bytes"][:60], "path": ""}
    with pytest.raises(InvalidData, match=r"observation.images.top\[2\]: expected a whole PNG or JPEG"):
        read_episodes(lerobot(tmp_path / "cut", rows), kinds)
    rows[2] = {"bytes": encoded(CAMERA[0][:4]), "path": ""}
    expected = r"top\[2\]: expected a picture of shape \[8, 6, 3\], as the first, got \[4, 6, 3\]"
    with pytest.raises(InvalidData, match=expected):
        read_episodes(lerobot(tmp_path / "small", rows), kinds)
    rows[2] = {"bytes": None, "path": "elsewhere.png"}
    with pytest.raises(InvalidData, match="expected the bytes of a PNG or JPEG, got another file"):
        read_episodes(lerobot(tmp_path / "path", rows), kinds)


def test_videos_are_said_not_to_be_read_and_which_library_that_needs(tmp_path: Path) -> None:
    video = {"observation.images.wrist": {"dtype": "video", "shape": [3, 96, 96]}}
    source = lerobot(tmp_path / "x", png_rows(), **video)
    with pytest.raises(InvalidData, match=r"wrist: videos need the library av \(PyAV\)"):
        read_episodes(source, Selection(("observation.images.wrist",)))
    [remarks] = read_episodes(source, Selection(parts=True)).remarks
    assert "videos-unread" in {one.code for one in remarks}


def test_names_of_a_model_are_matched_by_the_whole_name_or_its_end() -> None:
    assert [name_of(key) for key in ("observation.images.top", "agent/qpos", "obs/x")] == [
        "images/top",
        "agent/qpos",
        "x",
    ]
    known = ("observation.images.top", "observation.state", "action")
    assert keys_of(("top", "state"), known) == {"top": "observation.images.top", "state": "observation.state"}
    with pytest.raises(InvalidData, match=r"of action, observation.images.top, observation.state, got none for arm"):
        keys_of(("arm",), known)
    with pytest.raises(InvalidData, match="got several for top: left/top, right/top"):
        keys_of(("top",), ("left/top", "right/top"))


def test_a_recording_is_read_for_the_parts_of_a_model_and_sizes_are_not_changed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        one = file.create_group("traj_0")
        one["obs/sensor/camera"], one["obs/agent/arm"], one["obs/agent/other"] = CAMERA, ARM, GRIPPER
        one["actions"] = ACTIONS[:-1]
    [read] = read_episodes(f"maniskill:{tmp_path}/x.hdf5", Selection().for_model(SPEC)).episodes
    assert SPEC.fit(read).observations.dtype.names == ("arm", "camera")
    larger = Spec(
        spaces.Dict({"camera": spaces.Box(0, 255, (64, 64, 3), np.uint8), "arm": spaces.Box(-9, 9, (3,))}),
        SPEC.action_space,
        9,
        10.0,
    )
    expected = r"observations.camera: expected shape \[n, 64, 64, 3\], got shape \[5, 8, 6, 3\]"
    with pytest.raises(InvalidData, match=expected):
        larger.fit(read)


def test_minari_keeps_nested_observations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    nested = spaces.Dict(
        {"eye": spaces.Dict({"left": SPEC.observation_space["camera"]}), "arm": spaces.Box(-9, 9, (3,))}
    )
    spec = Spec(nested, SPEC.action_space, 9, 10.0)
    given = spec.fit(Episode.of({"eye": {"left": CAMERA}, "arm": ARM}, ACTIONS[:-1], np.zeros(N - 1), True))
    write_minari("robot/parts-v0", [given], spec)
    [read] = read_minari("robot/parts-v0", Selection().for_model(spec)).episodes
    assert read == given


def test_parts_are_resampled_apart(tmp_path: Path) -> None:
    chosen = Selection(("camera_image", "arm"), resample_hz=10.0, recorded_hz=20.0)
    [read] = read_episodes(robomimic(tmp_path / "x.hdf5"), chosen).episodes
    np.testing.assert_array_equal(read.observations["camera_image"], CAMERA[::2])
    np.testing.assert_allclose(read.observations["arm"], ARM[::2], rtol=1e-6)
