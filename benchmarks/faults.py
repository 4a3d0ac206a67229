"""kill -9 of actors, learners, worker nodes, drivers and heads at random instants of trainings on a cluster of nodes.

    python benchmarks/faults.py                  # 26 kills and a full object store, about 25 minutes on 2 cores
    python benchmarks/faults.py --minutes 9      # as much as fits; the same command goes on where this one ended
    python benchmarks/faults.py --kinds head --kills 1

The cluster is a head, where the command runs, and two worker nodes, all processes of this machine, with tokens on. Some
kills wait for a moment: chunks in flight, or a checkpoint half written. However often it is killed, each run must end
with the weights of the run that nobody disturbed, bit for bit, with as many episodes in every round, the same digest
over all of them, and the same curve. In one more run every node's object store is filled twice over.
"""

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.faulting.nodes import ENVIRONMENT, WORKERS, Cluster, kill  # noqa: E402
from metalearn.bundle import Bundle  # noqa: E402

STORE = 80_000_000
"""The smallest object store that Ray accepts, about."""
ROOMY = 200_000_000
WANTED = {"actor": 6, "node": 5, "driver": 6, "head": 5, "learner": 4}
PER_RUN = 5
AIMS = {
    "actor": ["collecting"],
    "node": ["collecting"],
    "driver": ["checkpoint", "collecting", "checkpoint"],
    "head": ["collecting"],
}
"""What the first kills of a kind wait for; the others strike anywhere."""
ALONE = "alone; another when the command has left"
HEADS = (ALONE, "with the machine of the command; another at once")
TRAINING_S, LEAVING_S = 600, 90


@dataclass
class Kill:
    """One kill: what the run was about, and for a driver that had to leave, when it left and with what words."""

    kind: str
    aim: str = ""
    stage: dict[str, Any] = field(default_factory=dict)
    at_s: float = 0
    way: str = ""
    driver_left_s: float | None = None
    driver_exit: int | None = None
    driver_said: str = ""
    going_on_s: float | None = None


