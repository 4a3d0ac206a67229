"""Watch, try, learn over HTTP, with a model whose answers are known."""

import numpy as np
import pytest
from fastapi.testclient import TestClient

from metalearn.data.episode import Episode
from service.client import Client, ClientError


def test_watch_try_learn(client: Client, demo: Episode) -> None:
    adaptation = client.adapt("point", demos=[demo])
    assert (adaptation.version, adaptation.n_demos, adaptation.n_trials) == (1, 1, 0)
    np.testing.assert_allclose(adaptation.act([[0, 0.5, 0], [1, 1, 0]]), [[1, 0.5], [0, 0]])

    failed = Episode.of(demo.observations, demo.actions, success=False)
    learned = adaptation.add_trials([failed])
    assert (learned.id, learned.version, learned.n_trials) == (adaptation.id, 2, 1)
    np.testing.assert_allclose(learned.act([[0, -0.5, 0]]), [[-1, -0.5]])


def test_json_and_msgpack_say_the_same(
    http: TestClient, wire: dict[str, object], client: Client, demo: Episode
) -> None:
    made = http.post("/v1/adaptations", json={"model": "point", "demos": [wire]})
    assert made.status_code == 201
    assert made.headers["location"] == f"/v1/adaptations/{made.json()['id']}"
    assert set(made.json()) == {
        "id", "model", "model_version", "version", "n_demos", "n_trials", "ask", "belief", "confidence",
        "value_of_trial", "novelty", "created_at", "expires_at",
        "forked_from", "quality", "ask_warnings",
    }  # fmt: skip
    answer = http.post(made.headers["location"] + "/act", json={"observations": [[0.25, 0, 0]]}).json()
    assert set(answer["server_timing"]) == {"decode_ms", "queue_ms", "infer_ms", "total_ms"}
    packed = client.adapt("point", demos=[demo]).act([[0.25, 0, 0]])
    np.testing.assert_array_equal(np.array(answer["actions"], np.float32), packed)


def test_old_versions_stay_readable(client: Client, demo: Episode) -> None:
    adaptation = client.adapt("point", demos=[demo])
    adaptation.add_demos([demo, demo.without_actions()])
    assert client.adaptation(adaptation.id).n_demos == 3
    assert client.adaptation(adaptation.id, version=1).n_demos == 1
    with pytest.raises(ClientError) as caught:
        client.adaptation(adaptation.id, version=3)
    assert (caught.value.status, caught.value.field, caught.value.expected) == (404, "version", "1 to 2")


def test_a_context_without_demos_or_scores_is_served(client: Client, demo: Episode) -> None:
    trial = Episode.of(demo.observations, demo.actions)
    assert client.adapt("point").act([[0.5, 0, 0]]).tolist() == [[-0.5, 0.0]]
    assert client.adapt("point", trials=[trial]).n_trials == 1


def test_pages_are_stable_and_complete(http: TestClient, client: Client, demo: Episode) -> None:
    ids = [client.adapt("point", demos=[demo]).id for _ in range(5)]
    first = http.get("/v1/adaptations?limit=2").json()
    client.adapt("point")
    second = http.get("/v1/adaptations", params={"limit": 3, "cursor": first["next_cursor"]}).json()
    assert [item["id"] for item in first["items"] + second["items"]] == ids
    assert len(list(client.adaptations())) == 6


def test_deleting_forgets_the_episodes_nobody_else_has(client: Client, demo: Episode, settings) -> None:
    other = Episode.of(demo.observations + 1)
    a, b = client.adapt("point", demos=[demo, other]), client.adapt("point", demos=[demo])
    files = settings.data / "episodes"
    assert len(list(files.glob("*"))) == 2
    a.delete()
    assert [path.stem for path in files.glob("*")] == [demo.digest]
    np.testing.assert_allclose(b.act([[1, 1, 0]]), [[0, 0]])
    with pytest.raises(ClientError, match="unknown, deleted or expired"):
        a.act([[0, 0, 0]])
    b.delete()
    assert list(files.glob("*")) == []


def test_the_same_post_twice_makes_one_adaptation(http: TestClient, wire: dict[str, object]) -> None:
    headers = {"Idempotency-Key": "one"}
    body = {"model": "point", "demos": [wire]}
    first, again = (http.post("/v1/adaptations", json=body, headers=headers) for _ in range(2))
    assert first.json() == again.json()
    assert again.status_code == 201
    path = first.headers["location"]
    trials = {"trials": [wire]}
    learned = [http.post(path + "/trials", json=trials, headers={"Idempotency-Key": "two"}) for _ in range(2)]
    assert [answer.json()["version"] for answer in learned] == [2, 2]
    assert len(http.get("/v1/adaptations").json()["items"]) == 1
    other = http.post("/v1/adaptations", json={"model": "point", "demos": []}, headers=headers)
    assert (other.status_code, other.json()["type"]) == (422, "urn:problem-type:wtl:idempotency-key-reused")


def test_models_show_an_example_that_they_accept(client: Client) -> None:
    [model] = client.models()
    assert (model.name, model.version, model.report) == ("point", 1, {"schema": 1})
    assert len(model.example.observations) >= 3
    unknown = Episode.of(model.example.observations, model.example.actions, success=None)
    adaptation = client.adapt("point@1", demos=[model.example], trials=[model.example, unknown])
    assert adaptation.add_trials([model.example]).n_trials == 3
    assert client.model("point", 1).example == model.example
