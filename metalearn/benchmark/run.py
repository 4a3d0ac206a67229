"""Running a suite: existing results are not computed again, and a report is written after every step."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from metalearn.baselines.methods import METHODS
from metalearn.benchmark.assemble import assemble
from metalearn.benchmark.benchmark_run import BenchmarkRun
from metalearn.benchmark.page import write_page
from metalearn.benchmark.parts import generalisation, grid, methods, optimisers, speed, tracks
from metalearn.benchmark.report import SuiteReport
from metalearn.benchmark.store import accumulated_seconds, failures_noted
from metalearn.benchmark.suites import PARTS, Suite
from metalearn.data.errors import InvalidConfig
from metalearn.evaluation.protocol import Progress
from metalearn.training.collect import Collector

Step = Callable[[], None]


def run_suite(
    suite: Suite,
    folder: Path,
    out: Path,
    *,
    parts: Sequence[str] = PARTS,
    methods: Sequence[str] = (),
    seeds: int | None = None,
    collector: Collector,
    progress: Progress,
) -> SuiteReport:
    """Run what is missing of a suite and write its report and page.

    Args:
        suite: the suite to run.
        folder: of the intermediate results, from which a stopped or killed run resumes.
        out: folder of `report.json`, `README.md` and the plots.
        parts: of `PARTS`; all of them if not given.
        methods: of the suite's; all of them if not given.
        seeds: training seeds 0 .. seeds - 1; the suite's number if not given.
        collector: runs the rollouts of training.
        progress: called with the stage and its progress; may raise `Stopped`.

    Raises:
        InvalidConfig: unknown parts, methods, experiment or manifest, or a folder of another run.
    """
    for part in parts:
        if part not in PARTS:
            raise InvalidConfig(f"unknown part {part!r}; known: {', '.join(PARTS)}")
    for name in methods:
        if name not in METHODS:  # a typo is said before hours of work
            raise InvalidConfig(f"unknown method {name!r}; known: {', '.join(METHODS)}")
    bench = BenchmarkRun(suite, folder, collector, progress)
    with accumulated_seconds(folder / "wall_s.json"):
        for part, step in _plan(bench, parts, methods or suite.methods, suite.seeds if seeds is None else seeds):
            with failures_noted(folder / "parts" / part):
                step()
            publish(bench, out)
    return publish(bench, out)


def _plan(bench: BenchmarkRun, parts: Sequence[str], names: Sequence[str], seeds: int) -> Iterator[tuple[str, Step]]:
    """Yield parts and steps; all of seed 0 first, so that an early report covers every part."""
    if "methods" in parts:
        yield "references", partial(methods.measure_references, bench)
        for name in names:
            yield f"method {name}", partial(methods.measure_method, bench, name, 0)
    measured = {
        "grid": grid.measure,
        "tracks": tracks.measure,
        "speed": speed.measure,
        "optimisers": optimisers.measure,
    }
    for part, measure in measured.items():
        if part in parts:
            yield part, partial(measure, bench)
    if "methods" in parts:
        for seed in range(1, seeds):
            for name in names:
                yield f"method {name}", partial(methods.measure_method, bench, name, seed)
    if "generalisation" in parts:
        yield "generalisation", partial(generalisation.measure, bench)


def publish(bench: BenchmarkRun, out: Path) -> SuiteReport:
    """Write the report and the page of the results so far."""
    report = assemble(bench)
    report.write(out / "report.json")
    write_page(report, out)
    return report
