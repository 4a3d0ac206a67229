"""A training run as seen from a terminal: a bar (or lines, where nobody watches), and signals that stop it well."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from metalearn.training.loop import Event

Listen = Callable[[Event], None]

QUIET_S = 15.0
"""A log that says nothing for longer looks like one of a process that hangs."""


@contextmanager
def watching(console: Console) -> Iterator[Listen]:
    """A listener that draws bars, or that prints lines if the output is a file or the log of a job."""
    if not console.is_terminal:
        yield Lines(console)
        return
    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, console=console) as bars:
        yield Bars(bars)


class Bars:
    """One bar per phase; the phases of a round follow one another on it."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._figures = ""

    def __call__(self, event: Event) -> None:
        """Move the bar of the event's phase."""
        if event.phase not in self._tasks:
            self._tasks[event.phase] = self._bars.add_task(event.phase, total=event.total, figures="")
        self._figures = figures(event) or self._figures
        shown = self._figures if event.phase == "train" else ""
        self._bars.update(self._tasks[event.phase], completed=event.done, total=event.total, figures=shown)


class Lines:
    """One line where there is something to say."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = self._latest = time.monotonic()

    def __call__(self, event: Event) -> None:
        """Print the ends of phases, every look at held-out success, and now and then that work goes on."""
        now = time.monotonic()
        if event.done == event.total or figures(event) or now - self._latest > QUIET_S:
            self._latest = now
            elapsed_s = now - self._started
            line = f"{elapsed_s:6.0f} s  {event.phase:<12}{event.done:>6}/{event.total}  {figures(event)}"
            self._console.print(line.rstrip(), soft_wrap=True, highlight=False)


def figures(event: Event) -> str:
    """Held-out success of trial and retrial; empty where it was not measured."""
    measured = {"trial": event.trial, "retrial": event.retrial}
    return "  ".join(f"{name} {100 * value:.0f}%" for name, value in measured.items() if value is not None)


class StopRequest:
    """Set by the first SIGTERM or SIGINT; a second one ends the process at once."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def asked(self) -> bool:
        """Whether to stop at the next good moment."""
        return self.signal is not None

    def note(self, number: int, _frame: Any) -> None:
        """The signal handler."""
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """While the block runs, SIGTERM and SIGINT ask instead of killing."""
    request = StopRequest()
    before = {number: signal.signal(number, request.note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
