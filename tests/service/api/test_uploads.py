"""Demos in any format mean the same, bytes of strangers are refused early, and every upload gets a report."""

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support.pointing import PointingRuntime, bundle, calibrated, settings_in

from benchmarks import hostile_corpus
from metalearn.data.episode import Episode
from metalearn.data.formats import FORMATS as TABLE
from metalearn.data.formats import encode_npz, encode_safetensors
from service.app import create_app
from service.client import Client, EpisodeQuality
from service.codecs import UPLOADS, decode
from service.errors import BodyTooLarge, MalformedBody

NPZ, SAFETENSORS = TABLE["npz"].media_type, TABLE["safetensors"].media_type
NPZS, TENSORS = hostile_corpus.npz(), hostile_corpus.safetensors()
FORMATS = {NPZ: encode_npz, SAFETENSORS: encode_safetensors}
formats = pytest.mark.parametrize("kind", FORMATS)


def read(kind: str, data: bytes) -> Any:
    return decode(kind, data, 1_000_000, 1000)


def test_every_format_that_has_a_media_type_can_be_uploaded(http: TestClient) -> None:
    documented = http.get("/openapi.json").json()["paths"]["/v1/adaptations"]["post"]["requestBody"]["content"]
    assert {entry.media_type for entry in TABLE.values() if entry.media_type} <= set(documented)
    assert set(UPLOADS) == set(FORMATS)  # those that are tried here


NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True).filter(lambda name: name != "metadata")
DTYPES = st.sampled_from(["<f4", "<f8", ">f4", "<f2", "|u1", "<i8", ">i2", "|b1"])
ARRAYS = DTYPES.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=3, min_side=0)))
PLAIN = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=9)
TREES = st.dictionaries(
    NAMES,
    st.recursive(
        PLAIN | ARRAYS,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
        max_leaves=8,
    ),
    max_size=4,
)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        little = a.astype(a.dtype.newbyteorder("<"))
        return (
            isinstance(b, np.ndarray)
            and b.dtype == little.dtype
            and b.tobytes() == little.tobytes()
            and a.shape == b.shape
        )
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@formats
@given(value=TREES)
def test_values_survive(kind: str, value: dict[str, Any]) -> None:
    assert same(value, read(kind, FORMATS[kind](value)))


@formats
@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_value_or_refused(kind: str, data: bytes) -> None:
    with contextlib.suppress(MalformedBody, BodyTooLarge):
        read(kind, data)


@formats
@given(changes=st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=4))
def test_damaged_files_are_a_value_or_refused(kind: str, changes: list[tuple[int, int]]) -> None:
    data = bytearray(FORMATS[kind]({"demos": [{"observations": np.ones((3, 2)), "success": True}], "model": "x"}))
    for place, byte in changes:
        data[place % len(data)] = byte
    with contextlib.suppress(MalformedBody, BodyTooLarge):
        read(kind, bytes(data))


@pytest.mark.parametrize(("data", "status"), NPZS.values(), ids=NPZS)
def test_hostile_npz_is_refused(data: bytes, status: int) -> None:
    with pytest.raises((MalformedBody, BodyTooLarge)) as caught:
        read(NPZ, data)
    assert caught.value.status == status


@pytest.mark.parametrize(("data", "status"), TENSORS.values(), ids=TENSORS)
def test_hostile_safetensors_are_refused(data: bytes, status: int) -> None:
    with pytest.raises((MalformedBody, BodyTooLarge)) as caught:
        read(SAFETENSORS, data)
    assert caught.value.status == status


