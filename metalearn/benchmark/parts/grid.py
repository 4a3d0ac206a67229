"""Success of `wtl` of seed 0 for every number of demonstrations and of its own trials."""

from typing import Any

import numpy as np

from metalearn.benchmark.benchmark_run import BenchmarkRun, unpacked
from metalearn.benchmark.report import Cell
from metalearn.benchmark.store import cached, read_json
from metalearn.benchmark.suites import Grid
from metalearn.evaluation.controls import Outcome
from metalearn.evaluation.evaluate import MAIN_METHOD, rate_of
from metalearn.evaluation.manifest import Manifest
from metalearn.evaluation.protocol import Protocol, adapted


def measure(bench: BenchmarkRun) -> None:
    """Train the policy, if it is not trained, and play its attempts after 0 .. L own trials, given 0 .. K demos."""
    grid = bench.suite.grid
    if grid is None:
        return
    bench.train(MAIN_METHOD, 0)
    player = adapted(bench.load(MAIN_METHOD, 0))
    for demos in range(grid.max_demos + 1):
        protocol = Protocol.of(bench.family, grid_manifest(bench.manifest, grid, demos))

        def play(demos: int = demos, protocol: Protocol = protocol) -> dict[str, Any]:
            contexts = protocol.demonstrations(bench.progress)
            return bench.play(f"grid, {demos} demos", player, protocol, contexts)

        made_from = bench.made_from(MAIN_METHOD, 0, protocol.manifest.digest)
        cached(bench.folder / "grid" / f"demos{demos}.json", made_from, play)


def grid_manifest(manifest: Manifest, grid: Grid, demos: int) -> Manifest:
    """The manifest with so many demonstrations and the grid's number of trials, on about `grid.tasks` episodes."""
    n_tasks = min(grid.tasks, manifest.n_tasks)
    budget = manifest.budget.model_copy(update={"demos": demos, "trials": grid.max_trials})
    repeats = max(1, min(manifest.episodes_per_task, grid.tasks // n_tasks))
    return manifest.model_copy(update={"budget": budget, "n_tasks": n_tasks, "episodes_per_task": repeats})


def cells(bench: BenchmarkRun) -> tuple[Cell, ...]:
    """The cells that have been measured."""
    grid = bench.suite.grid
    if grid is None:
        return ()
    found = []
    for demos in range(grid.max_demos + 1):
        manifest = grid_manifest(bench.manifest, grid, demos)
        kept = read_json(bench.folder / "grid" / f"demos{demos}.json")
        if not isinstance(kept, dict) or kept["made_from"] != bench.made_from(MAIN_METHOD, 0, manifest.digest):
            continue
        protocol = Protocol.of(bench.family, manifest)
        for trials, (success, returns) in enumerate(zip(*unpacked(kept), strict=True)):
            rate = rate_of(protocol, Outcome(success, np.ones_like(success)))
            mean_return = float(returns.mean()) if bench.on_returns else None
            found.append(
                Cell(demos=demos, trials=trials, success=rate.success, ci95=rate.ci95, mean_return=mean_return)
            )
    return tuple(found)
