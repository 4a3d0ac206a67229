"""kill -9 of actors, worker nodes, drivers and heads at random instants of a training on a cluster of several nodes.

    python benchmarks/faults.py [--kills 20] [--seed 0] [--out benchmarks/results/faults.json]

The cluster is a head without CPUs and two worker nodes of one CPU each, as processes of this machine, with tokens on.
The training is reach-m2, smaller. After every kill the run must end with the weights of the run that nobody disturbed,
bit for bit, with as many episodes and the same digest over all of them in every round; where the process of the command
died, the same command is given again. One more run shares a small object store with twice as much as fits into it.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from metalearn.bundle import Bundle

STORE = 80_000_000
"""The smallest object store that Ray accepts, about."""
KINDS = ("actor", "node", "driver", "head")
ENVIRONMENT = {
    **os.environ,
    "RAY_AUTH_MODE": "token",
    "RAY_worker_niceness": "0",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "10",  # how long a driver hopes for a dead head
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
    "OMP_NUM_THREADS": "1",
}
CODE = """
import sys
from pathlib import Path
import numpy as np
import ray
from metalearn.cluster.workers import RayCollector, place
from metalearn.config import DataConfig, Experiment, TrainingConfig
from metalearn.training.loop import train
experiment = Experiment(
    name="faults", family="reach-m2", data=DataConfig(n_tasks={tasks}, chunk_tasks=64),
    training=TrainingConfig(warmup_steps=120, rounds=3, round_steps=60, check_steps=30, check_tasks=64, staleness=20),
)
out, address = Path(sys.argv[1]), sys.argv[2]
if address == "none":
    train(experiment, out)
else:
    with RayCollector(address, n_actors=2) as collector:
        ballast = [ray.put(np.random.default_rng(i).random(1_250_000)) for i in range(int(sys.argv[3]))]
        bundle = train(experiment, out, collector=collector, place=place())
        print("actors lost:", collector.counts["lost"])
"""


class Cluster:
    """A head and two worker nodes, started with `ray start --block` so that each is a group of processes to kill."""

    def __init__(self, folder: Path, store_bytes: int) -> None:
        self.folder, self.store_bytes = folder, store_bytes
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.nodes: dict[str, subprocess.Popen[bytes]] = {}
        head = [
            "--head",
            f"--port={self.port}",
            "--num-cpus=0",
            "--include-dashboard=false",
            "--node-ip-address=127.0.0.1",
        ]
        self._start("head", head)
        self.start_workers()

    def start_workers(self) -> None:
        for name in ("node-1", "node-2"):
            if name not in self.nodes or self.nodes[name].poll() is not None:
                self._start(name, [f"--address={self.address}", "--num-cpus=1"])

    def _start(self, name: str, arguments: list[str]) -> None:
        command = ["ray", "start", "--block", "--disable-usage-stats", f"--object-store-memory={self.store_bytes}"]
        log = (self.folder / f"{name}.log").open("ab")
        self.nodes[name] = subprocess.Popen(
            [*command, *arguments], env=ENVIRONMENT, stdout=log, stderr=log, start_new_session=True
        )
        if name == "head":
            wait_for(self.port)

    def processes(self, name: str) -> list[int]:
        """Of a node: `ray start` and all that it started."""
        return descendants(self.nodes[name].pid)

    def kill(self, name: str) -> None:
        for pid in self.processes(name):
            kill(pid)
        self.nodes[name].wait()

    def actors(self) -> list[int]:
        return [pid for name in self.nodes for pid in self.processes(name) if b"ray::_Worker" in command_line(pid)]

    def close(self) -> None:
        for name in self.nodes:
            if self.nodes[name].poll() is None:
                self.kill(name)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_for(port: int, timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise SystemExit(f"the head did not start within {timeout_s} s")


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def descendants(root: int) -> list[int]:
    """`root` and its children, theirs, and so on; empty if it is gone."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int(entry.joinpath("stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        parents.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += parents.get(pid, [])
    return found


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


