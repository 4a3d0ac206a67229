"""Training jobs over REST, as processes of this machine: taken, followed, stopped, survived, registered."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import support
from fastapi import FastAPI
from fastapi.testclient import TestClient
from support.pointing import PointingRuntime, settings_in
from support.training_jobs import JOBS, TRAIN, follow, wait_for

from service.app import create_app
from service.client import Client
from service.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    quick = {"train_command": TRAIN, "training_poll_s": 0.05}
    return settings_in(tmp_path).model_copy(update=quick)


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    return create_app(settings, runtime_factory=PointingRuntime)


def test_a_job_is_followed_to_a_model_that_acts(http: TestClient, client: Client) -> None:
    answer = http.post(JOBS, json={"experiment": "reach-m2", "seed": 2, "steps": 20, "name": "trained", "id": "mine"})
    assert (answer.status_code, answer.headers["location"]) == (201, f"{JOBS}/mine")
    assert answer.json()["state"] == "queued"
    events = follow(http, "mine")
    assert [number for number, _, _ in events] == list(range(1, len(events) + 1))
    states = [data for _, kind, data in events if kind == "state"]
    assert [data["state"] for data in states] == ["queued", "running", "succeeded"]
    assert (states[-1]["model"], states[-1]["model_version"]) == ("trained", 1)
    progress = [data for _, kind, data in events if kind == "progress"]
    assert progress[-1] | {"at": ""} == {
        "at": "", "phase": "train", "done": 20, "total": 20, "loss": 0.5, "trial": 0.5, "retrial": 1.0,
        "success": [0.5, 1.0],
    }  # fmt: skip
    assert progress[0]["ends_in_s"] > 0
    job = http.get(f"{JOBS}/mine").json()
    assert (job["state"], job["model"], job["progress"]["success"]) == ("succeeded", "trained", [0.5, 1.0])
    assert client.model("trained").version == 1
    assert client.adapt("trained").act([[0.1, 0, 0]])[0, 0] == pytest.approx(-0.3)
    assert 'wtl_training_jobs{state="succeeded"} 1.0' in http.get("/metrics").text
    assert "secrets: []" in http.get(f"{JOBS}/mine/logs").json()["text"]


def test_events_are_replayed_from_where_a_client_was(http: TestClient) -> None:
    http.post(JOBS, json={"experiment": "reach-m2", "id": "mine"})
    everything = follow(http, "mine")
    assert follow(http, "mine") == everything
    assert follow(http, "mine", last=3) == everything[3:]
    assert http.get(f"{JOBS}/mine/events", headers={"Last-Event-ID": str(len(everything))}).status_code == 204
    assert http.get(f"{JOBS}/mine/events", headers={"Last-Event-ID": "x"}).status_code == 400
    assert http.get(f"{JOBS}/other/events").status_code == 404


def test_the_same_request_is_the_same_job(http: TestClient) -> None:
    body = {"experiment": "reach-m2", "steps": 1000, "id": "mine"}
    assert http.post(JOBS, json=body).json()["id"] == http.post(JOBS, json=body).json()["id"] == "mine"
    other = http.post(JOBS, json=body | {"seed": 5})
    assert (other.status_code, other.json()["type"]) == (409, "urn:problem-type:wtl:job-conflict")
    key = {"Idempotency-Key": "k1"}
    ids = {http.post(JOBS, json={"experiment": "reach-m2"}, headers=key).json()["id"] for _ in range(2)}
    assert len(ids) == 1
    reused = http.post(JOBS, json={"experiment": "reach-m4"}, headers=key)
    assert (reused.status_code, reused.json()["type"]) == (422, "urn:problem-type:wtl:idempotency-key-reused")
    first = http.get(JOBS, params={"limit": 1}).json()
    second = http.get(JOBS, params={"limit": 1, "cursor": first["next_cursor"]}).json()
    assert [first["items"][0]["id"], second["items"][0]["id"], second["next_cursor"]] == ["mine", *ids, None]
    for job in ("mine", *ids):  # all of them before the first one makes way
        http.delete(f"{JOBS}/{job}")
    for job in ("mine", *ids):
        assert follow(http, job)[-1][2]["state"] == "stopped"


def test_one_runs_the_others_wait_and_a_stop_keeps_a_checkpoint(http: TestClient, settings: Settings) -> None:
    for name in ("first", "second"):
        http.post(JOBS, json={"experiment": "reach-m2", "steps": 5000, "id": name})
    wait_for(lambda: http.get(f"{JOBS}/first").json()["progress"])
    assert http.get(f"{JOBS}/second").json()["state"] == "queued"
    http.delete(f"{JOBS}/second")
    assert http.delete(f"{JOBS}/first").json()["stop_requested"]
    assert follow(http, "first")[-1][2]["state"] == "stopped"
    assert follow(http, "second")[-1][2]["state"] == "stopped"
    assert http.delete(f"{JOBS}/first").json()["state"] == "stopped"
    assert len(list(settings.data.glob("runs/*/checkpoint"))) == 1


@pytest.mark.parametrize(
    ("experiment", "error"),
    [
        ("unheard-of", "unknown experiment 'unheard-of'; known: reach-m2."),
        ("broken", "ValueError: this cannot be learnt"),
        ("doomed", "the training was killed 3 times"),
    ],
)
def test_a_failed_job_says_why_in_a_sentence(http: TestClient, experiment: str, error: str) -> None:
    http.post(JOBS, json={"experiment": experiment, "id": "mine"})
    end = follow(http, "mine")[-1][2]
    assert (end["state"], end["error"].partition(";")[0]) == ("failed", error.partition(";")[0])
    assert "Traceback" not in http.get(f"{JOBS}/mine").text


def test_a_run_that_was_killed_goes_on_from_its_checkpoint(http: TestClient, settings: Settings) -> None:
    http.post(JOBS, json={"experiment": "fragile", "steps": 12, "id": "mine"})
    events = follow(http, "mine")
    assert events[-1][2]["state"] == "succeeded"
    (run,) = settings.data.glob("runs/*")
    assert (run / "resumed").read_text() == "0\n5\n"
    assert http.get(f"{JOBS}/mine").json()["attempt"] == 2


def test_what_cannot_be_run_is_said(settings: Settings) -> None:
    nothing = settings.model_copy(update={"training_jobs": 0})
    with TestClient(create_app(nothing, runtime_factory=PointingRuntime)) as http:
        answer = http.post(JOBS, json={"experiment": "reach-m2"})
        assert (answer.status_code, answer.json()["type"]) == (409, "urn:problem-type:wtl:no-training")
    absent = settings.model_copy(update={"train_command": "/nowhere/wtl train", "training_queue": 1})
    with TestClient(create_app(absent, runtime_factory=PointingRuntime)) as http:
        http.post(JOBS, json={"experiment": "reach-m2", "id": "mine"})
        assert "/nowhere/wtl" in follow(http, "mine")[-1][2]["error"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"experiment": "--help"},
        {"experiment": "../x"},
        {"experiment": "a", "seed": -1},
        {"experiment": "a", "steps": 9},
        {"experiment": "a", "steps": True},
        {"experiment": "a", "name": "a/b"},
        {"experiment": "a", "id": ""},
        {"experiment": "a", "command": "rm"},
    ],
)
def test_nonsense_is_refused(http: TestClient, body: dict[str, object]) -> None:
    assert http.post(JOBS, json=body).status_code == 422
    assert http.get(JOBS).json()["items"] == []


SERVER = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from support.pointing import PointingRuntime, settings_in
from service.server import serve

changes = {"port": int(sys.argv[3]), "train_command": sys.argv[4], "training_poll_s": 0.05}
serve(settings_in(Path(sys.argv[2])).model_copy(update=changes), runtime_factory=PointingRuntime)
"""


