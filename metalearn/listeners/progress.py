"""Progress in a terminal: a bar per stage of the work, or lines where the output is a file or the log of a job.

Training, evaluation, benchmarks and followed training jobs all show it this way. Knows none of them.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

QUIET_S = 15.0
"""A log that says nothing for longer looks like one of a process that hangs."""


class ShowProgress(Protocol):
    """How far a stage of the work is; `measured` is what was measured at that point, in words."""

    def __call__(self, stage: str, done: int, total: int, measured: str = "") -> None:
        """Show it."""


@contextmanager
def show_progress(console: Console | None = None) -> Iterator[ShowProgress]:
    """Show progress on a console while the block runs."""
    console = console or Console()
    if not console.is_terminal:
        yield ProgressLines(console)
        return
    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[measured]}"),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        yield ProgressBars(bars)


class ProgressBars:
    """A bar per stage that is not finished; a finished stage becomes a line above the bars."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._started = time.monotonic()

    def __call__(self, stage: str, done: int, total: int, measured: str = "") -> None:
        """Move the bar of a stage."""
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total, measured="")
        self._bars.update(self._tasks[stage], completed=done, total=total)
        if measured:  # it stays beside the bar until something else is measured
            self._bars.update(self._tasks[stage], measured=measured)
        if done >= total:
            self._bars.remove_task(self._tasks.pop(stage))
            _print_line(self._bars.console, self._started, stage, done, total, measured)


class ProgressLines:
    """A line where a stage begins and ends, where something was measured, and now and then that work goes on."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._open: set[str] = set()
        self._started = self._latest = time.monotonic()

    def __call__(self, stage: str, done: int, total: int, measured: str = "") -> None:
        """Print a line if there is something to say."""
        now = time.monotonic()
        ended = done >= total
        if stage not in self._open or ended or measured or now - self._latest > QUIET_S:
            self._latest = now
            _print_line(self._console, self._started, stage, done, total, measured)
        if ended:
            self._open.discard(stage)
        else:
            self._open.add(stage)


def _print_line(console: Console, started: float, stage: str, done: int, total: int, measured: str) -> None:
    line = f"{time.monotonic() - started:6.0f} s  {stage:<12} {done}/{total}  {measured}".rstrip()
    console.print(line, soft_wrap=True, highlight=False, markup=False)