@formats
def test_all_formats_say_the_same(kind: str, http: TestClient, client: Client, demo: Episode) -> None:
    body = {"model": "point", "demos": [{"observations": demo.observations, "actions": demo.actions, "success": True}]}
    made = http.post("/v1/adaptations", content=FORMATS[kind](body), headers={"Content-Type": kind})
    assert made.status_code == 201
    assert made.headers["content-type"] == "application/json"
    [quality] = made.json()["quality"]
    assert (quality["episode"], quality["steps"], quality["success"]) == ("demos[0]", 2, True)
    np.testing.assert_allclose(client.adaptation(made.json()["id"]).act([[1, 1, 0]]), [[0, 0]])
    trials = FORMATS[kind](
        {"trials": [{"observations": demo.observations, "actions": demo.actions, "rewards": np.ones(2)}]}
    )
    learned = http.post(made.headers["location"] + "/trials", content=trials, headers={"Content-Type": kind})
    assert (learned.json()["version"], learned.json()["quality"][0]["total_reward"]) == (2, 2.0)


def test_what_numpy_writes_is_taken(http: TestClient, demo: Episode) -> None:
    target = io.BytesIO()
    np.savez_compressed(
        target, **{"model": "point", "demos/0/observations": demo.observations, "demos/0/success": True}
    )  # type: ignore[arg-type]
    made = http.post("/v1/adaptations", content=target.getvalue(), headers={"Content-Type": NPZ})
    assert made.json()["quality"][0]["success"] is True


def test_a_refusal_is_a_problem_that_names_the_field(http: TestClient) -> None:
    bad = encode_npz({"model": "point", "demos": [{"observations": np.ones((3, 7))}]})
    answer = http.post("/v1/adaptations", content=bad, headers={"Content-Type": NPZ})
    assert (answer.status_code, answer.json()["field"]) == (422, "demos[0].observations")
    answer = http.post("/v1/adaptations", content=NPZS["a bomb"][0], headers={"Content-Type": NPZ})
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:problem-type:wtl:body-too-large")
    answer = http.post("/v1/adaptations", content=b"\x89HDF\r\n", headers={"Content-Type": "application/x-hdf5"})
    assert answer.status_code == 415


def codes(entry: EpisodeQuality) -> list[str]:
    return [warning.code for warning in entry.warnings]


def test_copies_are_seen_in_the_upload_and_in_the_store_of_the_tenant(client: Client, demo: Episode) -> None:
    other = Episode.of(demo.observations + 1, demo.actions, success=True)
    first = client.adapt("point", demos=[demo, other, demo])
    assert [one.duplicate_of for one in first.quality] == [None, None, "demos[0]"]
    again = client.adapt("point", demos=[other])
    assert ([one.duplicate_of for one in again.quality], codes(again.quality[0])[-1]) == (
        ["stored"],
        "duplicate-stored",
    )
    assert client.adaptation(again.id).quality == ()


def test_the_same_post_again_gets_the_same_report(http: TestClient, wire: dict[str, object]) -> None:
    body = {"model": "point", "demos": [wire]}
    first, again = (http.post("/v1/adaptations", json=body, headers={"Idempotency-Key": "k"}) for _ in range(2))
    assert first.json() == again.json()
    assert first.json()["quality"][0]["duplicate_of"] is None


def test_the_rate_of_the_recording_is_compared(client: Client, demo: Episode) -> None:
    assert "rate-differs" not in codes(client.adapt("point", demos=[demo], rate_hz=10.0).quality[0])
    [slow] = client.adapt("point", demos=[demo], rate_hz=5.0).add_trials([demo], rate_hz=5.0).quality
    assert (slow.rate_hz, slow.duration_s) == (5.0, 0.4)
    assert "rate-differs" in codes(slow)


def test_demos_are_likened_to_those_of_training(tmp_path, demo: Episode) -> None:
    settings = settings_in(tmp_path)
    calibrated(bundle()).save(settings.models / "point")
    far = Episode.of(demo.observations * 1000, demo.actions)
    with TestClient(create_app(settings, runtime_factory=PointingRuntime)) as http:
        near, strange = Client(http=http).adapt("point", demos=[demo, far], trials=[far]).quality[:2]
    assert (near.novelty, strange.novelty) == (0.625, 0.875)  # of 3 known, 2 and 3 are less strange
