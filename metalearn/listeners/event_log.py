"""The event log of a training run: JSON lines in its folder, from its start to its end, for machines to read.

A resumed run appends to the same file. Other processes read it to follow the run: `docs/jobs.md` describes the lines.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from metalearn.config import EVENT_LOG
from metalearn.data.errors import WatchTryLearnError
from metalearn.training.events import Event, Stopped

_PAUSE_S = 0.5
_LONGEST_DETAIL = 500


class EventLog:
    """Appends the lines of one run. Frequent progress is thinned out, unless an event carries a measurement."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._phase, self._written_s = "", 0.0

    def __call__(self, event: Event) -> None:
        """Append a progress line, unless the last one was a moment ago."""
        now_s = time.monotonic()
        telling = event.phase != self._phase or event.done == event.total or event.success != ()
        if telling or now_s - self._written_s >= _PAUSE_S:
            self._phase, self._written_s = event.phase, now_s
            self.write("progress", **event.to_json())

    def write(self, kind: str, **fields: Any) -> None:
        """Append one line in one write."""
        line = json.dumps({"kind": kind, "at": round(time.time(), 3), **fields})
        with self._file.open("a") as file:
            file.write(line + "\n")


@contextmanager
def event_log(folder: Path) -> Iterator[EventLog]:
    """Log in `folder` that a run started, and how it ended: finished, stopped, or failed and why."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = EventLog(folder / EVENT_LOG)
    lines.write("started", pid=os.getpid())
    try:
        yield lines
    except Stopped as stopped:
        lines.write("stopped", detail=str(stopped))
        raise
    except (KeyboardInterrupt, SystemExit):
        lines.write("stopped", detail="interrupted")
        raise
    except BaseException as error:
        lines.write("failed", detail=_sentence(error))
        raise
    lines.write("finished")


def _sentence(error: BaseException) -> str:
    text = " ".join(str(error).split())[:_LONGEST_DETAIL]
    return text if isinstance(error, WatchTryLearnError) and text else f"{type(error).__name__}: {text}".rstrip(": ")
