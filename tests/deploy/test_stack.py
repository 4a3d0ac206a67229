"""The services of compose.yaml, as processes on loopback: an adaptation from end to end, and a training job."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import composition
import httpx
import pytest
import stack as stacks
import yaml

ROOT = Path(__file__).parents[2]

COMPOSE = yaml.safe_load(composition.COMPOSE.read_text())


def test_the_compose_file_fits_its_schema():
    assert compose_errors(composition.COMPOSE) == ""


def test_a_wrong_compose_file_does_not_fit(tmp_path: Path):
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(composition.COMPOSE.read_text().replace("healthcheck:", "healthchek:"))
    assert "healthchek" in compose_errors(wrong)


def compose_errors(path: Path) -> str:
    program = [Path(sys.executable).parent / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", path]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr if done.returncode else ""


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_a_service_is_hardened(name: str):
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    tag = service["image"].rpartition(":")[2]
    assert tag[-1].isalnum()
    assert tag != "latest"
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert not any("PASSWORD" in key and "FILE" not in key for key in service.get("environment", {}))


def test_secrets_are_made_once(tmp_path: Path):
    stacks.make_secrets(tmp_path / "secrets")
    first = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert set(first) == set(COMPOSE["secrets"])
    assert first["postgres_password"] in first["wtl_database"]
    stacks.make_secrets(tmp_path / "secrets")
    assert {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()} == first
    stacks.make_secrets(tmp_path / "others")
    assert (tmp_path / "others" / "wtl_ray_token").read_text() != first["wtl_ray_token"]


def test_commands_and_variables_are_those_of_the_containers_with_folders_of_this_machine(tmp_path: Path):
    ports = {name: 1000 + n for n, name in enumerate(composition.PORTS)}
    here = composition.Composition(tmp_path / "state", tmp_path, ports)
    environment = here.environment("serve")
    assert environment.keys() == COMPOSE["services"]["serve"]["environment"].keys()
    assert environment["WTL_EPISODES"] == str(tmp_path / "state/volumes/blobs/episodes")
    assert environment["WTL_RUNS"] == str(tmp_path / "state/volumes/runs")
    assert environment["WTL_SECRETS_DIR"] == str(tmp_path / "state/secrets")
    assert environment["WTL_RAY_ADDRESS"] == f"http://127.0.0.1:{ports['RAY_DASHBOARD_PORT']}"
    head = here.command("ray-head")
    assert head[1:4] == ["start", "--head", "--block"]
    assert f"--port={ports['RAY_PORT']}" in head
    named = [name for name in COMPOSE["services"] if name not in stacks.NOT_HERE]
    words = [word for name in named for word in here.command(name)]
    assert not any("${" in word for word in words)


@pytest.fixture(scope="module")
def stack() -> Iterator[stacks.Stack]:
    kept = os.environ.pop("RAY_AUTH_MODE", None)  # the tests' own Ray has no tokens
    try:
        with stacks.running() as running:
            yield running
    except stacks.StackError as error:
        if "PostgreSQL" in str(error) and "install it" in str(error):
            pytest.skip(str(error))
        raise
    finally:
        if kept is not None:
            os.environ["RAY_AUTH_MODE"] = kept


@pytest.fixture(scope="module")
def client(stack: stacks.Stack) -> Iterator[httpx.Client]:
    key = stack.wtl("keys", "create", "--scopes", "adapt,models:read,models:write,jobs")
    with httpx.Client(base_url=stack.url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
        yield client


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_adaptation_from_end_to_end(stack: stacks.Stack, client: httpx.Client):
    assert httpx.get(f"{stack.url}/v1/models").status_code == 401
    example = client.get("/v1/models/reach").json()["example"]
    adaptation = client.post("/v1/adaptations", json={"model": "reach", "demos": [example]})
    assert adaptation.status_code == 201, adaptation.text
    where = f"/v1/adaptations/{adaptation.json()['id']}"
    learnt = client.post(f"{where}/trials", json={"trials": [example | {"success": False}]})
    assert (learnt.json()["version"], learnt.json()["n_trials"]) == (2, 1)
    acted = client.post(f"{where}/act", json={"observations": example["observations"][:2]})
    assert len(acted.json()["actions"]) == 2


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_training_job_from_the_service_runs_on_the_cluster(stack: stacks.Stack, client: httpx.Client):
    wanted = {"id": "first", "experiment": "reach-m2", "steps": 20}
    answer = client.post("/v1/training-jobs", json=wanted)
    assert answer.status_code == 201, answer.text
    job, deadline_s = answer.json(), time.monotonic() + 840
    while job["state"] not in ("succeeded", "failed", "stopped"):
        assert time.monotonic() < deadline_s, json.dumps(job)
        time.sleep(2)
        job = client.get("/v1/training-jobs/first").json()
    assert job["state"] == "succeeded", client.get("/v1/training-jobs/first/logs").text[-3000:]
    name = job["model"]
    example = client.get(f"/v1/models/{name}").json()["example"]
    assert client.post("/v1/adaptations", json={"model": name, "demos": [example]}).status_code == 201


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_prometheus_sees_the_service_and_both_nodes(stack: stacks.Stack):
    if "prometheus" not in stack.started:
        pytest.skip("prometheus is not installed")
    address, deadline_s = f"http://127.0.0.1:{stack.ports['PROMETHEUS_PORT']}/api/v1/targets", time.monotonic() + 60
    while True:
        targets = httpx.get(address).json()["data"]["activeTargets"]
        health = sorted((target["labels"]["job"], target["health"]) for target in targets)
        if health == [("ray", "up"), ("ray", "up"), ("wtl", "up")]:
            return
        assert time.monotonic() < deadline_s, targets
        time.sleep(1)
