"""A suite from its first training to its report: what is there is not done again, and a report follows every part."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from metalearn.baselines.methods import METHODS
from metalearn.benchmark.assemble import assemble
from metalearn.benchmark.benchmark_run import BenchmarkRun
from metalearn.benchmark.generalisation import measure_generalisation
from metalearn.benchmark.measure import (
    measure_grid,
    measure_method,
    measure_optimisers,
    measure_references,
    measure_tracks,
)
from metalearn.benchmark.page import write_page
from metalearn.benchmark.report import SuiteReport
from metalearn.benchmark.speed import measure_speed
from metalearn.benchmark.store import accumulated_seconds, note_failure, write_json
from metalearn.benchmark.suites import PARTS, Suite
from metalearn.data.errors import InvalidConfig
from metalearn.evaluation.evaluate import MAIN_METHOD
from metalearn.evaluation.protocol import Progress
from metalearn.training.collect import Collector
from metalearn.training.loop import Stopped

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
        suite: which one.
        folder: where the work is kept, so that a run that was stopped or killed goes on.
        out: where `report.json`, `README.md` and the pictures go.
        parts: of `PARTS`; all of them if not given.
        methods: of the suite's; all of them if not given.
        seeds: training seeds 0 .. seeds - 1; the suite's number if not given.
        collector: where episodes of training are collected.
        progress: is told what is done; may raise `Stopped`.

    Raises:
        InvalidConfig: parts, methods, an experiment or a manifest that nobody knows, or a folder of something else.
    """
    for part in parts:
        if part not in PARTS:
            raise InvalidConfig(f"unknown part {part!r}; known: {', '.join(PARTS)}")
    bench = BenchmarkRun(suite, folder, collector, progress)
    for name in methods:
        if name not in METHODS:  # a typo is said before hours of work
            raise InvalidConfig(f"unknown method {name!r}; known: {', '.join(METHODS)}")
    with accumulated_seconds(folder / "wall_s.json"):
        for part, step in _plan(bench, parts, methods or suite.methods, suite.seeds if seeds is None else seeds):
            _attempt(bench, part, step)
            publish(bench, out)
    return publish(bench, out)


def _attempt(bench: BenchmarkRun, part: str, step: Step) -> None:
    """Do a step of a part; one that fails is noted, as hours of other parts are not to be lost."""
    note = bench.folder / "parts" / part
    try:
        step()
    except Stopped:
        raise
    except Exception as error:
        write_json(note / "left_out.json", {"reason": note_failure(note, error)})
    else:
        (note / "left_out.json").unlink(missing_ok=True)


def _plan(bench: BenchmarkRun, parts: Sequence[str], names: Sequence[str], seeds: int) -> Iterator[tuple[str, Step]]:
    """Part and step; all of seed 0 first, so that a report says something of everything early."""
    if "methods" in parts:
        yield "references", partial(measure_references, bench)
        for name in names:
            yield f"method {name}", partial(measure_method, bench, name, 0)
    for part, measure in _BESIDE.items():
        if part in parts:
            yield part, partial(measure, bench)
    if "methods" in parts:
        for seed in range(1, seeds):
            for name in names:
                yield f"method {name}", partial(measure_method, bench, name, seed)
    if "generalisation" in parts:
        yield "generalisation", partial(measure_generalisation, bench)


def publish(bench: BenchmarkRun, out: Path) -> SuiteReport:
    """Write the report and the page of what there is so far."""
    report = assemble(bench)
    report.write(out / "report.json")
    write_page(report, out)
    return report


def _measure_grid(bench: BenchmarkRun) -> None:
    if bench.suite.grid is not None:
        _train_main_method(bench)
        measure_grid(bench, bench.suite.grid)


def _measure_tracks(bench: BenchmarkRun) -> None:
    if bench.suite.tracks:
        _train_main_method(bench)
        measure_tracks(bench)


def _measure_speed(bench: BenchmarkRun) -> None:
    _train_main_method(bench)
    measure_speed(bench)


def _train_main_method(bench: BenchmarkRun) -> None:
    bench.train(MAIN_METHOD, 0)


_BESIDE: dict[str, Callable[[BenchmarkRun], None]] = {
    "grid": _measure_grid,
    "tracks": _measure_tracks,
    "speed": _measure_speed,
    "optimisers": measure_optimisers,
}
