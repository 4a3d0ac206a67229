"""A training run as seen from a terminal: its progress, and signals that stop it at a good moment."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from metalearn.listeners.progress import show_progress, success_in_words
from metalearn.training.events import Event

Listen = Callable[[Event], None]


@contextmanager
def training_progress(console: Console) -> Iterator[Listen]:
    """A listener that shows the progress of a training run while the block runs."""
    with show_progress(console) as show:
        yield lambda event: show(event.phase, event.done, event.total, success_in_words(event.success), event.ends_in_s)


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
