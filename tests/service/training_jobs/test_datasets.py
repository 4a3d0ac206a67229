"""Data sets over REST: uploaded whole or in parts, named by training jobs, copied to the run that learns from them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from gymnasium import spaces
from support.pointing import PointingRuntime, settings_in
from support.training_jobs import JOBS, TRAIN, follow

from metalearn.data.dataset import Dataset, TaskRecord
from metalearn.data.spec import Spec
from service.app import create_app
from service.client import Client, ClientError, requests
from service.settings import Settings

SPEC = Spec(spaces.Box(-np.inf, np.inf, (3,)), spaces.Box(-1, 1, (2,)), horizon=9, rate_hz=10.0)


def recorded(n_tasks: int = 3, first: int = 0) -> Dataset:
    records = []
    for i in range(first, first + n_tasks):
        rng = np.random.default_rng(i)
        one, two, three = (SPEC.example_episode(rng) for _ in range(3))
        labels = (rng.uniform(-1, 1, (5, 2)).astype(np.float32),) if i == 1 else ()
        records.append(TaskRecord(f"own/{i}", (one.without_actions(),), (two,), labels, (three,)))
    return Dataset(SPEC, tuple(records))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    small = {"train_command": TRAIN, "training_poll_s": 0.05, "max_datasets": 2, "max_dataset_bytes": 20_000}
    return settings_in(tmp_path).model_copy(update=small | {"training_families": "mine, company.robots"})


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    return create_app(settings, runtime_factory=PointingRuntime)


def problem(http: TestClient, body: dict[str, Any]) -> tuple[int, str, str]:
    answer = http.post(JOBS, json=body)
    return answer.status_code, answer.json()["type"].rpartition(":")[2], answer.json().get("field", "")


def test_what_is_uploaded_is_what_a_job_learns_from(http: TestClient, client: Client, settings: Settings) -> None:
    info = client.put_dataset("robots", recorded())
    assert (info.n_tasks, info.n_episodes) == (3, 9)
    assert [one.name for one in client.datasets()] == ["robots"]
    job = client.train(dataset="robots", steps=20, job_id="mine")
    assert (job.dataset, job.experiment, job.name) == ("robots", None, "robots")
    states = [data for _, kind, data in follow(http, "mine") if kind == "state"]
    assert states[-1]["state"] == "succeeded"
    (folder,) = (settings.data / "runs").iterdir()
    copied = Dataset.load(folder / "uploaded")
    for got, given in zip(copied.tasks, recorded().tasks, strict=True):
        assert (got.task, got.demos, got.experts, got.trials) == (given.task, given.demos, given.experts, given.trials)
    assert [label.tolist() for r in copied.tasks for label in r.labels] == [recorded().tasks[1].labels[0].tolist()]
    log = http.get(f"{JOBS}/mine/logs").json()["text"]
    assert f"--dataset {folder / 'uploaded'}" in log


def test_a_large_data_set_travels_in_parts(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "PART_BYTES", 400)
    sent = list(requests.put_dataset("robots", recorded(4)))
    assert len(sent) == 4
    client.put_dataset("robots", recorded(4))
    for part in sent[1:]:  # an upload that is repeated changes nothing
        client.send(part)
    (info,) = client.datasets()
    assert info.n_tasks == 4
    assert client.put_dataset("robots", recorded(2)).n_tasks == 2


def test_a_data_set_is_checked_at_the_door(http: TestClient, client: Client) -> None:
    client.put_dataset("robots", recorded(2))
    stored = http.get("/v1/datasets/robots").json()
    task = {"task": "t", "experts": [{"observations": [[0.0] * 3] * 2, "actions": [[0.0, 0.0]]}]}
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"spec": {}, "tasks": [task]}, "spec"),
        ({"spec": SPEC.to_json(), "tasks": []}, "tasks"),
        ({"spec": SPEC.to_json(), "tasks": [task, task]}, "tasks"),
        ({"spec": SPEC.to_json(), "tasks": [{**task, "experts": []}]}, "tasks[0].experts"),
        (
            {"spec": SPEC.to_json(), "tasks": [{"task": "t", "experts": [{"observations": [[0.0] * 3] * 2}]}]},
            "tasks[0]",
        ),
        ({"spec": SPEC.to_json(), "tasks": [{**task, "labels": [[[0.0, 7.0]]]}]}, "tasks[0]"),
        ({"spec": SPEC.to_json(), "tasks": [{**task, "expert": []}]}, "tasks[0].expert"),
    ]
    for body, field in wrong:
        answer = http.put("/v1/datasets/robots", json=body)
        assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (422, "invalid-payload"), body
        assert answer.json()["field"].startswith(field)
    assert http.get("/v1/datasets/robots").json() == stored
    assert http.put("/v1/datasets/robots/parts/1", json={"tasks": [{**task, "task": "own/0"}]}).status_code == 422
    assert http.put("/v1/datasets/robots/parts/5", json={"tasks": [task]}).status_code == 400
    assert http.put("/v1/datasets/other/parts/1", json={"tasks": [task]}).status_code == 404
    assert http.get("/v1/datasets/robots").json() == stored


SPACE = SPEC.to_json()["observation_space"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"horizn": 9}, "spec.horizn: expected one of"),
        ({"horizon": 2.5}, "horizon: expected an integer, got 2.5"),
        ({"horizon": True}, "horizon: expected an integer, got True"),
        ({"rate_hz": "10"}, "rate_hz: expected a positive number, got '10'"),
        ({"rate_hz": 10**400}, "rate_hz: expected a positive number, got 1000"),
        (
            {"action_space": None},
            "action_space: expected an object whose type is box, discrete, multi_discrete or multi_binary, got None",
        ),
        ({"observation_space": {**SPACE, "type": "bx"}}, "observation_space: expected an object whose type is box"),
        ({"observation_space": {**SPACE, "dtpe": 1}}, "did you mean dtype?"),
        ({"observation_space": {**SPACE, "dtype": "O"}}, "observation_space.dtype: expected integers or floats"),
        ({"observation_space": {**SPACE, "shape": [-1]}}, "observation_space.shape: expected at most"),
        ({"observation_space": {**SPACE, "shape": [10**9]}}, "observation_space.shape: expected at most"),
        ({"observation_space": {**SPACE, "shape": [10**5] * 4}}, "observation_space.shape: expected at most"),
    ],
)
def test_a_spec_is_read_in_full_and_within_limits(http: TestClient, change: dict[str, Any], said: str) -> None:
    body = {
        "spec": {**SPEC.to_json(), **change},
        "tasks": [{"task": "t", "experts": [{"observations": [[0] * 3] * 2}]}],
    }
    answer = http.put("/v1/datasets/robots", json=body)
    assert (answer.status_code, answer.json()["field"]) == (422, "spec")
    assert said in answer.json()["detail"]


def test_there_are_limits_and_nothing_is_left_of_what_they_refuse(client: Client, settings: Settings) -> None:
    client.put_dataset("a", recorded(2))
    client.put_dataset("b", recorded(2))
    with pytest.raises(ClientError) as refused:
        client.put_dataset("c", recorded(2))
    assert refused.value.status == 409
    client.delete_dataset("b")
    with pytest.raises(ClientError) as refused:
        client.put_dataset("c", recorded(40))
    assert refused.value.status == 413
    assert [one.name for one in client.datasets()] == ["a"]
    assert len(list((settings.data / "datasets").iterdir())) == 1


def test_what_crashes_left_of_uploads_is_deleted(http: TestClient, client: Client, settings: Settings) -> None:
    client.put_dataset("robots", recorded(2))
    folder = settings.data / "datasets"
    (stored,) = folder.iterdir()
    for name in (f"{stored.name.partition('-')[0]}-000000000000.zip", "0123-000000000000.zip"):
        (folder / name).write_bytes(b"half of a part")
    http.app.state.container.datasets.tidy()  # type: ignore[attr-defined]
    assert list(folder.iterdir()) == [stored]


def test_a_job_says_what_it_cannot_train(http: TestClient, client: Client) -> None:
    client.put_dataset("one", recorded(1))
    assert problem(http, {"steps": 20}) == (422, "invalid-payload", "experiment")
    assert problem(http, {"dataset": "one"}) == (422, "invalid-payload", "dataset")
    assert problem(http, {"dataset": "none"}) == (404, "dataset-not-found", "dataset")
    for family in ("os:system", "mine_too:Doors", "company:Doors", "company.robots_2:Doors"):
        assert problem(http, {"family": family}) == (403, "family-not-allowed", "family")
    assert problem(http, {"family": "mine"})[0] == 422


def test_families_of_allowed_modules_are_trained(http: TestClient) -> None:
    for i, family in enumerate(("mine:Doors", "mine.houses:Doors", "company.robots:Arm")):
        answer = http.post(JOBS, json={"family": family, "steps": 20, "id": f"job{i}", "name": "doors"})
        assert answer.json()["family"] == family
        assert follow(http, f"job{i}")[-1][2]["state"] == "succeeded"
        assert f"--family {family}" in http.get(f"{JOBS}/job{i}/logs").json()["text"]


def test_no_family_is_allowed_unless_the_operator_says_so(tmp_path: Path) -> None:
    with TestClient(create_app(settings_in(tmp_path), runtime_factory=PointingRuntime)) as http:
        assert problem(http, {"family": "tests.support.doors:Doors"})[:2] == (403, "family-not-allowed")


def test_another_tenants_data_set_is_not_there(http: TestClient, client: Client) -> None:
    client.put_dataset("robots", recorded(2))
    store = http.app.state.container.datasets  # type: ignore[attr-defined]
    assert store.page("somebody-else", 10, 0) == ([], None)
    assert json.dumps(http.get("/v1/datasets").json()["items"][0]["spec"]) == json.dumps(SPEC.to_json())
