"""The work of `wtl benchmark SUITE`, shown on a console. Knows no command-line arguments and no signals."""

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from metalearn.benchmark.page import results_folder
from metalearn.benchmark.run import run_suite
from metalearn.benchmark.suites import PARTS, find_suite
from metalearn.evaluation.table import conclusions, print_report
from metalearn.listeners.progress import show_progress
from metalearn.training.collect import Collector
from metalearn.training.events import Stopped

RUNS = Path("runs/benchmark")


def run_named(
    name: str,
    parts: Sequence[str],
    methods: Sequence[str],
    seeds: int | None,
    out: Path | None,
    runs: Path | None,
    collector: Collector,
    stopping: Callable[[], bool],
    console: Console,
) -> bool:
    """Run a suite, or what is left of it; return whether it was stopped before its end.

    Raises:
        InvalidConfig: an unknown suite, part or method.
    """
    suite = find_suite(name)
    out, runs = out or results_folder(suite), runs or RUNS / suite.name
    with show_progress(console) as show:

        def progress(stage: str, done: int, total: int) -> None:
            show(stage, done, total)
            if stopping():
                raise Stopped("stopped; the same command goes on")

        try:
            report = run_suite(
                suite, runs, out, parts=parts or PARTS, methods=methods, seeds=seeds, collector=collector,
                progress=progress,
            )  # fmt: skip
        except Stopped as stopped:
            console.print(str(stopped))
            return True
    print_report(report, console)
    said = dict(conclusions(report))  # in the table
    for question, answer in report.suite.verdicts.items():
        if question not in said:
            console.print(f"{question}: {answer}", highlight=False)
    for left_out, why in report.suite.left_out.items():
        console.print(f"left out: {left_out}: {why}", highlight=False)
    console.print(f"\nreport: {out / 'report.json'}\npage:   {out / 'README.md'}", highlight=False)
    return False
