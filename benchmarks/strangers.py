"""The default command on other people's environments and a cart before a camera, beside bounds, baselines and controls.

    python -m benchmarks.strangers [--family pendulum point-maze] [--seed 0 1 2] [--minutes M]
    python -m benchmarks.strangers --quick --runs DIR --results DIR    # does it work? 30 steps for each

Each family of examples/families is trained by `wtl train` with nothing set for it, and evaluated on held-out tasks.
What is in benchmarks/results/strangers is not done again, and a training that was stopped goes on. Ends with the table.
"""

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.trained import ROOT, curve, measure_once, rate, say, table, train, write_page
from metalearn.baselines.bundled import methods_of
from metalearn.bundle import Bundle
from metalearn.evaluation.evaluate import evaluate
from metalearn.evaluation.manifest import default_manifest
from metalearn.evaluation.report import Control, Report
from metalearn.tasks.registry import find_family

RESULTS = ROOT / "benchmarks" / "results" / "strangers"
TRIALS, QUICK_TASKS = 3, 256
QUICK = ["--steps", "30", "--set", f"data.n_tasks={QUICK_TASKS}", "--set", "training.check_steps=10"]
QUICK += ["--set", "training.batch_tasks=16", "--set", "training.check_tasks=16"]
FAMILIES = {
    "cart-pole": "cart_pole:CartPole",
    "pendulum": "pendulum:Pendulum",
    "lunar-lander": "lunar_lander:LunarLander",
    "mini-grid": "mini_grid:MiniGrid",
    "point-maze": "point_maze:PointMaze",
    "fetch-reach": "fetch_reach:FetchReach",
    "recorded-pendulum": "recorded_pendulum:RecordedPendulum",
    "cart-camera": "cart_camera:CartCamera",
}
CONTROLS = ("other_task_demo", "other_task_trial", "same_demo_other_target", "flipped_reward")
METHODS = ("bayes", "wtl", "bc", "mil", "random", "expert")


@dataclass(frozen=True)
class Run:
    """The training of one family with one seed, in a folder of its own."""

    name: str
    seed: int
    folder: Path
    n_recorded: int

    @property
    def family(self) -> str:
        return f"examples.families.{FAMILIES[self.name]}"

    def source(self) -> list[str]:
        """What the command is told to train on: the family, or recordings, which are written first."""
        if self.name != "recorded-pendulum":
            return ["--family", self.family]
        from examples.families.recorded_pendulum import record

        recordings = self.folder.with_suffix(".hdf5")
        if not recordings.exists():
            recordings.parent.mkdir(parents=True, exist_ok=True)
            unfinished = recordings.with_suffix(".part")
            record(unfinished, self.n_recorded, self.seed)
            unfinished.rename(recordings)
        return ["--episodes", f"robomimic:{recordings}", "--task-by", "task"]

    def train(self, options: Sequence[str]) -> dict[str, Any]:
        """Train it, or go on with it; the command and what it took, summed over the calls."""
        return train([*self.source(), "--seed", str(self.seed), *options], self.folder)


def measure(run: Run, options: Sequence[str], n_tasks: int) -> dict[str, Any]:
    """Train and evaluate one family."""
    trained = run.train(options)
    bundle, family = Bundle.load(run.folder / "bundle"), find_family(run.family)
    manifest = default_manifest(family, trials=TRIALS)
    report = evaluate(methods_of(bundle), family, manifest, n_tasks=n_tasks, bundle=bundle.id, progress=say)
    return {
        "family": run.name,
        "seed": run.seed,
        **{name: trained[name] for name in ("command", "processor_s", "wall_s")},
        "date": bundle.provenance["created"][:10],
        "model": bundle.model,
        "report": report.to_json(),
    }


def page(results: Path) -> str:
    """Every result in a folder as two tables in Markdown."""
    found = [json.loads(path.read_text()) for path in sorted(results.glob("*.json"))]
    reports = [(one, Report.from_json(one["report"])) for one in found]
    attempts = " / ".join(map(str, range(TRIALS + 1)))
    lines = [
        "# The default command on other people's environments",
        "",
        "Made by `python -m benchmarks.strangers`: `wtl train --family` with nothing set, on one core. Rows are of the",
        "learner of their date; processor time includes that of the baselines.",
        "",
        f"Success in % after {attempts} trials, of `wtl` and of controls with 95% intervals.",
        "",
        *table(("family", "seed", "tasks", *METHODS, "processor, minutes", "date"), map(_row, reports)),
        "",
        "`wtl` with one thing wrong in its context, and in brackets the same episodes with nothing wrong.",
        "",
        *table(("family", "seed", *CONTROLS), (_control_row(*each) for each in reports)),
    ]
    return "\n".join(lines) + "\n"


def _row(each: tuple[dict[str, Any], Report]) -> list[str]:
    one, report = each
    cells = [curve(report.methods.get(name), intervals=name == "wtl") for name in METHODS]
    return [one["family"], str(one["seed"]), str(report.n_tasks), *cells, f"{one['processor_s'] / 60:.1f}", one["date"]]


def _control_row(one: dict[str, Any], report: Report) -> list[str]:
    return [one["family"], str(one["seed"]), *(_control(report.controls.get(name)) for name in CONTROLS)]


def _control(control: Control | None) -> str:
    if control is None:
        return ""
    right = f" [{100 * control.instead_of.success:.0f}]" if control.instead_of else ""
    return rate(control) + right


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--seed", nargs="+", type=int, default=[0])
    parser.add_argument("--tasks", type=int, default=1000, help="held-out tasks that each is evaluated on")
    parser.add_argument("--minutes", type=float, help="instead of the default of `wtl train`")
    parser.add_argument("--quick", action="store_true", help="hardly any training, to see whether it works at all")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "strangers", help="folder of the trainings")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of a JSON file per family and seed")
    given = parser.parse_args()
    options = ["--minutes", str(given.minutes)] if given.minutes else []
    options += QUICK if given.quick else []
    sys.path.insert(0, str(ROOT))  # where `examples` is
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    given.results.mkdir(parents=True, exist_ok=True)
    for seed in given.seed:
        for name in given.family:
            title = f"{name}-seed{seed}"
            run = Run(name, seed, given.runs.resolve() / title, QUICK_TASKS if given.quick else 4_096)
            measure_once(given.results, title, partial(measure, run, options, given.tasks))
    write_page(given.results, page)


if __name__ == "__main__":
    main()
