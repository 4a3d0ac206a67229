"""Optimisers that get one task at a time, and how many of its episodes they need to be as good as `wtl`."""

import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from metalearn.baselines.optimisers import OPTIMISERS
from metalearn.benchmark.benchmark_run import BenchmarkRun
from metalearn.benchmark.report import DirectCurve, DirectPoint
from metalearn.benchmark.store import cached, digest, failures_noted, read_json
from metalearn.data.errors import InvalidConfig
from metalearn.evaluation.evaluate import MAIN_METHOD
from metalearn.evaluation.report import MethodReport
from metalearn.evaluation.statistics import mean_of, return_interval


def measure(bench: BenchmarkRun) -> None:
    """Run every optimiser on the first tasks of the manifest, one task at a time."""
    direct = bench.suite.direct
    if direct is None:
        return
    indices = bench.protocol.indices[: direct.tasks]
    made_from = digest(bench.manifest.family, bench.manifest.family_version, direct.episodes)
    for name in direct.names:
        folder = bench.folder / "optimisers" / name
        with failures_noted(folder):
            for done, index in enumerate(indices):
                bench.progress(name, done, len(indices))
                cached(folder / f"{index}.json", made_from, partial(_optimise, bench, name, index))
        bench.progress(name, len(indices), len(indices))


def _optimise(bench: BenchmarkRun, name: str, index: int) -> dict[str, Any]:
    direct = bench.suite.direct
    assert direct is not None
    if name not in OPTIMISERS:
        raise InvalidConfig(f"unknown optimiser {name!r}; known: {', '.join(OPTIMISERS)}")
    start = bench.train("bc", 0) if name.endswith("-from-bc") else None
    started, started_cpu = time.monotonic(), time.process_time()
    curve = OPTIMISERS[name].optimise(bench.manifest.family, index, direct.episodes, 0, start)
    wall_s, cpu_s = time.monotonic() - started, time.process_time() - started_cpu
    return {**asdict(curve), "wall_s": round(wall_s, 2), "cpu_s": round(cpu_s, 2)}


def target_to_match(bench: BenchmarkRun, reports: Mapping[str, MethodReport]) -> float | None:
    """The level that an optimiser has to reach: the lower end of `wtl`'s interval after one trial, if there is one."""
    if MAIN_METHOD not in reports:
        return None
    wtl = reports[MAIN_METHOD]
    if wtl.returns is not None:
        return wtl.returns[min(1, len(wtl.returns) - 1)].mean_ci95[0]
    return wtl.curve[min(1, len(wtl.curve) - 1)].ci95[0]


def curves(bench: BenchmarkRun, reports: Mapping[str, MethodReport]) -> dict[str, DirectCurve]:
    """The mean learning curve of every optimiser that has been measured, and when it reached the target."""
    direct, target, found = bench.suite.direct, target_to_match(bench, reports), {}
    for name in direct.names if direct else ():
        tasks = _learning_curves(bench, name)
        if tasks and direct is not None and name in OPTIMISERS:
            found[name] = _direct(bench, OPTIMISERS[name].what, tasks, target, direct.episodes)
    return found


def _learning_curves(bench: BenchmarkRun, name: str) -> list[dict[str, Any]]:
    """Read the learning curves of an optimiser, in the order of the manifest's tasks."""
    assert bench.suite.direct is not None
    indices = bench.protocol.indices[: bench.suite.direct.tasks]
    read = (read_json(bench.folder / "optimisers" / name / f"{index}.json") for index in indices)
    return [curve for curve in read if isinstance(curve, dict)]


def _direct(
    bench: BenchmarkRun, what: str, tasks: list[dict[str, Any]], target: float | None, budget: int
) -> DirectCurve:
    key = "returns" if bench.on_returns else "success"
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
    """Average the curves over tasks, check by check; episodes used are averaged too."""
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
