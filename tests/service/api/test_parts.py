"""Observations with parts over REST: by name, as numbers and as pictures, in every format of a body."""

import base64
import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from support.bundles import made

from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidData
from metalearn.data.formats import encode_npz, encode_safetensors
from metalearn.data.pictures import encode_png, to_data_uri
from service.api.schemas.observations import to_observations
from service.app import create_app
from service.client import Client
from service.codecs import JSON, MSGPACK, decode_msgpack, encode_json, encode_msgpack
from service.settings import Settings

CAMERA = "observation/camera"


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("watched")
    made("watched").save(folder / "models" / "watched")
    settings = Settings(data=folder / "data", models=folder / "models", runtime="onnx")
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def demo(rng: np.random.Generator) -> Episode:
    return made("watched").spec.example_episode(rng, 3)


def create(
    http: TestClient, observations: Any, demo: Episode, encode: Any = encode_msgpack, kind: str = MSGPACK
) -> Any:
    body = {"model": "watched", "demos": [{"observations": observations, "actions": demo.actions}]}
    return http.post("/v1/adaptations", content=encode(body), headers={"content-type": kind, "accept": JSON})


def stored(http: TestClient, answer: Any) -> Episode:
    assert answer.status_code == 201, answer.text
    repository = http.app.state.container.repository
    (episode,) = repository.context(answer.json()["id"], 1).demos
    return episode


@pytest.mark.parametrize(
    ("encode", "kind"),
    [
        (encode_json, JSON),
        (encode_msgpack, MSGPACK),
        (encode_npz, "application/x-npz"),
        (encode_safetensors, "application/x-safetensors"),
    ],
)
@pytest.mark.parametrize("nested", [True, False])
def test_every_format_of_a_body_carries_parts(
    http: TestClient, demo: Episode, encode: Any, kind: str, nested: bool
) -> None:
    camera, arm = demo.observations[CAMERA], demo.observations["arm"]
    parts = {"arm": arm, "observation": {"camera": camera}} if nested else {"arm": arm, CAMERA: camera}
    assert stored(http, create(http, parts, demo, encode, kind)) == Episode.of(parts, demo.actions)


@pytest.mark.parametrize("as_text", [True, False])
def test_pictures_may_be_files(http: TestClient, demo: Episode, as_text: bool) -> None:
    frames = [to_data_uri(frame) if as_text else encode_png(frame) for frame in demo.observations[CAMERA]]
    parts = {"arm": demo.observations["arm"], CAMERA: frames}
    encode, kind = (encode_json, JSON) if as_text else (encode_msgpack, MSGPACK)
    assert stored(http, create(http, parts, demo, encode, kind)).observations.tobytes() == demo.observations.tobytes()


@pytest.mark.parametrize("as_text", [True, False])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_pictures_may_be_jpeg_of_colours_or_grey(http: TestClient, demo: Episode, as_text: bool, mode: str) -> None:
    files = [jpeg(frame, mode) for frame in demo.observations[CAMERA]]
    frames = [f"data:image/jpeg;base64,{base64.b64encode(file).decode()}" if as_text else file for file in files]
    encode, kind = (encode_json, JSON) if as_text else (encode_msgpack, MSGPACK)
    kept = stored(http, create(http, {"arm": demo.observations["arm"], CAMERA: frames}, demo, encode, kind))
    np.testing.assert_array_equal(kept.observations[CAMERA], [pixels(file) for file in files])


def jpeg(frame: np.ndarray, mode: str = "RGB") -> bytes:
    target = io.BytesIO()
    Image.fromarray(frame).convert(mode).save(target, "JPEG")
    return target.getvalue()


def pixels(file: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))


def test_frames_in_a_stack_come_as_numbers_and_not_as_files(rng: np.random.Generator) -> None:
    spec = made("frames in a stack").spec
    seen = spec.example_episode(rng, 3).observations
    for given in (seen, seen.tolist()):
        np.testing.assert_array_equal(to_observations("observations", given, spec, 4), seen)
    with pytest.raises(InvalidData) as refused:
        to_observations("observations", [file_of(16, 16)] * 2, spec, 4)
    assert str(refused.value) == (
        "observations[0]: expected uint8 numbers of shape [16, 16, 9], got a file, which has 1, 3 or 4 channels"
    )


def file_of(width: int, height: int, mode: str = "RGB", kind: str = "PNG") -> bytes:
    target = io.BytesIO()
    Image.new(mode, (width, height)).save(target, kind)
    return target.getvalue()