class Run:
    """The command, started as often as it takes."""

    def __init__(self, folder: Path, tasks: int, ballast: int = 0) -> None:
        self.out, self.starts, self.process = folder / "run", 0, None
        self.ballast = ballast  # objects of 10 MB that are in the object store all the time
        self.script = folder / "train.py"
        self.script.write_text(CODE.format(tasks=tasks))
        self.log = (folder / "driver.log").open("ab")

    def start(self, address: str) -> None:
        self.starts += 1
        self.process = subprocess.Popen(
            [sys.executable, self.script, self.out, address, str(self.ballast)],
            env=ENVIRONMENT,
            stdout=self.log,
            stderr=self.log,
        )

    @property
    def over(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    @property
    def finished(self) -> bool:
        return (self.out / "bundle" / "bundle.json").exists()


def check(bundle: Bundle, expected: Bundle) -> dict[str, bool]:
    episodes = [[entry[key] for entry in bundle.provenance["collections"]] for key in ("episodes", "digest")]
    wanted = [[entry[key] for entry in expected.provenance["collections"]] for key in ("episodes", "digest")]
    return {
        "same_weights": bundle.id == expected.id,
        "same_episodes": episodes == wanted,
        "same_curve": bundle.provenance["history"] == expected.provenance["history"],
    }


def disturbed(
    folder: Path, run: Run, kinds: list[str], rng: random.Random, store_bytes: int, undisturbed_s: float
) -> dict[str, Any]:
    """One training with these kills, in this order, at random instants."""
    cluster, done = Cluster(folder, store_bytes), []
    began = time.monotonic()
    try:
        run.start(cluster.address)
        for kind in kinds:
            instant = time.monotonic() + rng.uniform(5, max(10, 0.7 * undisturbed_s))
            while time.monotonic() < instant and not run.finished:
                time.sleep(0.1)
                if run.over and not run.finished:
                    run.start(cluster.address)  # it sat on the machine that was killed
            if run.finished:
                break
            if strike(kind, cluster, run, rng):
                done.append(kind)
            cluster = mend(kind, cluster, run, folder, store_bytes)
        restart_until_done(cluster, run)
    finally:
        cluster.close()
        if run.process and not run.over:
            kill(run.process.pid)
    return {"kills": done, "starts": run.starts, "wall_s": round(time.monotonic() - began, 1)}


def strike(kind: str, cluster: Cluster, run: Run, rng: random.Random) -> bool:
    """Kill one of that kind; False if there was none to kill."""
    assert run.process is not None
    if kind == "driver":
        kill(run.process.pid)
        run.process.wait()
    elif kind == "head":
        cluster.kill("head")
    elif kind == "node":
        cluster.kill(rng.choice(["node-1", "node-2"]))
    else:
        actors = cluster.actors()
        if not actors:
            return False
        kill(rng.choice(actors))
    return True


def mend(kind: str, cluster: Cluster, run: Run, folder: Path, store_bytes: int) -> Cluster:
    """What an operator, or Kubernetes, does: a new node for a lost one, the same command for a lost driver."""
    if kind == "node":
        cluster.start_workers()
    if kind == "head":
        if run.process:
            try:
                run.process.wait(180)  # it sees by itself that the head is gone
            except subprocess.TimeoutExpired:
                kill(run.process.pid)
                run.process.wait()
        cluster.close()
        cluster = Cluster(folder, store_bytes)
    if kind in {"driver", "head"}:
        run.start(cluster.address)
    return cluster


def restart_until_done(cluster: Cluster, run: Run, most: int = 3) -> None:
    for _ in range(most):
        assert run.process is not None
        run.process.wait(900)
        if run.finished:
            return
        run.start(cluster.address)
    raise SystemExit(f"the run did not end: see {run.log.name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="at least so many, and three of each kind")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tasks", type=int, default=2048)
    parser.add_argument("--no-full-store", dest="full_store", action="store_false")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "faults.json")
    given = parser.parse_args()
    rng, kinds = random.Random(given.seed), given.kinds.split(",")
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    subprocess.run(["ray", "get-auth-token", "--generate"], env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL)
    quiet, plan = Run(folder, given.tasks), [kinds[i % len(kinds)] for i in range(given.kills)]
    began = time.monotonic()
    quiet.start("none")
    assert quiet.process is not None
    if quiet.process.wait(1800):
        raise SystemExit(f"the undisturbed run failed: see {quiet.log.name}")
    undisturbed_s = time.monotonic() - began
    expected, rows, counted = Bundle.load(quiet.out / "bundle"), [], Counter[str]()
    while plan:
        part, place = plan[: len(kinds)], folder / f"disturbed-{len(rows)}"
        place.mkdir()
        row = disturbed(place, Run(place, given.tasks), part, rng, 150_000_000, undisturbed_s)
        row |= check(Bundle.load(place / "run" / "bundle"), expected)
        print(f"{', '.join(row['kills']) or 'nothing':<32} {row}", flush=True)
        rows.append(row)
        counted.update(row["kills"])
        plan = plan[len(row["kills"]) :] if row["kills"] else plan
    if given.full_store:
        place = folder / "full-store"
        place.mkdir()
        row = {"store_bytes": STORE, "ballast_bytes": 2 * STORE}
        row |= disturbed(place, Run(place, given.tasks, 2 * STORE // 10_000_000), [], rng, STORE, undisturbed_s)
        row |= check(Bundle.load(place / "run" / "bundle"), expected)
        print(f"{'small object store':<32} {row}", flush=True)
        rows.append(row)
    report = {"schema": 1, "seed": given.seed, "tasks": given.tasks, "undisturbed_s": round(undisturbed_s, 1)}
    report |= {"kills": dict(counted), "total": counted.total(), "runs": rows}
    report |= {"all_same": all(row.get("same_weights", True) and row.get("same_episodes", True) for row in rows)}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(report, indent=1) + "\n")
    print(f"{counted.total()} kills: {dict(counted)}; all ended as if undisturbed: {report['all_same']}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
