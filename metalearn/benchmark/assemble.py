"""The report of a suite from what its steps have left so far: pure reading and arithmetic, nothing is run."""

import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from metalearn.baselines.methods import METHODS
from metalearn.baselines.optimisers import OPTIMISERS
from metalearn.benchmark import generalisation
from metalearn.benchmark.benchmark_run import BenchmarkRun, Outcomes, flags, unpack_outcomes
from metalearn.benchmark.conclusions import suite_conclusions
from metalearn.benchmark.measure import REFERENCES, grid_manifest, optimised, track_protocol
from metalearn.benchmark.report import (
    Cell,
    Difference,
    DirectCurve,
    DirectPoint,
    GeneralisationCurves,
    SizePoint,
    Spread,
    StepPoint,
    SuiteReport,
    SuiteResults,
    Trained,
)
from metalearn.benchmark.store import read_json, seconds_at
from metalearn.bundle import Bundle
from metalearn.data.episode import Array
from metalearn.evaluation.controls import Outcome
from metalearn.evaluation.evaluate import MAIN_METHOD, bayes_report, method_report, rate_of, return_of
from metalearn.evaluation.protocol import Protocol
from metalearn.evaluation.report import ManifestRef, MethodReport, Return
from metalearn.evaluation.statistics import mean_of, paired_bootstrap, return_interval
from metalearn.tasks.family import BoundedFamily


def assemble(bench: BenchmarkRun) -> SuiteReport:
    """The report of everything that has been measured."""
    played = {name: by_seed for name in METHODS if (by_seed := _outcomes(bench, name))}
    reports = _method_reports(bench, played)
    suite = bench.suite
    wtl = played.get(MAIN_METHOD, {}).get(0)
    results = SuiteResults(
        name=suite.name,
        title=suite.title,
        experiment=suite.experiment,
        measure=bench.manifest.measure,
        budget=bench.manifest.budget.model_dump(mode="json"),
        trained={name: _trained(bench, name, by_seed) for name, by_seed in played.items()},
        left_out=_left_out(bench, played),
        seeds={name: _spread(bench, by_seed) for name, by_seed in played.items()},
        comparisons={} if wtl is None else _comparisons(bench, wtl[0], played, 0),
        return_comparisons={} if wtl is None or not _on_returns(bench) else _comparisons(bench, wtl[1], played, 1),
        control_returns=_control_returns(bench),
        grid=_grid(bench),
        tracks=_tracks(bench),
        target_to_match=_target(bench, reports),
        optimisers=_optimisers(bench, reports),
        generalisation=_generalisation(bench),
        speed=read_json(bench.folder / "speed.json") or {},
    )
    bundle = bench.method_folder(MAIN_METHOD, 0) / "bundle"
    report = SuiteReport(
        bundle=Bundle.load(bundle).id if wtl is not None else None,
        manifest=ManifestRef(name=bench.manifest.name, digest=bench.manifest.digest),
        n_tasks=len(bench.protocol.indices),
        n_episodes=bench.protocol.n_rows,
        seed=bench.protocol.seed,
        methods=reports,
        controls={name: rate_of(bench.protocol, outcome) for name, outcome in _controls(bench).items()},
        wall_s=seconds_at(bench.folder / "wall_s.json"),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        suite=results,
    )
    return report.model_copy(update={"suite": results.model_copy(update={"verdicts": suite_conclusions(report)})})


# -- methods ------------------------------------------------------------------------------------------------------


def _outcomes(bench: BenchmarkRun, name: str) -> dict[int, Outcomes]:
    """What was measured of a method, by training seed; outcomes of other tasks or weights do not count."""
    found = {}
    for folder in bench.folder.glob(f"seed*/{name}"):
        seed = int(folder.parent.name.removeprefix("seed"))
        outcome = read_json(folder / "outcome.json")
        if isinstance(outcome, dict) and outcome["made_from"] == bench.made_from(name, seed):
            found[seed] = unpack_outcomes(outcome)
    return dict(sorted(found.items()))


def _on_returns(bench: BenchmarkRun) -> bool:
    return bench.manifest.measure == "return"


def _method_reports(bench: BenchmarkRun, played: Mapping[str, Mapping[int, Outcomes]]) -> dict[str, MethodReport]:
    """Seed 0 of every method, then the references."""

    def report(one: Outcomes) -> MethodReport:
        return method_report(bench.protocol, one[0], one[1] if _on_returns(bench) else None)

    reports = {name: report(by_seed[0]) for name, by_seed in played.items() if 0 in by_seed}
    for name in REFERENCES:
        outcome = read_json(bench.folder / "references" / f"{name}.json")
        if isinstance(outcome, dict):
            reports[name] = report(unpack_outcomes(outcome))
    if isinstance(bench.family, BoundedFamily):
        reports["bayes"] = bayes_report(bench.family, bench.manifest.budget.trials)
    return reports