class Server:
    """A server in a process that a test kills."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-c", SERVER, str(Path(support.__file__).parents[1]), str(folder), str(port), TRAIN]
        with (folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, stdout=log, env=os.environ | {"WTL_RAY_TOKEN": "t"})
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
        wait_for(self.ready, 60)

    def ready(self) -> bool:
        assert self.process.poll() is None
        try:
            return self.http.get("/readyz").is_success
        except httpx.TransportError:
            return False


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for process in (tmp_path / "data" / "runs").glob("*/process"):
        pid = int(process.read_text().split()[0])
        if Path(f"/proc/{pid}/cmdline").exists() and b"trainer.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_training_outlives_the_server_that_started_it(folder: Path) -> None:
    server = Server(folder)
    server.http.post(JOBS, json={"experiment": "reach-m2", "steps": 200, "id": "mine"})
    wait_for(lambda: server.http.get(f"{JOBS}/mine").json()["progress"])
    server.process.kill()
    server.process.wait()
    (run,) = (folder / "data" / "runs").glob("*")
    before = int((run / "checkpoint").read_text())
    wait_for(lambda: int((run / "checkpoint").read_text()) > before + 5)

    server = Server(folder)
    try:
        events = follow(server.http, "mine")
        assert [number for number, _, _ in events] == list(range(1, len(events) + 1))
        assert events[-1][2]["state"] == "succeeded"
        assert (run / "resumed").read_text() == "0\n"  # one process did it all
        assert server.http.get("/v1/models/point").is_success
        follow_from_the_command_line(str(server.http.base_url))
        # A stream that is open ends with the server, and the server does not wait for the job.
        server.http.post(JOBS, json={"experiment": "reach-m2", "steps": 5000, "id": "long"})
        with server.http.stream("GET", f"{JOBS}/long/events") as stream:
            lines = stream.iter_lines()
            while "running" not in next(lines):
                pass
            server.process.send_signal(signal.SIGTERM)
            assert sum(1 for _ in lines) > 0
        assert server.process.wait(timeout=20) == 0
    finally:
        server.process.kill()
        server.process.wait()


def follow_from_the_command_line(url: str) -> None:
    def wtl(*arguments: str) -> tuple[int, str]:
        environment = os.environ | {"WTL_URL": url}
        command = [sys.executable, "-m", "wtl.cli", "jobs", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout + done.stderr

    code, text = wtl("create", "reach-m2", "--steps", "20", "--id", "typed", "--name", "typed", "--follow")
    assert code == 0
    assert "succeeded: typed@1" in text
    assert "train        20/20  success 50 / 100% after 0-1 trials" in text
    code, text = wtl("create", "broken", "--id", "bad", "--follow")
    assert (code, "failed: ValueError: this cannot be learnt" in text) == (1, True)
    assert "typed@1" in wtl("list")[1]
    assert json.loads(wtl("show", "typed")[1])["state"] == "succeeded"
    assert "secrets" in wtl("logs", "typed")[1]
    assert wtl("stop", "typed") == (0, "typed: succeeded\n")
    code, text = wtl("show", "unheard-of")
    assert (code, "no training job 'unheard-of'" in text, text.count("\n")) == (2, True, 1)
    code, text = wtl("follow", "unheard-of")
    assert (code, "no training job 'unheard-of'" in text, text.count("\n")) == (2, True, 1)
