"""Training jobs with settings: they reach `wtl train` as they are, and what is wrong with them is said at the door."""

import shlex
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from support.pointing import PointingRuntime, settings_in
from support.training_jobs import JOBS, TRAIN

from service.app import create_app
from service.client import Client
from service.training_jobs.records import JobRequest


@pytest.fixture
def app(tmp_path: Path) -> FastAPI:
    """A server that takes jobs and starts none while a test lasts."""
    idle = {"train_command": TRAIN, "training_poll_s": 3600.0, "training_families": "robots"}
    return create_app(settings_in(tmp_path).model_copy(update=idle), runtime_factory=PointingRuntime)


def arguments(app: FastAPI, job: str) -> str:
    return shlex.join(app.state.container.training_jobs.read("default", job).arguments)


def test_settings_and_minutes_reach_the_training_as_they_are(app: FastAPI, http: TestClient, client: Client) -> None:
    wanted = {"model.n_frames": 16, "model.fourier": [0.5, 1.0], "data.demo_actions": False}
    job = client.train("reach-m2", minutes=2.5, settings=wanted, job_id="mine")
    assert (job.settings, job.minutes, job.steps) == (wanted, 2.5, None)
    assert http.get(f"{JOBS}/mine").json()["settings"] == wanted
    assert arguments(app, "mine") == (
        "reach-m2 --minutes 2.5 --set model.n_frames=16 --set 'model.fourier=[0.5, 1.0]' --set data.demo_actions=false"
    )


def test_a_client_that_knows_no_settings_sends_and_gets_what_it_always_did(app: FastAPI, http: TestClient) -> None:
    body = {"experiment": "reach-m2", "id": "mine", "steps": 20}
    answer = http.post(JOBS, json=body).json()
    assert (answer["settings"], answer["minutes"]) == ({}, None)
    assert http.post(JOBS, json=body | {"settings": {}}).json()["id"] == "mine"
    assert arguments(app, "mine") == "reach-m2 --steps 20"


def test_settings_import_only_code_that_the_operator_allows(http: TestClient) -> None:
    def asked(name: str) -> tuple[int, str]:
        answer = http.post(JOBS, json={"experiment": "reach-m2", "settings": {"model.image_encoder": name}})
        return answer.status_code, answer.json().get("field", "")

    assert asked("os:getcwd") == (403, "settings.model.image_encoder")
    assert asked("robots.networks:small")[0] == asked("scratch")[0] == 201


@pytest.mark.parametrize(
    ("body", "field", "expected", "got"),
    [
        ({"settings": {"model.n_frame": 4}}, "settings.model.n_frame", "model.n_frames", "an unknown name"),
        ({"settings": {"model.n_frames": "x"}}, "settings.model.n_frames", "a whole number, at least 2", '"x"'),
        ({"settings": {"model.units": {}}}, "settings.model.units", "no value", "one"),
        ({"settings": {"training.minutes": 1}, "steps": 20}, "settings.training.minutes", "no value beside", "both"),
        ({"minutes": 5, "steps": 20}, "minutes", "no minutes beside steps", "both"),
        ({"minutes": 0}, "minutes", "greater than 0", "0"),
        ({"settings": [1]}, "settings", "a valid dictionary", "a list of 1"),
    ],
)
def test_what_cannot_be_trained_is_a_problem_that_names_the_field(
    http: TestClient, body: dict[str, Any], field: str, expected: str, got: str
) -> None:
    answer = http.post(JOBS, json={"experiment": "reach-m2", **body})
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (422, "urn:problem-type:wtl:invalid-payload")
    assert (problem["field"], problem["got"]) == (field, got)
    assert expected in problem["expected"]


def test_the_same_id_with_other_settings_is_another_request(http: TestClient) -> None:
    body = {"experiment": "reach-m2", "id": "mine", "steps": 20, "settings": {"model.n_frames": 4}}
    assert http.post(JOBS, json=body).status_code == http.post(JOBS, json=body).status_code == 201
    assert http.post(JOBS, json=body | {"settings": {"model.n_frames": 5}}).status_code == 409


def test_settings_of_an_unknown_experiment_are_checked_all_the_same(http: TestClient) -> None:
    answer = http.post(JOBS, json={"experiment": "mine", "settings": {"model.n_frames": 1}})
    assert answer.json()["field"] == "settings.model.n_frames"


def test_a_request_without_settings_is_equal_to_one_from_before_there_were_any() -> None:
    assert JobRequest("reach-m2", 1, 20, None, "mine", None, None) == JobRequest("reach-m2", 1, 20, id="mine")
