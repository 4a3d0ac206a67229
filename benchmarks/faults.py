"""kill -9 of actors, learners, worker nodes, drivers and heads at random instants of trainings on a cluster of nodes.

    python benchmarks/faults.py                  # 26 kills and a full object store, about 20 minutes on 2 cores
    python benchmarks/faults.py --minutes 9      # as much as fits; the same command goes on where this one ended
    rm benchmarks/results/faults.json            # and the next begins anew
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
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.faulting.disturbed import PER_RUN, TRAINING_S, Disturbed, Kill, Run  # noqa: E402
from benchmarks.faulting.nodes import ENVIRONMENT  # noqa: E402
from metalearn.bundle import Bundle  # noqa: E402

STORE = 80_000_000
"""The smallest object store that Ray accepts, about."""
ROOMY = 200_000_000
WANTED = {"actor": 6, "node": 5, "driver": 6, "head": 5, "learner": 4}
AIMS = {
    "actor": ["collecting"],
    "node": ["collecting"],
    "driver": ["checkpoint", "collecting", "checkpoint"],
    "head": ["collecting"],
}
"""The moments that the first kills of a kind wait for; the others strike at any time."""


def outcome(bundle: Bundle) -> dict[str, Any]:
    """The results that have to be the same, however often the run was killed."""
    rounds = [[entry[key] for key in ("episodes", "digest")] for entry in bundle.provenance["collections"]]
    return {"weights": bundle.id, "rounds": rounds, "curve": bundle.provenance["history"]}


def check(got: dict[str, Any], expected: dict[str, Any]) -> dict[str, bool]:
    return {f"same_{key}": got.get(key) == expected[key] for key in expected}


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
    """Write the results so far after every training, so that the next call resumes from there."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path, self.rows, self.expected = path, list[dict[str, Any]](), dict[str, Any]()
        self.settings = settings
        if path.exists():
            before = json.loads(path.read_text())
            if before["settings"] == settings:
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
    report = Report(given.out, {"seed": given.seed, "tasks": given.tasks})
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
        row |= check({} if one.failure else outcome(Bundle.load(one.run.out / "bundle")), expected)
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
    if report.all_same:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