class Run:
    """The command, started as often as it takes."""

    def __init__(self, folder: Path, arguments: list[str]) -> None:
        self.out, self.arguments, self.starts = folder / "run", arguments, 0
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "driver.log"

    def start(self, address: str) -> None:
        self.starts += 1
        command = [sys.executable, "-m", "benchmarks.faulting.training", str(self.out), address, *self.arguments]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=ENVIRONMENT, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def over(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    @property
    def finished(self) -> bool:
        return self.over and (self.out / "bundle" / "bundle.json").exists()

    @property
    def stage(self) -> dict[str, Any]:
        """What the running process is about."""
        path = self.out.with_suffix(".stage")
        found: dict[str, Any] = json.loads(path.read_text() or "{}") if path.exists() else {}
        mine = self.process is not None and found.pop("pid", None) == self.process.pid
        return found if mine else {"phase": "starting"}

    @property
    def going_on(self) -> bool:
        return self.stage["phase"] not in {"starting", "joining"}

    def said(self, since: int = 0) -> str:
        """The last thing that it said, after so many bytes of its log."""
        lines = self.log.read_bytes()[since:].decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def kill(self) -> None:
        if self.process is not None and not self.over:
            kill(self.process.pid)
            self.process.wait()


class Disturbed:
    """One training and its kills, in this order."""

    def __init__(
        self, folder: Path, arguments: list[str], plan: list[Kill], n_heads: int, rng: random.Random, gap_s: float
    ) -> None:
        folder.mkdir()
        self.run, self.plan, self.rng, self.gap_s = Run(folder, arguments), plan, rng, gap_s
        self.done, self.n_heads = list[Kill](), n_heads
        self.left: list[str] = []
        self.lost = 0
        self.began = time.monotonic()

    def __call__(self, store_bytes: int) -> dict[str, Any]:
        self.cluster = Cluster(self.run.out.parent, store_bytes)
        try:
            self.run.start(self.cluster.address)
            for kill in self.plan:
                if not self.strike(kill):
                    break
            self.wait(lambda: False)
        finally:
            self.run.kill()
            self.cluster.close()
        return {
            "kills": [{k: v for k, v in asdict(kill).items() if v not in ("", None)} for kill in self.done],
            "starts": self.run.starts,
            "left_by_itself": self.left,
            "node_starts_refused_by_ray": self.cluster.refused,
            "wall_s": round(time.monotonic() - self.began, 1),
        }

    def wait(self, until: Callable[[], bool]) -> bool:
        """Look after the cluster and the command until then; False if the training came to its end before."""
        while not until():
            if self.run.finished:
                return False
            if self.run.over:
                self.left.append(self.run.said())
                if len(self.left) > PER_RUN:
                    raise SystemExit(f"the run does not come to its end: {self.left}")
                self.start_again()
            if time.monotonic() - self.began > TRAINING_S:
                raise SystemExit(f"the run has not come to its end within {TRAINING_S} s: see {self.run.log}")
            self.cluster.tend()
            time.sleep(0.02)
        return True

    def start_again(self) -> None:
        for name in ("head", *WORKERS):
            self.cluster.wait_for(name)
        self.run.start(self.cluster.address)

    def strike(self, kill: Kill) -> bool:
        """Let it happen; False if the training was at its end before."""
        if not self.wait(lambda: self.run.going_on):
            return False
        instant = time.monotonic() + self.rng.uniform(0.5, self.gap_s)
        if not self.wait(lambda: time.monotonic() > instant) or not self.wait(lambda: self.ripe(kill)):
            return False
        kill.stage, kill.at_s = self.run.stage, round(time.monotonic() - self.began, 1)
        struck = time.monotonic()
        getattr(self, f"kill_{kill.kind}")(kill)
        self.done.append(kill)
        if kill.kind in {"driver", "head"} and not self.run.finished:
            self.start_again()
            self.wait(lambda: self.run.going_on)
            kill.going_on_s = round(time.monotonic() - struck, 1)
        return True

    def ripe(self, kill: Kill) -> bool:
        """Whether the moment that it waits for is there, and somebody to kill."""
        stage = self.run.stage
        if kill.aim == "collecting" and not stage.get("in_flight"):
            return False
        if kill.aim == "checkpoint" and stage["phase"] != "checkpoint":
            return False
        return bool(self.victims(kill.kind))

    def victims(self, kind: str) -> list[Any]:
        if kind == "actor":
            return self.cluster.titled(b"ray::_Worker")
        if kind == "learner":
            return self.cluster.titled(b"ray::RayTrainWorker")
        if kind == "node":
            return [name for name in WORKERS if self.cluster.nodes[name].up]
        return [kind]

    def kill_actor(self, one: Kill) -> None:
        kill(self.rng.choice(self.victims(one.kind)))

    kill_learner = kill_actor

    def kill_node(self, one: Kill) -> None:
        self.cluster.kill(self.rng.choice(self.victims(one.kind)))

    def kill_driver(self, one: Kill) -> None:
        self.run.kill()

    def kill_head(self, one: Kill) -> None:
        """By turns the head alone, as a command on another machine sees it, and its machine with all that is on it.

        Another head comes, at the same address, when the command has given up, or at once. Ray starts none on a
        machine where nodes of the old one run. So these go too, when the new one comes.
        """
        one.way = HEADS[self.n_heads % 2]
        self.n_heads += 1
        struck, heard = time.monotonic(), self.run.log.stat().st_size
        if one.way == ALONE:
            self.cluster.behead()
        else:
            self.cluster.kill("head")
            self.kill_nodes()
        while not self.run.over and time.monotonic() - struck < LEAVING_S:
            if one.way != ALONE:
                self.cluster.tend()
            time.sleep(0.1)
        if self.run.over:
            assert self.run.process is not None
            one.driver_left_s, one.driver_exit = round(time.monotonic() - struck, 1), self.run.process.returncode
            one.driver_said = self.run.said(heard).replace(self.cluster.address, "HEAD")
        self.run.kill()
        if one.way == ALONE:
            self.cluster.kill("head")
            self.kill_nodes()

    def kill_nodes(self) -> None:
        for name in WORKERS:
            self.cluster.kill(name)


def outcome(bundle: Bundle) -> dict[str, Any]:
    """What has to be the same, however often the run was killed."""
    rounds = [[entry[key] for key in ("episodes", "digest")] for entry in bundle.provenance["collections"]]
    return {"weights": bundle.id, "rounds": rounds, "curve": bundle.provenance["history"]}


def check(got: dict[str, Any], expected: dict[str, Any]) -> dict[str, bool]:
    return {f"same_{key}": got[key] == expected[key] for key in expected}


def undisturbed(folder: Path, arguments: list[str]) -> dict[str, Any]:
    run, began = Run(folder, arguments), time.monotonic()
    run.start("none")
    assert run.process is not None
    if run.process.wait(TRAINING_S):
        raise SystemExit(f"the undisturbed run failed: {run.said()}")
    return {"wall_s": round(time.monotonic() - began, 1), **outcome(Bundle.load(run.out / "bundle"))}


def plan_of(left: Counter[str], done: Counter[str], rng: random.Random) -> list[Kill]:
    """Kills for one training, of the kinds that are still wanted; learners have trainings of their own."""
    with_learner = left["learner"] > 0 and sum(left.values()) - left["learner"] <= 2
    pool = [kind for kind, n in left.items() for _ in range(n) if with_learner or kind != "learner"]
    rng.shuffle(pool)
    pool.sort(key=lambda kind: with_learner and kind != "learner")
    plan = []
    for kind in pool[:PER_RUN]:
        aims = AIMS.get(kind, []) if not with_learner else []
        number = done[kind] + sum(other.kind == kind for other in plan)
        plan.append(Kill(kind, aims[number] if number < len(aims) else ""))
    return plan


class Report:
    """What is known so far, written after every training, so that the next call goes on from there."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path, self.rows, self.expected = path, list[dict[str, Any]](), dict[str, Any]()
        self.settings = settings
        if path.exists():
            before = json.loads(path.read_text())
            if not before["complete"] and before["settings"] == settings:
                self.rows, self.expected = before["runs"], before["undisturbed"]

    @property
    def counted(self) -> Counter[str]:
        return Counter(kill["kind"] for row in self.rows for kill in row["kills"])

    @property
    def all_same(self) -> bool:
        return all(value for row in self.rows for key, value in row.items() if key.startswith("same_"))

    def write(self, complete: bool = False) -> None:
        kills = [kill for row in self.rows for kill in row["kills"]]
        content = {
            "schema": 2,
            "complete": complete,
            "settings": self.settings,
            "total": len(kills),
            "kills": dict(self.counted),
            "while_collecting": sum(kill["stage"].get("in_flight", 0) > 0 for kill in kills),
            "while_writing_a_checkpoint": sum(kill["stage"]["phase"] == "checkpoint" for kill in kills),
            "driver_left_s": [kill["driver_left_s"] for kill in kills if "driver_left_s" in kill],
            "all_same": self.all_same,
            "wall_s": round(sum(row["wall_s"] for row in self.rows)),
            "undisturbed": self.expected,
            "runs": self.rows,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(content, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, help="so many of each kind")
    parser.add_argument("--kinds", default=",".join(WANTED))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tasks", type=int, default=2048)
    parser.add_argument("--minutes", type=float, default=60, help="begin no training after so long")
    parser.add_argument("--no-full-store", dest="full_store", action="store_false")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "faults.json")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped; the same command goes on"))  # leaving nothing behind
    wanted = Counter({kind: given.kills or WANTED[kind] for kind in given.kinds.split(",")})
    report = Report(given.out, {"seed": given.seed, "tasks": given.tasks, "wanted": dict(wanted)})
    folder, began = Path(tempfile.mkdtemp(prefix="faults-")), time.monotonic()
    arguments = [f"--tasks={given.tasks}"]
    subprocess.run(["ray", "get-auth-token", "--generate"], env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL)
    if not report.expected:
        report.expected = undisturbed(folder, arguments)
        report.write()
    expected = {key: value for key, value in report.expected.items() if key != "wall_s"}

    def train(plan: list[Kill], more: list[str], store: int, about: dict[str, Any]) -> None:
        number = len(report.rows)
        rng = random.Random(f"{given.seed}/{number}")
        gap_s, heads = 0.2 * report.expected["wall_s"], report.counted["head"]
        one = Disturbed(folder / f"run-{number}", [*arguments, *more], plan, heads, rng, gap_s)
        row = about | one(store)
        if "ballast_bytes" in about:
            row |= {"store_said": [line for line in one.run.log.read_text().splitlines() if "Spilled" in line]}
        row |= check(outcome(Bundle.load(one.run.out / "bundle")), expected)
        report.rows.append(row)
        report.write()
        print(json.dumps(row), flush=True)

    while (left := wanted - report.counted) and time.monotonic() - began < 60 * given.minutes:
        plan = plan_of(left, report.counted, random.Random(f"{given.seed}/plan/{len(report.rows)}"))
        learner = any(kill.kind == "learner" for kill in plan)
        train(plan, ["--learners=1"] if learner else [], ROOMY, {"learners": int(learner)})
    filled = any("ballast_bytes" in row for row in report.rows) or not given.full_store
    if not left and not filled and time.monotonic() - began < 60 * given.minutes:
        train([], [f"--ballast={2 * STORE}"], STORE, {"store_bytes": STORE, "ballast_bytes": 2 * STORE})
        filled = True
    report.write(complete=not left and filled)
    print(f"{report.counted.total()} kills: {dict(report.counted)}; all ended as if undisturbed: {report.all_same}")
    if left or not filled:
        print("not complete: the same command goes on")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
