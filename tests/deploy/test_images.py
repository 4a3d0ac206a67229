"""The images, built and run as they are meant to run: `make images-test`. Sizes and times go to images.json."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import httpx
import images
import pytest

ROOT = Path(__file__).parents[2]

RESULTS = ROOT / "benchmarks" / "results" / "images.json"
STEPS = 20

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(
        not os.environ.get("WTL_IMAGES"), reason="`make images-test` builds images: minutes, root or docker, a registry"
    ),
]


@pytest.fixture(scope="module")
def engine() -> images.Engine:
    return images.find_engine()


@pytest.fixture(scope="module")
def record() -> Iterator[dict[str, object]]:
    """What is found out, written when everything passed."""
    found: dict[str, object] = {}
    yield found
    if {"serve", "train", "serve_ready_s", "trained"} <= found.keys():
        found["date"] = datetime.now(UTC).isoformat(timespec="seconds")
        RESULTS.write_text(json.dumps(found, indent=2) + "\n")
        sys.stdout.write(RESULTS.read_text())


@pytest.fixture(scope="module", autouse=True)
def built(engine: images.Engine, record: dict[str, object]) -> None:
    """Both images; WTL_IMAGES=built takes those of the last `make images`, with their recorded build times."""
    for image in images.IMAGES:
        one = engine.build(image, {}) if os.environ["WTL_IMAGES"] == "1" else images.last_build(image)
        record[image] = {"size_mb": round(one.size_mb), "build_s": round(one.build_s), "engine": one.engine}


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that belongs to uid 10001, as a fresh volume does."""
    folder = tmp_path_factory.mktemp("volume")
    for parent in folder.parents[:3]:
        parent.chmod(0o755)
    if os.getuid() == 0:
        os.chown(folder, 10001, 10001)
    return folder


def run_in(engine: images.Engine, image: str, volume: Path, command: Sequence[str]) -> str:
    with engine.runner(image, volume) as runner:
        done = subprocess.run([*runner, *command], capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("image", images.IMAGES)
def test_it_is_somebody_who_can_write_to_data_and_tmp_only(engine: images.Engine, volume: Path, image: str):
    script = """
    id -u
    grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status
    for place in / /etc /usr /opt/venv /opt/models /home /root /var /run; do
        touch $place/x 2>/dev/null && echo "wrote to $place"
    done
    touch /data/x /tmp/x && rm /data/x && echo "data and tmp"
    """
    said = run_in(engine, image, volume, ["bash", "-c", script]).split()
    assert said[0] == "10001"
    assert set(said[2:7:2]) == {"0000000000000000", "1"}
    assert " ".join(said[7:]) == "data and tmp"


def test_the_serve_image_has_nothing_heavy(engine: images.Engine, volume: Path, record: dict[str, object]):
    script = """
    for module in torch ray metaworld mujoco gym pyarrow scipy; do
        python3 -c "import $module" 2>/dev/null && echo "has $module"
    done
    for program in gcc cc make pip git; do command -v $program && echo "has $program"; done
    python3 -c "import json; sbom = json.load(open('/usr/share/doc/watch-try-learn/sbom.cdx.json')); \\
        print(len(sbom['components']))"
    """
    said = run_in(engine, "serve", volume, ["bash", "-c", script]).splitlines()
    assert not [line for line in said if line.startswith("has")]
    assert int(said[-1]) > 40
    assert record["serve"]["size_mb"] < 500  # type: ignore[index]


@contextlib.contextmanager
def served(engine: images.Engine, volume: Path, *arguments: str) -> Iterator[tuple[httpx.Client, float]]:
    """A client of the serve image on a free port, and how long it took to be ready. Killed at the end, not stopped."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    begun_s = time.monotonic()
    with engine.runner("serve", volume) as runner:
        command = [*runner, "wtl", "serve", "--host", "127.0.0.1", "--port", str(port), *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                while not _ready(client):
                    assert process.poll() is None, process.stdout.read().decode()  # type: ignore[union-attr]
                    assert time.monotonic() - begun_s < 120
                    time.sleep(0.1)
                yield client, time.monotonic() - begun_s
        finally:
            if process.poll() is None:
                engine.kill(process)
        assert not _ready(httpx.Client(base_url=f"http://127.0.0.1:{port}"))


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").is_success
    except httpx.TransportError:
        return False


def test_a_session_outlives_the_container(engine: images.Engine, volume: Path, record: dict[str, object]):
    with served(engine, volume) as (client, ready_s):
        example = client.get("/v1/models/reach").json()["example"]
        made = client.post("/v1/adaptations", json={"model": "reach", "demos": [example]})
        assert made.status_code == 201, made.text
        where = f"/v1/adaptations/{made.json()['id']}"
        assert client.post(f"{where}/trials", json={"trials": [example | {"success": False}]}).is_success
        body = {"observations": example["observations"][:3]}
        before = client.post(f"{where}/act", json=body).json()["actions"]
    with served(engine, volume) as (client, again_s):
        after = client.get(where).json()
        assert (after["n_demos"], after["n_trials"], after["version"]) == (1, 1, 2)
        again = client.post(f"{where}/act", json=body).json()["actions"]
    assert [pytest.approx(row, abs=1e-5) for row in before] == again
    record["serve_ready_s"] = {"first": round(ready_s, 1), "again": round(again_s, 1)}


def test_the_train_image_trains_under_its_own_ray_and_the_serve_image_serves_that(
    engine: images.Engine, volume: Path, record: dict[str, object]
):
    script = f"""
    set -e
    export RAY_AUTH_TOKEN=$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \\n')
    begin() {{ ray start --head --num-cpus=1 --port=0 --dashboard-host=127.0.0.1 --dashboard-port=0 \\
        --dashboard-agent-listen-port=0 --object-store-memory=200000000 >/tmp/start.log 2>&1; }}
    begin || {{ ray stop --force; begin; }} || {{ cat /tmp/start.log; exit 1; }}
    wtl train reach-m2 --ray --no-baselines --steps {STEPS} --out /data/runs/few
    ray stop >/dev/null
    ls /data/runs/few/bundle
    """
    begun_s = time.monotonic()
    run_in(engine, "train", volume, ["bash", "-c", script])
    trained_s = time.monotonic() - begun_s
    models = volume / "models"
    run_in(engine, "serve", volume, ["sh", "-c", "mkdir /data/models && cp -r /data/runs/few/bundle /data/models/few"])
    assert (models / "few" / "bundle.json").exists()
    with served(engine, volume, "--models", "/data/models") as (client, _):
        example = client.get("/v1/models/few").json()["example"]
        made = client.post("/v1/adaptations", json={"model": "few", "demos": [example]})
        assert made.status_code == 201, made.text
        body = {"observations": example["observations"][:1]}
        acted = client.post(f"/v1/adaptations/{made.json()['id']}/act", json=body)
        assert len(acted.json()["actions"]) == 1
    record["trained"] = {"experiment": "reach-m2", "steps": STEPS, "with_ray_start_s": round(trained_s)}
