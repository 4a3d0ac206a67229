"""Models whose observations are a tuple, switches or one choice: over REST, a stream, and from an environment."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from support.bundles import made

from metalearn.data.context import Context
from metalearn.data.episode import Episode
from metalearn.data.formats import encode_npz, encode_safetensors
from metalearn.data.parts import split
from service.app import create_app
from service.client import Client
from service.codecs import JSON, MSGPACK, decode_msgpack, encode_json, encode_msgpack
from service.inference import TorchRuntime
from service.settings import Settings

KINDS = ("tuple", "switches", "one-choice")


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("spaces")
    for kind in KINDS:
        made(kind).save(folder / "models" / kind)
    settings = Settings(data=folder / "data", models=folder / "models", runtime="onnx")
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def demo(kind: str, rng: np.random.Generator) -> Episode:
    return made(kind).spec.example_episode(rng, 4)


def on_the_wire(observations: np.ndarray) -> Any:
    """What bodies hold: arrays by name, or one array."""
    parts = split(observations)
    return parts.get("", parts)


def believed(kind: str, demo: Episode) -> np.ndarray:
    """What the policy does at every step of a demonstration that it has seen, by torch."""
    runtime = TorchRuntime.load(made(kind))
    (belief,) = runtime.infer_belief([Context((demo,))])
    given = runtime.conditioning(belief, belief.map_hypothesis)
    return runtime.act(np.stack([given] * len(demo.observations)), demo.observations)


@pytest.mark.parametrize(
    ("encode", "form"),
    [
        (encode_json, JSON),
        (encode_msgpack, MSGPACK),
        (encode_npz, "application/x-npz"),
        (encode_safetensors, "application/x-safetensors"),
    ],
)
def test_a_body_is_stored_as_it_came_and_acted_on_as_torch_does(
    http: TestClient, kind: str, demo: Episode, encode: Any, form: str
) -> None:
    seen, headers = on_the_wire(demo.observations), {"content-type": form, "accept": JSON}
    body = {"model": kind, "demos": [{"observations": seen, "actions": demo.actions}]}
    created = http.post("/v1/adaptations", content=encode(body), headers=headers)
    assert created.status_code == 201, created.text
    path, repository = f"/v1/adaptations/{created.json()['id']}", http.app.state.container.repository
    (kept,) = repository.context(created.json()["id"], 1).demos
    assert kept.observations.tobytes() == demo.observations.tobytes()
    acted = http.post(f"{path}/act", content=encode({"observations": seen}), headers=headers)
    assert acted.status_code == 200, acted.text
    np.testing.assert_allclose(acted.json()["actions"], believed(kind, kept), atol=1e-4)


def test_a_stream_and_an_environment_say_the_same(http: TestClient, kind: str, demo: Episode) -> None:
    client, space = Client(http=http, retries=0), made(kind).spec.observation_space
    adaptation = client.adapt(kind, [demo])
    space.seed(0)
    sample = space.sample()
    policy = client.policy(adaptation, explore=False)
    by_policy = policy(sample)
    expected = made(kind).spec.as_array(batched(sample))
    seen = on_the_wire(expected)
    one = {name: part[0] for name, part in seen.items()} if isinstance(seen, dict) else seen[0]
    np.testing.assert_allclose(adaptation.act(seen)[0], by_policy, atol=1e-5)
    with http.websocket_connect(f"/v1/adaptations/{adaptation.id}/stream") as stream:
        stream.receive_bytes()
        stream.send_bytes(encode_msgpack({"reset": True, "explore": False}))
        stream.receive_bytes()
        stream.send_bytes(encode_msgpack({"observation": one, "reward": None}))
        np.testing.assert_allclose(decode_msgpack(stream.receive_bytes(), 100)["actions"][0], by_policy, atol=1e-5)
    policy.reset()
    np.testing.assert_allclose(policy(sample), by_policy, atol=1e-5)
    assert policy.finish(sample, success=False).n_trials == 1
    (trial,) = policy.adaptation.episodes().trials
    assert trial.observations[0].tobytes() == trial.observations[1].tobytes() == expected.tobytes()


def batched(sample: Any) -> Any:
    """An observation of an environment as a vector environment gives it, of one row."""
    return tuple(map(batched, sample)) if isinstance(sample, tuple) else np.asarray(sample)[None]


@pytest.mark.parametrize("kind", ["one-choice"])
def test_a_choice_may_come_without_an_axis(http: TestClient, kind: str, demo: Episode) -> None:
    with Client(http=http, retries=0).adapt(kind, [demo]).episode(explore=False) as episode:
        acted = [episode.act(choice) for choice in (3, np.int64(3), np.array([3]))]
    np.testing.assert_array_equal(acted[1:], acted[:1] * 2)


@pytest.mark.parametrize("kind", ["tuple"])
def test_the_members_of_a_tuple_may_be_lists(http: TestClient, kind: str, demo: Episode) -> None:
    adaptation = Client(http=http, retries=0).adapt(kind, [demo])
    parts = split(demo.observations)
    nested = [parts["0"].tolist(), [parts["1/0"].tolist(), parts["1/1"].tolist()]]
    answer = http.post(f"/v1/adaptations/{adaptation.id}/act", json={"observations": nested})
    assert answer.status_code == 200, answer.text
    np.testing.assert_allclose(answer.json()["actions"], believed(kind, demo), atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "wrong", "expected"),
    [
        ("tuple", {"0": [[0.0] * 8]}, "observations.1/0: expected a value"),
        ("switches", [[[0, 1], [1, 0]]], "observations: expected shape [n, 2, 3]"),
        ("one-choice", [[8]], "observations: expected integers from 2 to 7"),
    ],
)
def test_what_is_no_element_of_the_space_is_refused(
    http: TestClient, kind: str, demo: Episode, wrong: Any, expected: str
) -> None:
    adaptation = Client(http=http, retries=0).adapt(kind, [demo])
    problem = http.post(f"/v1/adaptations/{adaptation.id}/act", json={"observations": wrong}).json()
    assert (problem["status"], f"{problem['field']}: expected {problem['expected']}") == (422, expected)
