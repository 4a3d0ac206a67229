"""A benchmark as seen from a terminal: a bar for what is being done; lines, where nobody watches."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from metalearn.evaluation.protocol import Progress as OnProgress

QUIET_S = 30.0


@contextmanager
def suite_progress(console: Console) -> Iterator[OnProgress]:
    """A listener for `run_suite(progress=...)`."""
    if not console.is_terminal:
        yield Lines(console)
        return
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        yield Bar(bars)


class Bar:
    """One bar, for the present stage; a stage that ended is a line above it."""

    def __init__(self, bars: Progress) -> None:
        self._bars, self._stage, self._started = bars, "", 0.0
        self._task: TaskID | None = None

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Move the bar."""
        if stage != self._stage:
            if self._task is not None:
                self._bars.remove_task(self._task)
            self._stage, self._started = stage, time.monotonic()
            self._task = self._bars.add_task(stage, total=total)
        assert self._task is not None
        self._bars.update(self._task, completed=done, total=total)
        if done >= total:
            self._bars.console.print(f"{stage}: {time.monotonic() - self._started:.1f} s")
            self._bars.remove_task(self._task)
            self._stage, self._task = "", None


class Lines:
    """A line where a stage begins and ends, and now and then that work goes on."""

    def __init__(self, console: Console) -> None:
        self._console, self._stage = console, ""
        self._started = self._latest = time.monotonic()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Print what there is to say."""
        now = time.monotonic()
        begins, ends = stage != self._stage, done >= total
        if begins or ends or now - self._latest > QUIET_S:
            self._latest = now
            self._console.print(f"{now - self._started:8.1f} s  {stage}  {done}/{total}")
        self._stage = "" if ends else stage
