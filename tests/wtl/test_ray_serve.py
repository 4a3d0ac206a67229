"""Ray Serve's variant of the service: several replicas, one database, the same answers."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import yaml

from metalearn.bundle import Bundle
from metalearn.data.spec import Spec
from service.client import Client, ClientError
from service.settings import SHIPPED_MODELS

START_S = 240
CONFIG = Path("wtl/ray_serve.yaml")


def test_the_config_file_builds_the_application_and_names_its_deployment():
    from ray.serve.schema import ServeDeploySchema

    from wtl.ray_serve import Replica, application

    (wanted,) = ServeDeploySchema.model_validate(yaml.safe_load(CONFIG.read_text())).applications
    assert wanted.import_path == f"{application.__module__}:{application.__name__}"
    assert [deployment.name for deployment in wanted.deployments] == [Replica.name]
    assert application(wanted.args) is not None


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """Where two replicas are served, and by which process."""
    data, port = tmp_path_factory.mktemp("served"), free_port()
    command = [
        *(sys.executable, "-m", "wtl.cli", "serve", "--ray-serve", "--replicas", "2"),
        *("--port", str(port), "--data", str(data / "data")),
    ]
    log = (data / "log").open("w")
    environment = {**os.environ, "RAY_ADDRESS": os.environ.get("RAY_ADDRESS", "local")}
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + START_S
    try:
        while not ready(url):
            assert process.poll() is None, (data / "log").read_text()[-3000:]
            assert time.monotonic() < deadline, (data / "log").read_text()[-3000:]
            time.sleep(1)
        yield url, process.pid
        process.send_signal(signal.SIGTERM)
        assert process.wait(90) == 0, (data / "log").read_text()[-3000:]
        assert not ready(url)
    finally:
        process.kill()


@pytest.fixture(scope="module")
def url(served: tuple[str, int]) -> str:
    return served[0]


def replicas(server: int) -> set[int]:
    """Processes below `server` that are replicas."""
    parents, found = {}, set[int]()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if b"ServeReplica" in (folder / "cmdline").read_bytes():
                found.add(int(folder.name))
    return {pid for pid in found if server in ancestors(pid, parents)}


def ancestors(pid: int, parents: dict[int, int]) -> Iterator[int]:
    while pid in parents:
        pid = parents[pid]
        yield pid


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def spec() -> Spec:
    return Bundle.load(SHIPPED_MODELS / "reach").spec


pytestmark = pytest.mark.timeout(START_S + 120)


@pytest.mark.slow
def test_any_replica_answers_any_request_of_an_adaptation(url, spec):
    rng = np.random.default_rng(0)
    with Client(url) as client:
        adaptation = client.adapt("reach", [spec.example_episode(rng)])
        seen = rng.uniform(-1, 1, (3, spec.observation_size)).astype(np.float32)
        expected = adaptation.act(seen)
        assert expected.shape == (3, spec.action_size)
    # Without the hint requests go anywhere; both replicas must say the same.
    body = {"observations": seen.tolist()}
    answers = [httpx.post(f"{url}/v1/adaptations/{adaptation.id}/act", json=body, timeout=30) for _ in range(12)]
    assert [answer.status_code for answer in answers] == [200] * 12
    for answer in answers:
        np.testing.assert_allclose(answer.json()["actions"], expected, atol=1e-6)


@pytest.mark.slow
def test_a_killed_replica_fails_no_request_and_is_replaced(served, spec):
    url, server = served
    victims, failed, over = replicas(server), list[BaseException](), threading.Event()
    assert len(victims) == 2

    def ask(number: int) -> None:
        rng = np.random.default_rng(number)
        with Client(url) as client:
            adaptation, seen = (
                client.adapt("reach", [spec.example_episode(rng)]),
                rng.uniform(-1, 1, (2, spec.observation_size)),
            )
            expected = adaptation.act(seen)
            while not over.is_set():
                np.testing.assert_allclose(adaptation.act(seen), expected, atol=1e-6)

    def asking(number: int) -> None:
        try:
            ask(number)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=asking, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        for victim in victims:
            time.sleep(2)
            os.kill(victim, signal.SIGKILL)
            deadline = time.monotonic() + 60
            while len(replicas(server) - victims) == 0 or len(replicas(server)) < 2:
                assert time.monotonic() < deadline, "not replaced"
                time.sleep(0.5)
            time.sleep(3)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert not failed
    assert not replicas(server) & victims


@pytest.mark.slow
def test_an_episode_is_recorded_whichever_replica_acts_and_becomes_a_trial(url, spec):
    rng = np.random.default_rng(1)
    with Client(url) as client:
        adaptation = client.adapt("reach", [spec.example_episode(rng)])
    started = httpx.post(f"{url}/v1/adaptations/{adaptation.id}/episodes", json={}, timeout=30).json()
    path = f"{url}/v1/adaptations/{adaptation.id}/episodes/{started['id']}"
    observations = rng.uniform(-1, 1, (6, spec.observation_size)).tolist()
    steps = [httpx.post(f"{path}/act", json={"observation": seen}, timeout=30).json()["step"] for seen in observations]
    assert steps == list(range(steps[0], steps[0] + 6))
    finished = httpx.post(f"{path}/finish", json={"observation": observations[0], "success": False}, timeout=30).json()
    assert finished["n_trials"] == 1
    assert finished["version"] == adaptation.version + 1


@pytest.mark.slow
def test_what_is_wrong_is_said_as_the_service_says_it(url, spec):
    with Client(url) as client, pytest.raises(ClientError) as caught:
        client.adapt("nobody", [spec.example_episode(np.random.default_rng(0))])
    assert caught.value.status == 422
    answer = httpx.post(f"{url}/v1/adaptations", json={"model": "reach", "demos": 3}, timeout=30)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert httpx.get(f"{url}/nothing/here", timeout=30).status_code == 404
