"""Training jobs on a real Ray cluster with token authentication, over its Jobs REST API."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from pointing import PointingRuntime, settings_in
from test_training_jobs import JOBS, follow, wait_for

from service.app import create_app
from service.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
TOKEN = "0123456789abcdef" * 2
BIN = Path(sys.executable).parent


def free_ports(n: int) -> list[int]:
    probes = [socket.socket() for _ in range(n)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


class Cluster:
    """A head of its own: ports, temporary folder, token, and a process that ends with the test."""

    def __init__(self, folder: Path) -> None:
        gcs, dashboard, agent, metrics, client = free_ports(5)
        self.url = f"http://127.0.0.1:{dashboard}"
        command = [
            str(BIN / "ray"), "start", "--head", "--block", "--disable-usage-stats", "--num-cpus=2",
            "--node-ip-address=127.0.0.1", f"--port={gcs}", f"--temp-dir={folder}",
            "--object-store-memory=100000000", "--include-dashboard=true", "--dashboard-host=127.0.0.1",
            f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}",
            f"--metrics-export-port={metrics}", f"--ray-client-server-port={client}",
        ]  # fmt: skip
        environment = os.environ | {
            "RAY_AUTH_MODE": "token",
            "RAY_agent_register_timeout_ms": "300000",
            "RAY_AUTH_TOKEN": TOKEN,
            "PATH": f"{BIN}:{os.environ['PATH']}",
        }
        environment.pop("RAY_ADDRESS", None)
        with (folder / "ray.log").open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        self.log = folder / "ray.log"

    def answers(self) -> bool:
        """Whether its Jobs API can be asked."""
        assert self.process.poll() is None, self.log.read_text()
        time.sleep(0.5)
        try:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            return httpx.get(f"{self.url}/api/jobs/", headers=headers, timeout=10).is_success
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        """Its own processes alone: `ray stop` would end the clusters of others too."""
        self.process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=30)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="ray"))  # short: sockets have their paths in there
    started = Cluster(folder)
    try:
        wait_for(started.answers, 240)
        yield started
    finally:
        started.stop()
        shutil.rmtree(folder, ignore_errors=True)


def served(settings: Settings) -> TestClient:
    return TestClient(create_app(settings, runtime_factory=PointingRuntime))


def test_a_job_on_a_cluster_survives_the_server_and_ends_with_a_model(cluster: Cluster, tmp_path: Path) -> None:
    command = "wtl train --ray --workers 1 --no-baselines"
    settings = settings_in(tmp_path).model_copy(
        update={"ray_address": cluster.url, "ray_token": TOKEN, "train_command": command, "training_jobs": 2}
    )
    with served(settings) as http:
        body = {"experiment": "reach-m2", "steps": 20, "id": "mine", "name": "clustered"}
        assert http.post(JOBS, json=body).json()["backend"] == "ray"
        http.post(JOBS, json={"experiment": "reach-m3", "id": "typo"})
        end = follow(http, "typo")[-1][2]
        assert (end["state"], end["error"][:28]) == ("failed", "unknown experiment 'reach-m3")
        wait_for(lambda: http.get(f"{JOBS}/mine").json()["progress"], 120)
        assert "demonstrate" in http.get(f"{JOBS}/mine").json()["progress"]["phase"]
    with served(settings) as http:  # another server; the job went on meanwhile
        deadline = time.monotonic() + 600
        while http.get(f"{JOBS}/mine").json()["state"] == "running" and time.monotonic() < deadline:
            time.sleep(1)
        events = follow(http, "mine")
        end = events[-1][2]
        assert (end["state"], end["model"], end["model_version"]) == ("succeeded", "clustered", 1), end
        assert [number for number, _, _ in events] == list(range(1, len(events) + 1))
        assert {data["phase"] for _, kind, data in events if kind == "progress"} >= {"demonstrate", "train"}
        card = http.get("/v1/models/clustered").json()
        assert card["provenance"]["experiment"]["name"] == "reach-m2"
        assert "is trained" in http.get(f"{JOBS}/mine/logs").json()["text"]


def test_a_cluster_that_is_gone_or_wants_another_token_is_waited_for(cluster: Cluster, tmp_path: Path) -> None:
    settings = settings_in(tmp_path).model_copy(
        update={"ray_address": cluster.url, "ray_token": "wrong", "training_poll_s": 0.1}
    )
    with served(settings) as http:
        http.post(JOBS, json={"experiment": "reach-m2", "id": "mine"})
        time.sleep(2)
        assert http.get(f"{JOBS}/mine").json()["state"] == "queued"
        assert http.get("/readyz").is_success
        http.delete(f"{JOBS}/mine")
        assert follow(http, "mine")[-1][2]["state"] == "stopped"