def _controls(bench: BenchmarkRun) -> dict[str, Outcome]:
    kept = read_json(bench.method_folder(MAIN_METHOD, 0) / "controls.json")
    if not isinstance(kept, dict) or kept["made_from"] != bench.made_from(MAIN_METHOD, 0):
        return {}
    return {
        name: Outcome(flags(one["success"]), flags(one["counted"]), np.array(one["returns"], np.float64))
        for name, one in kept["controls"].items()
    }


def _control_returns(bench: BenchmarkRun) -> dict[str, Return]:
    """None where success is what is measured, or where rows are left out."""
    return {
        name: return_of(bench.protocol, outcome.returns)
        for name, outcome in _controls(bench).items()
        if _on_returns(bench) and outcome.counted.all() and outcome.returns is not None
    }


def _trained(bench: BenchmarkRun, name: str, by_seed: Mapping[int, Outcomes]) -> Trained:
    adaptation = read_json(bench.method_folder(name, 0) / "adaptation.json") or {}
    return Trained(
        what=METHODS[name].what,
        seeds=tuple(by_seed),
        train_wall_s=tuple(seconds_at(bench.method_folder(name, seed) / "wall_s.json") for seed in by_seed),
        train_cpu_s=tuple(seconds_at(bench.method_folder(name, seed) / "cpu_s.json") for seed in by_seed),
        adaptation_ms=adaptation.get("adaptation_ms"),
    )


def _left_out(bench: BenchmarkRun, played: Mapping[str, Any]) -> dict[str, str]:
    """Why methods and optimisers of the suite are missing, where it is known."""
    direct = bench.suite.direct.names if bench.suite.direct else ()
    folders = {name: bench.method_folder(name, 0) for name in bench.suite.methods if name not in played}
    folders |= {name: bench.folder / "optimisers" / name for name in direct}
    folders |= {f"part: {folder.name}": folder for folder in sorted((bench.folder / "parts").glob("*"))}
    notes = {name: read_json(folder / "left_out.json") for name, folder in folders.items()}
    return {name: note["reason"] for name, note in notes.items() if isinstance(note, dict)}


def _spread(bench: BenchmarkRun, by_seed: Mapping[int, Outcomes]) -> Spread:
    curves = [tuple(float(attempt.mean()) for attempt in success) for success, _ in by_seed.values()]
    per_attempt = list(zip(*curves, strict=True))
    totals = tuple(float(np.sum(returns, axis=0).mean()) for _, returns in by_seed.values())
    return Spread(
        seeds=tuple(by_seed),
        curves=tuple(curves),
        mean=tuple(statistics.fmean(rates) for rates in per_attempt),
        sd=tuple(statistics.stdev(rates) if len(rates) > 1 else 0.0 for rates in per_attempt),
        total_returns=totals if _on_returns(bench) else None,
    )


def _comparisons(
    bench: BenchmarkRun, wtl: Sequence[Array], played: Mapping[str, Mapping[int, Outcomes]], which: int
) -> dict[str, tuple[Difference, ...]]:
    """Seed 0 of `wtl` minus seed 0 of every other method, per attempt: success (0) or returns (1)."""

    def difference(trials: int, ours: Array, theirs: Array) -> Difference:
        a, b = (bench.protocol.by_task(rows).mean(1, dtype=np.float64) for rows in (ours, theirs))
        mean, interval = paired_bootstrap(a, b, np.random.default_rng(bench.protocol.seed))
        return Difference(trials=trials, mean=mean, ci95=interval)

    return {
        name: tuple(difference(t, *pair) for t, pair in enumerate(zip(wtl, by_seed[0][which], strict=True)))
        for name, by_seed in played.items()
        if name != MAIN_METHOD and 0 in by_seed
    }


# -- beside them --------------------------------------------------------------------------------------------------


def _grid(bench: BenchmarkRun) -> tuple[Cell, ...]:
    grid, cells = bench.suite.grid, []
    for demos in range(grid.max_demos + 1) if grid else ():
        assert grid is not None
        manifest = grid_manifest(bench.manifest, grid, demos)
        kept = read_json(bench.folder / "grid" / f"demos{demos}.json")
        if not isinstance(kept, dict) or kept["made_from"] != bench.made_from(MAIN_METHOD, 0, manifest.digest):
            continue
        protocol = Protocol.of(bench.family, manifest)
        for trials, (success, returns) in enumerate(zip(*unpack_outcomes(kept), strict=True)):
            rate = rate_of(protocol, Outcome(success, np.ones_like(success)))
            mean_return = float(returns.mean()) if _on_returns(bench) else None
            cells.append(
                Cell(demos=demos, trials=trials, success=rate.success, ci95=rate.ci95, mean_return=mean_return)
            )
    return tuple(cells)


