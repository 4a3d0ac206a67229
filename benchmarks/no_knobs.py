"""Every suite trained with nothing set, beside the same suite with the settings that somebody chose for it by hand.

    python -m benchmarks.no_knobs [--suite reach-m2 push] [--settings none hand] [--seed 0 1 2] [--minutes M]
    python -m benchmarks.no_knobs --suite reach-pixels --minutes 40 --cores 2

With nothing set is `wtl train SUITE` (a data source and a budget), by hand is `python -m benchmarks.by_hand SUITE`.
Both are evaluated on the tasks of the suite's manifest, after up to twice the trials that were trained; suites in
pictures, for which nobody chose settings, on the tasks of the usual manifest. What is in benchmarks/results/no-knobs is
not done again, and a training that was stopped goes on. Ends with the table.
"""

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.trained import ROOT, curve, measure_once, say, table, train, write_page
from metalearn.benchmark.by_hand import BY_HAND
from metalearn.bundle import Bundle
from metalearn.evaluation.evaluate import report_of
from metalearn.evaluation.manifest import Manifest, default_manifest, load_manifest
from metalearn.evaluation.protocol import Protocol, adapted
from metalearn.evaluation.report import MethodReport
from metalearn.experiments import EXPERIMENTS
from metalearn.model.inference import Inference
from metalearn.tasks.registry import find_family

RESULTS = ROOT / "benchmarks" / "results" / "no-knobs"
SUITES = (
    "reach-m2", "reach-m4", "reach-colour", "reach-dynamics", "dark-room", "key-to-door", "push", "push-blind",
    "cheetah-vel", "reach-pixels", "push-pixels",
)  # fmt: skip
SETTINGS = ("none", "hand")
MOST_TRIALS = 6
HEAD = """# Every suite with nothing set, and with settings by hand

Made by `python -m benchmarks.no_knobs`. `none` is `wtl train SUITE`, `hand` is `python -m benchmarks.by_hand SUITE`;
95% intervals over test tasks. Rows are of the learner of their date.
"""


def measure(suite: str, settings: str, seed: int, folder: Path, options: Sequence[str], n_tasks: int | None) -> Any:
    """Train one suite with one kind of settings, and evaluate the policy."""
    experiment = EXPERIMENTS.get(suite)
    family = experiment.family if experiment else suite
    seeded = ["--seed", str(seed)]
    if settings == "none":
        source = [suite] if experiment else ["--family", family]
        trained = train([*source, *options, *seeded, "--no-baselines"], folder)
    else:
        trained = train([suite, *seeded], folder, ("benchmarks.by_hand",))
    bundle = Bundle.load(folder / "bundle")
    manifest = longer(load_manifest(str(experiment.manifest)) if experiment else default_manifest(find_family(family)))
    protocol = Protocol.of(find_family(manifest.family), manifest, n_tasks=n_tasks)
    contexts = protocol.demonstrations(say)
    played = protocol.attempts(adapted(Inference.load(bundle)), contexts)
    return {
        "suite": suite,
        "settings": settings,
        "seed": seed,
        **{name: trained[name] for name in ("command", "processor_s", "wall_s")},
        "date": bundle.provenance["created"][:10],
        "steps": bundle.provenance["history"][-1]["step"],
        "n_tasks": len(protocol.indices),
        "model": bundle.model,
        "decisions": bundle.provenance["decisions"],
        "report": report_of(protocol, played).model_dump(mode="json"),
    }


def longer(manifest: Manifest) -> Manifest:
    """The manifest with more trials than any suite trains on; its first attempts are the same."""
    return manifest.model_copy(update={"budget": manifest.budget.model_copy(update={"trials": MOST_TRIALS})})


def page(results: Path) -> str:
    """Every result in a folder as one table in Markdown."""
    found = [json.loads(path.read_text()) for path in results.glob("*.json")]
    found.sort(key=lambda one: (SUITES.index(one["suite"]), SETTINGS[::-1].index(one["settings"]), one["seed"]))
    head = (
        "suite",
        "settings",
        "seed",
        "tasks",
        "success in % after 0 to 6 trials",
        "return",
        "processor, s",
        "steps",
        "date",
    )
    return "\n".join([HEAD, *table(head, map(_row, found))]) + "\n"


def _row(one: dict[str, Any]) -> list[str]:
    report = MethodReport.model_validate(one["report"])
    returns = " / ".join(f"{point.mean:.1f}" for point in report.returns or ())
    start = [one["suite"], one["settings"], str(one["seed"]), str(one["n_tasks"])]
    return [*start, curve(report, intervals=True), returns, f"{one['processor_s']:.0f}", str(one["steps"]), one["date"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", nargs="+", choices=SUITES, default=list(SUITES))
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--seed", nargs="+", type=int, default=[0])
    parser.add_argument("--tasks", type=int, help="held-out tasks, instead of the manifest's number")
    parser.add_argument("--minutes", type=float, help="of trainings with nothing set, instead of the suite's")
    parser.add_argument(
        "--cores", type=int, help="that trainings with nothing set collect and learn on, instead of one"
    )
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "no-knobs", help="folder of the trainings")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of a JSON file per training")
    given = parser.parse_args()
    options = ["--minutes", str(given.minutes)] if given.minutes else []
    if given.cores:
        options += ["--workers", str(given.cores), "--threads", str(given.cores)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    given.results.mkdir(parents=True, exist_ok=True)
    for seed in given.seed:
        for suite in given.suite:
            for settings in given.settings:
                if settings == "hand" and suite not in BY_HAND:
                    continue
                title = f"{suite}-{settings}-seed{seed}"
                folder = given.runs.resolve() / title
                work = partial(measure, suite, settings, seed, folder, options, given.tasks)
                measure_once(given.results, title, work)
    write_page(given.results, page)


if __name__ == "__main__":
    main()
