"""Progress in a terminal: a bar per stage of the work, or lines where the output is a file or the log of a job.

Training, evaluation, benchmarks and followed training jobs all show it this way. Knows none of them.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

QUIET_S = 15.0
"""A log that says nothing for longer looks like one of a process that hangs."""


class ShowProgress(Protocol):
    """How far a stage of the work is, what was measured at that point, in words, and when all of the work ends."""

    def __call__(self, stage: str, done: int, total: int, measured: str = "", ends_in_s: float | None = None) -> None:
        """Show it."""


def success_in_words(rates: Sequence[float]) -> str:
    """Success rates after 0, 1, 2, ... trials, as "success 31 / 65 / 78% after 0-2 trials"; empty without rates."""
    if not rates:
        return ""
    trials = "0" if len(rates) == 1 else f"0-{len(rates) - 1}"
    return f"success {' / '.join(f'{100 * rate:.0f}' for rate in rates)}% after {trials} trials"


def ending_in_words(seconds: float | None) -> str:
    """The time that is left, as "12 min left"; empty where nobody knows it."""
    if seconds is None:
        return ""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{max(0, round(seconds))} s left"
    return f"{minutes} min left" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min left"


@contextmanager
def show_progress(console: Console | None = None) -> Iterator[ShowProgress]:
    """Show progress on a console while the block runs."""
    console = console or Console()
    if not console.is_terminal:
        yield ProgressLines(console)
        return
    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[ends]}"),
        TextColumn("{task.fields[measured]}"),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        yield ProgressBars(bars)


class ProgressBars:
    """A bar per stage that is not finished; a finished stage becomes a line above the bars."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._measured = ""
        self._started = time.monotonic()

    def __call__(self, stage: str, done: int, total: int, measured: str = "", ends_in_s: float | None = None) -> None:
        """Move the bar of a stage."""
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total, measured=self._measured, ends="")
        self._bars.update(self._tasks[stage], completed=done, total=total)
        if ends_in_s is not None:
            self._bars.update(self._tasks[stage], ends=ending_in_words(ends_in_s))
        if measured:  # it stays beside the bar, and beside the next one, until something else is measured
            self._measured = measured
            self._bars.update(self._tasks[stage], measured=measured)
        if done >= total:
            self._bars.remove_task(self._tasks.pop(stage))
            _print_line(self._bars.console, self._started, stage, done, total, measured, ends_in_s)


class ProgressLines:
    """A line where a stage begins and ends, where something was measured, and now and then that work goes on."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._open: set[str] = set()
        self._started = self._latest = time.monotonic()

    def __call__(self, stage: str, done: int, total: int, measured: str = "", ends_in_s: float | None = None) -> None:
        """Print a line if there is something to say."""
        now = time.monotonic()
        ended = done >= total
        if stage not in self._open or ended or measured or now - self._latest > QUIET_S:
            self._latest = now
            _print_line(self._console, self._started, stage, done, total, measured, ends_in_s)
        if ended:
            self._open.discard(stage)
        else:
            self._open.add(stage)


def _print_line(
    console: Console, started: float, stage: str, done: int, total: int, measured: str, ends_in_s: float | None
) -> None:
    said = "  ".join(text for text in (measured, ending_in_words(ends_in_s)) if text)
    line = f"{time.monotonic() - started:6.0f} s  {stage:<12} {done}/{total}  {said}".rstrip()
    console.print(line, soft_wrap=True, highlight=False, markup=False)