def _tracks(bench: BenchmarkRun) -> dict[str, MethodReport]:
    found = {}
    for name in bench.suite.tracks:
        kept = read_json(bench.folder / "tracks" / f"{name}.json")
        if not isinstance(kept, dict):
            continue
        protocol = track_protocol(bench, name)
        if kept["made_from"] == bench.made_from(MAIN_METHOD, 0, protocol.manifest.digest):
            success, returns = unpack_outcomes(kept)
            measured = returns if protocol.manifest.measure == "return" else None
            found[name] = method_report(protocol, success, measured)
    return found


def _target(bench: BenchmarkRun, reports: Mapping[str, MethodReport]) -> float | None:
    """What an optimiser has to reach: the lower end of the interval of `wtl` after one trial (or none, if none)."""
    if MAIN_METHOD not in reports:
        return None
    wtl = reports[MAIN_METHOD]
    if wtl.returns is not None:
        return wtl.returns[min(1, len(wtl.returns) - 1)].mean_ci95[0]
    return wtl.curve[min(1, len(wtl.curve) - 1)].ci95[0]


def _optimisers(bench: BenchmarkRun, reports: Mapping[str, MethodReport]) -> dict[str, DirectCurve]:
    direct, target, curves = bench.suite.direct, _target(bench, reports), {}
    for name in direct.names if direct else ():
        tasks = optimised(bench, name)
        if tasks and direct is not None and name in OPTIMISERS:
            curves[name] = _direct(bench, OPTIMISERS[name].what, tasks, target, direct.episodes)
    return curves


def _direct(
    bench: BenchmarkRun, what: str, tasks: list[dict[str, Any]], target: float | None, budget: int
) -> DirectCurve:
    key = "returns" if _on_returns(bench) else "success"
    matched: list[int | None] = []
    for task in tasks:
        reached = (e for e, y in zip(task["episodes"], task[key], strict=True) if target is not None and y >= target)
        matched.append(next(reached, None))
    ordered = sorted(float("inf") if episodes is None else episodes for episodes in matched)
    median = ordered[len(ordered) // 2]  # the upper one of two: never better than it was
    return DirectCurve(
        what=what,
        n_tasks=len(tasks),
        curve=_mean_curve(bench, tasks),
        episodes_to_match=tuple(matched),
        median_to_match=None if median == float("inf") else int(median),
        budget=budget,
        wall_s=round(sum(task["wall_s"] for task in tasks), 1),
        cpu_s=round(sum(task.get("cpu_s", 0.0) for task in tasks), 1),
    )


def _mean_curve(bench: BenchmarkRun, tasks: list[dict[str, Any]]) -> tuple[DirectPoint, ...]:
    """Look by look, over tasks; where episodes differ a little between tasks, their mean."""
    points = []
    for i in range(min(len(task["episodes"]) for task in tasks)):
        success = np.array([[task["success"][i]] for task in tasks], np.float64)
        points.append(
            DirectPoint(
                episodes=round(statistics.fmean(task["episodes"][i] for task in tasks)),
                success=float(success.mean()),
                ci95=return_interval(success, np.random.default_rng(bench.protocol.seed), mean_of),
                mean_return=statistics.fmean(task["returns"][i] for task in tasks),
            )
        )
    return tuple(points)


def _generalisation(bench: BenchmarkRun) -> GeneralisationCurves | None:
    if bench.suite.generalisation is None:
        return None
    points = [_size_point(bench, generalisation.size_folder(bench, n), n) for n in generalisation.sizes(bench)]
    n_tasks, long = bench.suite.trained(0).data.n_tasks, bench.folder / "generalisation" / "long"
    history = (generalisation.measured(long) or {}).get("history", [])
    return GeneralisationCurves(
        usual_steps=bench.suite.trained(0).training.total_steps,
        sizes=tuple(point for point in points if point is not None),
        steps=tuple(
            StepPoint(step=look["step"], train_loss=look["loss"], trial=look["trial"], retrial=look["retrial"])
            for look in history
            if "trial" in look and "retrial" in look
        ),
        after_long=_size_point(bench, long, n_tasks),
    )


def _size_point(bench: BenchmarkRun, folder: Path, n_tasks: int) -> SizePoint | None:
    kept = generalisation.measured(folder)
    if kept is None:
        return None
    protocol = Protocol.of(bench.family, generalisation.held_out(bench))
    report = method_report(protocol, unpack_outcomes(kept)[0])
    loss = generalisation.last_loss(kept["history"])
    return SizePoint(tasks=n_tasks, steps=kept["steps"], train_loss=loss, curve=report.curve)
