"""Asked for goals in OGBench's pointmazes, by its own protocol: 5 goals x 50 rollouts, beside its published figures.

    pip install --no-deps ogbench                      # not one of the extras: nothing else needs it
    python -m benchmarks.ogbench_mazes [--data medium-navigate ...] [--seed 0] [--minutes M] [--share 0.1]

Each data set is recorded as OGBench's own generator does, learnt from by `wtl train` with nothing set but
`model.asks=goal`, and its policy asked for the goal of every rollout. What is in benchmarks/results/ogbench is not done
again, and a training that was stopped goes on. Ends with the table.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ogbench_data import HORIZON, KINDS, make, maze_of, observed, record
from benchmarks.trained import ROOT, measure_once, say, table, train, write_page
from metalearn.benchmark.figures import rate
from metalearn.bundle import Bundle
from metalearn.data.asks import Ask, Goal
from metalearn.data.context import Context
from metalearn.evaluation.statistics import wilson
from metalearn.model.inference import Inference

RESULTS = ROOT / "benchmarks" / "results" / "ogbench"
GOALS, ROLLOUTS = 5, 50
METHODS = ("GCBC", "GCIVL", "QRL", "HIQL")
PUBLISHED: dict[str, tuple[int | None, ...]] = {
    "medium-navigate": (9, 63, 82, 79),
    "medium-stitch": (23, 70, 80, 74),
    "large-navigate": (None, None, None, None),
    "large-stitch": (7, 12, 84, 13),
    "giant-navigate": (None, None, 68, None),
    "giant-stitch": (None, None, 50, 0),
}
"""Success in %, the mean of 8 seeds: Park, Frans, Eysenbach and Levine, "OGBench" (ICLR 2025), table 2. None: not to
hand when this was written."""


def measure(name: str, seed: int, folder: Path, options: Sequence[str], share: float) -> dict[str, Any]:
    """Record, train, and ask for the goals of one data set."""
    began_s, data = time.process_time(), folder.parent / f"{folder.name}-data"
    record(name, data, seed, share, say)
    recorded_s = time.process_time() - began_s
    asked = ["--dataset", str(data), "--set", "model.asks=goal", "--no-baselines"]
    trained = train([*asked, "--seed", str(seed), *options], folder)
    bundle = Bundle.load(folder / "bundle")
    began_s = time.process_time()
    tried = [try_goal(Inference.load(bundle), maze_of(name), number, seed) for number in range(1, GOALS + 1)]
    return {
        "data": name,
        "seed": seed,
        "share": share,
        "command": trained["command"],
        "processor_s": trained["processor_s"],
        "recorded_s": round(recorded_s, 1),
        "asked_s": round(time.process_time() - began_s, 1),
        "steps": bundle.provenance["history"][-1]["step"],
        "goals": tried,
        "success": rate(np.concatenate([np.array(one["steps"]) > 0 for one in tried])),
    }


def try_goal(inference: Inference, maze: str, number: int, seed: int) -> dict[str, Any]:
    """Rollouts to one of the maze's goals, side by side: the steps that each took, 0 where it never got there."""
    np.random.seed(1_000 * seed + number)  # noqa: NPY002 (the environment's noise in goals and beginnings)
    envs = [make(maze) for _ in range(ROLLOUTS)]
    begun = [env.reset(options={"task_id": number}) for env in envs]
    places = np.array([place for place, _ in begun])
    contexts = [Context((), (), Ask((Goal(tuple(float(x) for x in info["goal"])),))) for _, info in begun]
    actor, steps = inference.adapt(contexts, np.random.default_rng(seed)), np.zeros(ROLLOUTS, np.int64)
    for step in range(1, HORIZON + 1):
        for row, action in enumerate(actor.act(observed(places))):
            if steps[row]:
                continue
            places[row], _, reached, _, _ = envs[row].step(action)
            steps[row] = step if reached else 0
        if steps.all():
            break
    found = steps[steps > 0]
    print(f"{maze} goal {number}: {len(found)} of {ROLLOUTS}", flush=True)
    return {"goal": number, "success": rate(steps > 0), "steps": steps.tolist()}


def page(results: Path) -> str:
    """Every result in a folder as one table in Markdown."""
    found = [json.loads(path.read_text()) for path in results.glob("*.json")]
    found.sort(key=lambda one: (list(KINDS).index(one["data"]), one["seed"]))
    head = ("data", "seed", "asked", "each goal", "steps there", *METHODS, "processor, minutes", "gradient steps")
    lines = [
        f"Success in % of {GOALS} goals x {ROLLOUTS} rollouts with 95% intervals, and of each goal; the steps that",
        "those took who got there (median). Beside it the published figures of OGBench (Park et al., ICLR 2025,",
        "table 2; 8 seeds; none where they were not to hand).",
        "",
        *table(head, map(_row, found)),
    ]
    return "\n".join(lines) + "\n"


def _row(one: dict[str, Any]) -> list[str]:
    n = one["success"]["n"]
    low, high = wilson(round(one["success"]["rate"] * n), n)
    asked = f"{100 * one['success']['rate']:.1f} ({100 * low:.1f}..{100 * high:.1f})"
    each = " / ".join(f"{100 * goal['success']['rate']:.0f}" for goal in one["goals"])
    took = [step for goal in one["goals"] for step in goal["steps"] if step]
    published = ["" if figure is None else str(figure) for figure in PUBLISHED[one["data"]]]
    name = one["data"] if one["share"] == 1 else f"{one['data']}, {one['share']:.0%} of the episodes"
    middle = f"{np.median(took):.0f}" if took else ""
    cells = [name, str(one["seed"]), asked, each, middle, *published]
    return [*cells, f"{one['processor_s'] / 60:.1f}", str(one["steps"])]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seed", nargs="+", type=int, default=[0])
    parser.add_argument("--minutes", type=float, help="instead of the default of `wtl train`")
    parser.add_argument("--steps", type=int, help="most gradient steps, instead of minutes")
    parser.add_argument("--share", type=float, default=1.0, help="of the episodes of OGBench's data sets")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "ogbench", help="folder of data and trainings")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of a JSON file per data set and seed")
    given = parser.parse_args()
    options = ["--minutes", str(given.minutes)] if given.minutes else []
    options += ["--steps", str(given.steps)] if given.steps else []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    given.results.mkdir(parents=True, exist_ok=True)
    for seed in given.seed:
        for name in given.data:
            title = f"{name}-seed{seed}" + (f"-share{given.share:g}" if given.share != 1 else "")
            folder = given.runs.resolve() / title
            measure_once(given.results, title, partial(measure, name, seed, folder, options, given.share))
    write_page(given.results, page)


if __name__ == "__main__":
    main()
