"""The methods of a suite with every training seed, the references beside them, and the controls of `wtl`.

Leaves outcomes per row as files, one per method and seed.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from metalearn.baselines.methods import METHODS
from metalearn.benchmark.benchmark_run import BenchmarkRun, Outcomes, flags, unpacked
from metalearn.benchmark.report import Difference, Spread, Trained
from metalearn.benchmark.store import bits, cached, failures_noted, note_left_out, read_json, seconds_at
from metalearn.data.episode import Array
from metalearn.evaluation.controls import Outcome, run_controls
from metalearn.evaluation.evaluate import MAIN_METHOD, bayes_report, method_report, return_of
from metalearn.evaluation.protocol import Player, adapted, references
from metalearn.evaluation.report import MethodReport, Return
from metalearn.evaluation.statistics import paired_bootstrap
from metalearn.tasks.family import BoundedFamily

REFERENCES = ("random", "expert", "fixed-aims")

# -- measuring ----------------------------------------------------------------------------------------------------


def measure_method(bench: BenchmarkRun, name: str, seed: int) -> None:
    """Train and evaluate one method with one seed; a failure is noted and does not end the benchmark.

    Raises:
        Stopped: the user stopped the benchmark.
    """
    folder = bench.method_folder(name, seed)
    reason = _not_applicable(bench, name)
    if reason is not None:
        note_left_out(folder, reason)
        return
    with failures_noted(folder):
        bench.train(name, seed)
        player = adapted(bench.load(name, seed))
        cached(
            folder / "outcome.json",
            bench.made_from(name, seed),
            lambda: bench.play(f"{name} seed {seed}", player, bench.protocol, bench.contexts),
        )
        if name == MAIN_METHOD and seed == 0:
            cached(folder / "controls.json", bench.made_from(name, seed), lambda: _run_controls(bench, player))


def _not_applicable(bench: BenchmarkRun, name: str) -> str | None:
    """Return why a method cannot be run in this suite; None if it can."""
    if name not in METHODS:
        return "unknown method"
    method, budget = METHODS[name], bench.manifest.budget
    if method.needs_demo and not budget.demos:
        return "needs a demonstration, and there is none"
    if method.needs_demo_actions and not (budget.demos and budget.demo_actions):
        return "needs the actions of a demonstration, and there are none"
    return None


def measure_references(bench: BenchmarkRun) -> None:
    """Evaluate random actions, and the experts that there are."""
    for name, player in references(bench.family, bench.protocol.indices[0]).items():
        cached(
            bench.folder / "references" / f"{name}.json",
            bench.manifest.digest,
            lambda name=name, player=player: bench.play(name, player, bench.protocol, bench.contexts),  # type: ignore[misc]
        )


def _run_controls(bench: BenchmarkRun, player: Player) -> dict[str, Any]:
    first = bench.protocol.attempt(player, bench.contexts, 0)
    outcomes = run_controls(bench.protocol, player, bench.contexts, first, bench.progress)
    kept = {
        name: {
            "success": bits(outcome.success),
            "counted": bits(outcome.counted),
            "returns": [] if outcome.returns is None else [float(value) for value in outcome.returns],
        }
        for name, outcome in outcomes.items()
    }
    return {"controls": kept}


# -- reading ------------------------------------------------------------------------------------------------------


def outcomes(bench: BenchmarkRun, name: str) -> dict[int, Outcomes]:
    """Read the outcomes of a method by training seed, leaving out those of other tasks or weights."""
    found = {}
    for folder in bench.folder.glob(f"seed*/{name}"):
        seed = int(folder.parent.name.removeprefix("seed"))
        outcome = read_json(folder / "outcome.json")
        if isinstance(outcome, dict) and outcome["made_from"] == bench.made_from(name, seed):
            found[seed] = unpacked(outcome)
    return dict(sorted(found.items()))


def reports(bench: BenchmarkRun, played: Mapping[str, Mapping[int, Outcomes]]) -> dict[str, MethodReport]:
    """Report seed 0 of every method, then the references."""

    def report(one: Outcomes) -> MethodReport:
        return method_report(bench.protocol, one[0], one[1] if bench.on_returns else None)

    reports = {name: report(by_seed[0]) for name, by_seed in played.items() if 0 in by_seed}
    for name in REFERENCES:
        outcome = read_json(bench.folder / "references" / f"{name}.json")
        if isinstance(outcome, dict):
            reports[name] = report(unpacked(outcome))
    if isinstance(bench.family, BoundedFamily):
        reports["bayes"] = bayes_report(bench.family, bench.manifest.budget.trials)
    return reports


def controls(bench: BenchmarkRun) -> dict[str, Outcome]:
    """Read the outcomes of the controls of `wtl`, seed 0."""
    kept = read_json(bench.method_folder(MAIN_METHOD, 0) / "controls.json")
    if not isinstance(kept, dict) or kept["made_from"] != bench.made_from(MAIN_METHOD, 0):
        return {}
    return {
        name: Outcome(flags(one["success"]), flags(one["counted"]), np.array(one["returns"], np.float64))
        for name, one in kept["controls"].items()
    }


def control_returns(bench: BenchmarkRun) -> dict[str, Return]:
    """Report the returns of controls, if the manifest measures returns and no row is left out."""
    return {
        name: return_of(bench.protocol, outcome.returns)
        for name, outcome in controls(bench).items()
        if bench.on_returns and outcome.counted.all() and outcome.returns is not None
    }


def trained(bench: BenchmarkRun, name: str, by_seed: Mapping[int, Outcomes]) -> Trained:
    """Summarise the trainings of a method."""
    adaptation = read_json(bench.method_folder(name, 0) / "adaptation.json") or {}
    return Trained(
        what=METHODS[name].what,
        seeds=tuple(by_seed),
        train_wall_s=tuple(seconds_at(bench.method_folder(name, seed) / "wall_s.json") for seed in by_seed),
        train_cpu_s=tuple(seconds_at(bench.method_folder(name, seed) / "cpu_s.json") for seed in by_seed),
        adaptation_ms=adaptation.get("adaptation_ms"),
    )


def spread(bench: BenchmarkRun, by_seed: Mapping[int, Outcomes]) -> Spread:
    """Summarise a method over its training seeds."""
    curves = [tuple(float(attempt.mean()) for attempt in success) for success, _ in by_seed.values()]
    per_attempt = list(zip(*curves, strict=True))
    totals = tuple(float(np.sum(returns, axis=0).mean()) for _, returns in by_seed.values())
    return Spread(
        seeds=tuple(by_seed),
        curves=tuple(curves),
        mean=tuple(statistics.fmean(rates) for rates in per_attempt),
        sd=tuple(statistics.stdev(rates) if len(rates) > 1 else 0.0 for rates in per_attempt),
        total_returns=totals if bench.on_returns else None,
    )


def comparisons(
    bench: BenchmarkRun, wtl: Sequence[Array], played: Mapping[str, Mapping[int, Outcomes]], which: int
) -> dict[str, tuple[Difference, ...]]:
    """Seed 0 of `wtl` minus seed 0 of every other method, per attempt: success (0) or returns (1)."""

    def difference(trials: int, ours: Array, theirs: Array) -> Difference:
        a, b = (bench.protocol.by_task(rows).mean(1, dtype=np.float64) for rows in (ours, theirs))
        rng = np.random.default_rng(bench.protocol.seed)
        mean, interval = paired_bootstrap(a, b, rng, clusters=bench.protocol.clusters)
        return Difference(trials=trials, mean=mean, ci95=interval)

    return {
        name: tuple(difference(t, *pair) for t, pair in enumerate(zip(wtl, by_seed[0][which], strict=True)))
        for name, by_seed in played.items()
        if name != MAIN_METHOD and 0 in by_seed
    }
