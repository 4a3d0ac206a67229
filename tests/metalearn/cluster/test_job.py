"""From a fresh clone to a served model: a job on a cluster that wants tokens trains, evaluates, and leaves a bundle."""

import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from support.ray_head import environment, free_port

from metalearn.bundle import Bundle
from metalearn.tasks.registry import find_family
from metalearn.tasks.rollout import demonstrate
from service.client import Client

ROOT = Path(__file__).parents[3]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def job(head: tuple[str, Path], clone: Path, *arguments: str) -> str:
    """The log of `python -m wtl.cli ...` as a job on the cluster."""
    address, home = head
    command = ["ray", "job", "submit", "--address", address, "--working-dir", str(clone), "--"]
    command += ["python", "-m", "wtl.cli", *arguments]
    for _ in range(20):
        done = subprocess.run(command, capture_output=True, text=True, env=environment(home), timeout=900)
        if "No available agent" not in done.stderr:  # the head answers before it can take jobs
            break
        time.sleep(5)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no repository to clone")
def test_a_job_from_a_fresh_clone_leaves_a_bundle_that_is_served(head: tuple[str, Path], tmp_path: Path):
    clone, out = tmp_path / "clone", tmp_path / "run"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    arguments = ("reach-m2", "--steps", "40", "--no-baselines", "--ray", "--actors", "1", "--out", str(out))
    job(head, clone, "train", *arguments)
    job(head, clone, "evaluate", str(out), "--episodes", "20", "--save")
    bundle = Bundle.load(out / "bundle")
    assert bundle.report is not None
    assert bundle.provenance["cluster"]["job"].startswith("raysubmit_")
    assert bundle.provenance["cluster"]["cpus"] == 2

    port = free_port()
    command = [sys.executable, "-m", "wtl.cli", "serve", "--port", str(port), "--models", str(out / "bundle")]
    with subprocess.Popen([*command, "--data", str(tmp_path / "data")], cwd=clone) as server:
        try:
            wait_for(f"http://127.0.0.1:{port}/readyz")
            family = find_family("reach-m2")
            demo = demonstrate(family, [2_000_017], [0], "demo").episodes[0]
            (served,) = httpx.get(f"http://127.0.0.1:{port}/v1/models").json()["items"]
            adaptation = Client(f"http://127.0.0.1:{port}").adapt(served["name"], demos=[demo])
            assert adaptation.act(demo.observations[:1]).shape == (1, 2)
        finally:
            server.terminate()


def wait_for(url: str, timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.HTTPError:
            assert time.monotonic() < deadline, f"nobody answers at {url}"
        time.sleep(0.5)
