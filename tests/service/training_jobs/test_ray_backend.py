"""Ray's Jobs REST API as the backend speaks it, against a stand-in for the cluster that follows Ray 2.60's answers.

`test_ray_jobs.py` does it with a real cluster.
"""

import shlex
import subprocess
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from support.pointing import PointingRuntime, settings_in
from support.training_jobs import JOBS, TRAIN, follow, wait_for

import service.container
from service.app import create_app
from service.settings import Settings
from service.training_jobs.ray_backend import RayBackend

TOKEN = "0123456789abcdef"


class Cluster:
    """Runs what is submitted; `lose_head` forgets every record, as a new head does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.jobs: dict[str, subprocess.Popen[bytes]] = {}
        self.submitted: list[str] = []
        self.token = TOKEN

    def lose_head(self) -> None:
        for process in self.jobs.values():
            process.kill()
            process.wait()
        self.jobs = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return httpx.Response(401, text="Unauthorized: Invalid authentication token")
        path = request.url.path
        if (request.method, path) == ("POST", "/api/jobs/"):
            return self._submit(httpx.Response(200, content=request.content).json())
        job_id, _, verb = path.removeprefix("/api/jobs/").partition("/")
        if job_id not in self.jobs:
            return httpx.Response(404, text=f"Job {job_id} does not exist")
        if verb == "logs":
            return httpx.Response(200, json={"logs": (self._folder / job_id).read_text()})
        if verb == "stop":
            self.jobs[job_id].terminate()
            return httpx.Response(200, json={"stopped": True})
        code = self.jobs[job_id].poll()
        status = "RUNNING" if code is None else "SUCCEEDED" if code == 0 else "FAILED"
        return httpx.Response(200, json={"submission_id": job_id, "status": status})

    def _submit(self, body: dict[str, str]) -> httpx.Response:
        job_id = body["submission_id"]
        if job_id in self.jobs:
            return httpx.Response(500, text=f"Traceback\nValueError: Job with submission_id {job_id} already exists")
        self.submitted.append(job_id)
        with (self._folder / job_id).open("wb") as log:
            (out := Path(shlex.split(body["entrypoint"])[-1])).mkdir(parents=True, exist_ok=True)
            command = shlex.split(body["entrypoint"])
            self.jobs[job_id] = subprocess.Popen(command, cwd=out, stdout=log, stderr=log)
        return httpx.Response(200, json={"submission_id": job_id})


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    (logs := tmp_path / "cluster").mkdir()
    return Cluster(logs)


@pytest.fixture
def settings(tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Settings:
    def reached(address: str, token: str | None, command: list[str]) -> RayBackend:
        return RayBackend(
            address, token, command, httpx.Client(base_url=address, transport=httpx.MockTransport(cluster))
        )

    monkeypatch.setattr(service.container, "RayBackend", reached)
    update = {"ray_address": "http://cluster:8265", "ray_token": TOKEN, "train_command": TRAIN, "training_poll_s": 0.05}
    return settings_in(tmp_path).model_copy(update=update)


def served(settings: Settings) -> TestClient:
    return TestClient(create_app(settings, runtime_factory=PointingRuntime))


def test_a_job_goes_to_the_cluster_and_comes_back_as_a_model(settings: Settings, cluster: Cluster) -> None:
    with served(settings) as http:
        assert http.post(JOBS, json={"experiment": "reach-m2", "id": "mine"}).json()["backend"] == "ray"
        end = follow(http, "mine")[-1][2]
        assert (end["state"], end["model"]) == ("succeeded", "point")
        http.post(JOBS, json={"experiment": "unheard-of", "id": "typo"})
        assert follow(http, "typo")[-1][2]["error"] == "unknown experiment 'unheard-of'; known: reach-m2."
        cluster.lose_head()
        assert "secrets" in http.get(f"{JOBS}/mine/logs").json()["text"]  # the log was kept
    assert len(cluster.submitted) == 2


def test_a_job_outlives_the_head_of_the_cluster_and_the_server(settings: Settings, cluster: Cluster) -> None:
    with served(settings) as http:
        http.post(JOBS, json={"experiment": "reach-m2", "steps": 60, "id": "mine"})
        wait_for(lambda: http.get(f"{JOBS}/mine").json()["progress"])
    cluster.lose_head()
    with served(settings) as http:
        assert follow(http, "mine")[-1][2]["state"] == "succeeded"
        assert http.get(f"{JOBS}/mine").json()["attempt"] == 2
    (run,) = settings.data.glob("runs/*")
    first, second = map(int, (run / "resumed").read_text().split())
    assert first == 0 < second


def test_a_job_is_stopped_on_the_cluster(settings: Settings) -> None:
    with served(settings) as http:
        http.post(JOBS, json={"experiment": "reach-m2", "steps": 5000, "id": "mine"})
        wait_for(lambda: http.get(f"{JOBS}/mine").json()["progress"])
        http.delete(f"{JOBS}/mine")
        assert follow(http, "mine")[-1][2]["state"] == "stopped"


def test_a_cluster_that_wants_another_token_is_waited_for(settings: Settings, cluster: Cluster) -> None:
    cluster.token = "another"
    with served(settings) as http:
        http.post(JOBS, json={"experiment": "reach-m2", "id": "mine"})
        wait_for(lambda: http.app.state.container.training_jobs._unreachable)  # type: ignore[attr-defined]
        assert "WTL_RAY_TOKEN" in http.app.state.container.training_jobs._unreachable  # type: ignore[attr-defined]
        assert http.get(f"{JOBS}/mine").json()["state"] == "queued"
        cluster.token = TOKEN
        assert follow(http, "mine")[-1][2]["state"] == "succeeded"


def test_runs_that_the_server_cannot_see_are_said(settings: Settings, tmp_path: Path) -> None:
    elsewhere = settings.model_copy(update={"train_command": "/bin/true"})
    with served(elsewhere) as http:
        http.post(JOBS, json={"experiment": "reach-m2", "id": "mine"})
        assert "WTL_RUNS" in follow(http, "mine")[-1][2]["error"]
