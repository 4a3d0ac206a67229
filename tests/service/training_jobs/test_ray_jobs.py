"""Training jobs on a real Ray cluster that wants a token, through a real server that is killed on the way."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from support.ray_head import TOKEN, environment, free_port

from metalearn.tasks.registry import find_family
from metalearn.tasks.rollout import demonstrate
from service.client import Client, JobEvent

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class Server:
    """`wtl serve` for a cluster: started, killed, and started again on the same port and folder."""

    def __init__(self, folder: Path, address: str, home: Path) -> None:
        self._folder, self._address, self._home, self._port = folder, address, home, free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, token: str = TOKEN) -> None:
        ours = {"WTL_RAY_ADDRESS": self._address, "WTL_RAY_TOKEN": token, "WTL_RUNS": str(self._folder / "runs")}
        command = [sys.executable, "-m", "wtl.cli", "serve", "--port", str(self._port)]
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--data", str(self._folder / "data")],
                stdout=log,
                stderr=log,
                env=environment(self._home) | {"RAY_AUTH_TOKEN": ""} | ours,
            )
        wait_for(self._ready, 120)

    def end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(timeout=60)
        self._process = None

    @property
    def log(self) -> str:
        return (self._folder / "server.log").read_text()

    def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log
        try:
            return httpx.get(f"{self.url}/readyz").is_success
        except httpx.TransportError:
            return False


@pytest.fixture
def server(head: tuple[str, Path], tmp_path: Path) -> Iterator[Server]:
    wait_for(lambda: "Ray runtime started" in (head[1] / "log").read_text(), 90)  # the dashboard answers before that
    server = Server(tmp_path, *head)
    yield server
    server.end(signal.SIGKILL)


def wait_for(condition: Callable[[], object], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.2)


def test_a_job_on_a_cluster_with_tokens_becomes_a_model_across_restarts_of_the_server(server: Server) -> None:
    server.start(token="not-the-token-of-the-cluster-0123456789")
    with Client(server.url) as client:
        job = client.train("dark-room", steps=40, name="trained", job_id="mine")
        wait_for(lambda: "WTL_RAY_TOKEN" in server.log, 60)
        assert client.job("mine").state == "queued"
    server.end(signal.SIGTERM)

    server.start()
    seen: list[JobEvent] = []
    with Client(server.url) as client:
        for event in client.job("mine").follow():
            seen.append(event)
            if event.kind == "progress":
                break
    assert [event.data["state"] for event in seen[:-1]] == ["queued", "running"]
    server.end(signal.SIGKILL)

    server.start()
    with Client(server.url) as client:
        seen += client.job("mine").follow(after=seen[-1].number)
        assert [event.number for event in seen] == list(range(1, len(seen) + 1))
        assert (seen[-1].data["state"], seen[-1].data["model"]) == ("succeeded", "trained"), server.log
        assert any(event.data.get("done") == event.data.get("total") == 40 for event in seen)
        job = client.job("mine")
        assert (job.state, job.model, job.model_version) == ("succeeded", "trained", 1)
        assert client.request("GET", "/v1/training-jobs/mine")["attempt"] == 1
        assert "is trained" in job.log()
    server.end(signal.SIGTERM)

    server.start()
    with Client(server.url) as client:
        assert list(client.job("mine").follow()) == seen
        assert list(client.job("mine").follow(after=len(seen))) == []
        family = find_family("dark-room")
        demo = demonstrate(family, [family.splits["test"][0]], [0], "demo").episodes[0]
        assert len(client.adapt("trained", demos=[demo]).act(demo.observations[:2])) == 2
    assert TOKEN not in server.log
    assert "Traceback" not in server.log


def test_a_job_on_a_cluster_is_stopped_with_a_checkpoint(server: Server, tmp_path: Path) -> None:
    server.start()
    with Client(server.url) as client:
        job = client.train("dark-room", steps=100_000, job_id="long")
        for event in job.follow():
            if event.data.get("phase") == "train":
                assert job.stop().state in {"running", "stopped"}
        assert event.data["state"] == "stopped"
        (run,) = (tmp_path / "runs").iterdir()
        assert list(run.rglob("checkpoint.safetensors"))
        refused = httpx.post(f"{server.url}/v1/training-jobs", json={"experiment": "unheard-of", "id": "typo"})
        assert refused.status_code == 201
        assert "unheard-of" in list(client.job("typo").follow())[-1].data["error"]
