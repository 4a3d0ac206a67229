"""Assembling the report of a suite from the results that its parts have written so far. Runs nothing."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from metalearn.baselines.methods import METHODS
from metalearn.benchmark.benchmark_run import BenchmarkRun
from metalearn.benchmark.conclusions import suite_conclusions
from metalearn.benchmark.parts import generalisation, grid, methods, optimisers, tracks
from metalearn.benchmark.report import SuiteReport, SuiteResults
from metalearn.benchmark.store import left_out, read_json, seconds_at
from metalearn.bundle import Bundle
from metalearn.evaluation.evaluate import MAIN_METHOD, control_reports
from metalearn.evaluation.report import ManifestRef


def assemble(bench: BenchmarkRun) -> SuiteReport:
    """Assemble the report of everything that has been measured."""
    played = {name: by_seed for name in METHODS if (by_seed := methods.outcomes(bench, name))}
    reports = methods.reports(bench, played)
    suite = bench.suite
    wtl = played.get(MAIN_METHOD, {}).get(0)
    results = SuiteResults(
        name=suite.name,
        title=suite.title,
        experiment=suite.experiment,
        measure=bench.manifest.measure,
        budget=bench.manifest.budget.model_dump(mode="json"),
        trained={name: methods.trained(bench, name, by_seed) for name, by_seed in played.items()},
        left_out=_left_out(bench, played),
        seeds={name: methods.spread(bench, by_seed) for name, by_seed in played.items()},
        comparisons={} if wtl is None else methods.comparisons(bench, wtl[0], played, 0),
        return_comparisons={} if wtl is None or not bench.on_returns else methods.comparisons(bench, wtl[1], played, 1),
        control_returns=methods.control_returns(bench),
        grid=grid.cells(bench),
        tracks=tracks.reports(bench),
        target_to_match=optimisers.target_to_match(bench, reports),
        optimisers=optimisers.curves(bench, reports),
        generalisation=generalisation.curves(bench),
        speed=read_json(bench.folder / "speed.json") or {},
    )
    bundle = bench.method_folder(MAIN_METHOD, 0) / "bundle"
    report = SuiteReport(
        bundle=Bundle.load(bundle).id if wtl is not None else None,
        manifest=ManifestRef(name=bench.manifest.name, digest=bench.manifest.digest, held_out=bench.manifest.held_out),
        n_tasks=len(bench.protocol.indices),
        n_episodes=bench.protocol.n_rows,
        seed=bench.protocol.seed,
        methods=reports,
        controls={} if wtl is None else control_reports(bench.protocol, methods.controls(bench), wtl[0]),
        wall_s=seconds_at(bench.folder / "wall_s.json"),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        suite=results,
    )
    return report.model_copy(update={"suite": results.model_copy(update={"verdicts": suite_conclusions(report)})})


def _left_out(bench: BenchmarkRun, played: Mapping[str, Any]) -> dict[str, str]:
    """Collect the noted reasons why methods, optimisers or parts are missing."""
    direct = bench.suite.direct.names if bench.suite.direct else ()
    folders = {name: bench.method_folder(name, 0) for name in bench.suite.methods if name not in played}
    folders |= {name: bench.folder / "optimisers" / name for name in direct}
    folders |= {f"part: {folder.name}": folder for folder in sorted((bench.folder / "parts").glob("*"))}
    return {name: reason for name, folder in folders.items() if (reason := left_out(folder)) is not None}