def bomb() -> bytes:
    """A PNG of a few bytes whose header promises four thousand million pixels."""
    chunks = {b"IHDR": struct.pack(">IIBBBBB", 65535, 65535, 8, 2, 0, 0, 0), b"IDAT": b""}
    packed = (
        struct.pack(">I", len(x)) + kind + x + struct.pack(">I", zlib.crc32(kind + x)) for kind, x in chunks.items()
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.mark.parametrize(
    ("frame", "expected", "got"),
    [
        (file_of(8, 16), "a picture of 16 x 16 pixels with 3 channels", "8 x 16 pixels"),
        (file_of(16, 16, "RGBA"), "a picture of 16 x 16 pixels with 3 channels", "pixels of the kind RGBA"),
        (file_of(16, 16)[:-30], "a PNG or JPEG", None),
        (file_of(16, 16, kind="GIF"), "a PNG or JPEG", None),
        (b"", "a PNG or JPEG", "0 bytes that are none, or a damaged one"),
        ("data:image/gif;base64,AAAA", "a PNG or JPEG as data:image/png;base64,...", None),
        ("data:image/png;base64,*", "base64 after the comma of a data URI", None),
        (bomb(), "a picture of 16 x 16 pixels with 3 channels", "one of many more pixels"),
        (np.zeros((16, 8, 3), np.uint8), "uint8 [n, 16, 16, 3]", "uint8 [4, 16, 8, 3]"),
        (np.full((16, 16, 3), 0.5, np.float32), "whole numbers from 0 to 255", "others"),
    ],
)  # fmt: skip
def test_a_picture_that_does_not_fit_is_refused_by_name(
    http: TestClient, demo: Episode, frame: Any, expected: str, got: str | None
) -> None:
    frames = np.stack([frame] * 4) if isinstance(frame, np.ndarray) else [frame] * 4
    problem = create(http, {"arm": demo.observations["arm"], CAMERA: frames}, demo).json()
    assert problem["status"] == 422, problem
    assert problem["field"].startswith(f"demos[0].observations.{CAMERA}")
    assert problem["expected"] == expected
    assert got is None or problem["got"] == got


@pytest.mark.parametrize(
    ("observations", "field", "expected"),
    [
        ([[0.0] * 4] * 2, "demos[0].observations", f"the parts arm, {CAMERA} by name"),
        ({"arm": [[0.0] * 4] * 2}, f"demos[0].observations.{CAMERA}", "a value"),
        ({"arm": [[0.0] * 4] * 2, "camera": []}, "demos[0].observations.camera", f"one of arm, {CAMERA}"),
        ({"arm": [[0.0] * 3] * 2, CAMERA: [[[[0] * 3] * 16] * 16] * 2}, "demos[0].observations.arm", "float32 [n, 4]"),
        ({"arm": [[0.0] * 4] * 99, CAMERA: []}, "demos[0].observations.arm", "at most 30 steps"),
        ({CAMERA: [], "observation": {"camera": []}}, f"demos[0].observations.{CAMERA}", "one value"),
    ],
)
def test_errors_name_the_part(http: TestClient, demo: Episode, observations: Any, field: str, expected: str) -> None:
    problem = create(http, observations, demo, encode_json, JSON).json()
    assert (problem["status"], problem["field"], problem["expected"]) == (422, field, expected)


def test_it_acts_on_batches_and_records_steps_with_parts(http: TestClient, demo: Episode) -> None:
    adaptation = create(http, demo.to_dict()["observations"], demo).json()["id"]
    path, parts = f"/v1/adaptations/{adaptation}", demo.to_dict()["observations"]
    headers = {"content-type": MSGPACK, "accept": JSON}
    listed = {name: part.tolist() for name, part in parts.items()}
    expected = http.post(f"{path}/act", json={"observations": listed}).json()["actions"]
    assert np.shape(expected) == (4, 3)
    got = http.post(f"{path}/act", content=encode_msgpack({"observations": parts}), headers=headers).json()["actions"]
    np.testing.assert_array_equal(got, expected)
    one = {"arm": parts["arm"][:1], CAMERA: base64_of(parts[CAMERA][0])}
    np.testing.assert_allclose(http.post(f"{path}/act", json={"observations": jsonable(one)}).json()["actions"][0],
                               expected[0], atol=1e-5)  # fmt: skip
    episode = http.post(f"{path}/episodes", json={"explore": False}).json()["id"]
    steps = [{name: part[i] for name, part in parts.items()} for i in range(4)]
    for step in steps[:3]:
        answer = http.post(
            f"{path}/episodes/{episode}/act", content=encode_msgpack({"observation": step}), headers=headers
        )
        assert answer.status_code == 200, answer.text
    last = {"arm": steps[3]["arm"], "observation": {"camera": encode_png(steps[3][CAMERA])}}
    body = encode_msgpack({"observation": last, "success": True})
    assert http.post(f"{path}/episodes/{episode}/finish", content=body, headers=headers).status_code == 200
    (trial,) = http.app.state.container.repository.context(adaptation, 2).trials
    assert trial.observations.tobytes() == demo.observations.tobytes()


def base64_of(frame: np.ndarray) -> str:
    return "data:image/png;base64," + base64.b64encode(encode_png(frame)).decode()


def jsonable(parts: dict[str, Any]) -> dict[str, Any]:
    return {name: part.tolist() if isinstance(part, np.ndarray) else part for name, part in parts.items()}


def test_a_demonstration_on_a_card_can_be_sent_back(http: TestClient) -> None:
    (card,) = http.get("/v1/models").json()["items"]
    assert list(card["example"]["observations"]) == ["arm", CAMERA]
    answer = http.post("/v1/adaptations", json={"model": "watched", "demos": [card["example"]]})
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize("style", ["ours", "openpi", "openpi, nested", "files"])
def test_a_stream_takes_parts_by_name(http: TestClient, demo: Episode, style: str) -> None:
    parts = {name: part[0] for name, part in demo.to_dict()["observations"].items()}
    adaptation = create(http, demo.to_dict()["observations"], demo).json()["id"]
    arm, camera = parts["arm"], parts[CAMERA]
    frame = {
        "ours": {"observation": parts, "reward": None},
        "openpi": parts | {"prompt": "do it"},
        "openpi, nested": {"arm": arm, "observation": {"camera": camera}},
        "files": {"arm": arm, CAMERA: encode_png(camera)},
    }[style]
    expected = http.post(f"/v1/adaptations/{adaptation}/act", json={"observations": jsonable(
        {name: part[None] for name, part in parts.items()})}).json()["actions"]  # fmt: skip
    with http.websocket_connect(f"/v1/adaptations/{adaptation}/stream") as stream:
        stream.receive_bytes()
        stream.send_bytes(encode_msgpack({"reset": True, "explore": False}))
        stream.receive_bytes()
        stream.send_bytes(encode_msgpack(frame))
        got = decode_msgpack(stream.receive_bytes(), 100)["actions"]
        np.testing.assert_allclose(got, expected, atol=1e-5)
        stream.send_bytes(encode_msgpack({"arm": arm}))
        assert stream.receive_json()["field"] == f"observation.{CAMERA}"


@pytest.mark.parametrize("style", ["ours", "openpi", "openpi, nested"])
def test_a_stream_takes_jpeg(http: TestClient, demo: Episode, style: str) -> None:
    adaptation = create(http, demo.to_dict()["observations"], demo).json()["id"]
    arm, file = demo.observations["arm"][0], jpeg(demo.observations[CAMERA][0])
    frame = {
        "ours": {"observation": {"arm": arm, CAMERA: file}, "reward": None},
        "openpi": {"arm": arm, CAMERA: file},
        "openpi, nested": {"arm": arm, "observation": {"camera": file}},
    }[style]
    seen = {"arm": [arm.tolist()], CAMERA: [pixels(file).tolist()]}
    expected = http.post(f"/v1/adaptations/{adaptation}/act", json={"observations": seen}).json()["actions"]
    with http.websocket_connect(f"/v1/adaptations/{adaptation}/stream") as stream:
        stream.receive_bytes()
        stream.send_bytes(encode_msgpack({"reset": True, "explore": False}))
        stream.receive_bytes()
        stream.send_bytes(encode_msgpack(frame))
        np.testing.assert_allclose(decode_msgpack(stream.receive_bytes(), 100)["actions"], expected, atol=1e-5)


def test_the_client_sends_what_an_environment_gives(http: TestClient, demo: Episode) -> None:
    client = Client(http=http, retries=0)
    adaptation = client.adapt("watched", [demo])
    policy = client.policy(adaptation, explore=False)
    seen = [{"arm": one["arm"], "observation": {"camera": one[CAMERA]}} for one in demo.observations]
    np.testing.assert_allclose(policy(seen[0]), adaptation.act(demo.observations[:1])[0], atol=1e-5)
    policy.reset()
    policy(seen[0])
    assert policy.finish(seen[1], success=False).n_trials == 1
    for last in (demo.observations[1], {"arm": seen[1]["arm"], CAMERA: encode_png(seen[1]["observation"]["camera"])}):
        policy.reset()
        policy(seen[0])
        trial = policy.finish(last, success=False).episodes().trials[-1]
        assert trial.observations.tobytes() == demo.observations[:2].tobytes()
    with pytest.raises(InvalidData, match=r"observation: expected the parts arm, observation/camera"):
        policy({"arm": seen[0]["arm"]})
    assert adaptation.episodes().demos == (demo,)


def test_a_row_of_an_episode_is_an_observation(http: TestClient, demo: Episode) -> None:
    adaptation = Client(http=http, retries=0).adapt("watched", [demo])
    with adaptation.episode(explore=False) as episode:
        acted = episode.act(demo.observations[0])
    np.testing.assert_allclose(acted, adaptation.act(demo.observations[:1])[0], atol=1e-5)


def test_a_frame_is_stored_once_however_often_its_episode_is_shown(tmp_path: Path, rng: np.random.Generator) -> None:
    made("watched").save(tmp_path / "models" / "watched")
    demo = made("watched").spec.example_episode(rng, 30)
    settings = Settings(data=tmp_path / "data", models=tmp_path / "models", runtime="onnx")
    with TestClient(create_app(settings), base_url="http://localhost") as http:
        client = Client(http=http, retries=0)
        first = client.adapt("watched", [demo])
        first.fork()
        client.adapt("watched", [demo]).add_trials([demo])
    files = [path.stat().st_size for path in (tmp_path / "data" / "episodes").iterdir()]
    frames = sum(demo.observations[name].nbytes for name in demo.observations.dtype.names)
    assert len(files) == 1
    assert frames < files[0] < 1.1 * frames
