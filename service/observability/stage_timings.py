"""Where the time of one request goes: decode, queue, infer, encode, storage. Metrics and traces show it.

Whoever does the work notes it; a request without a watcher costs one look-up. Does not know HTTP or Prometheus.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal, get_args

from opentelemetry.trace import Tracer
from sqlalchemy import Engine, event

Stage = Literal["decode", "queue", "infer", "encode", "storage"]
STAGES: tuple[Stage, ...] = get_args(Stage)


@dataclass(eq=False)
class StageTimings:
    """Seconds per stage of one request; and a tracer, if somebody wants spans."""

    tracer: Tracer | None = None
    spent_s: dict[Stage, float] = field(default_factory=dict)

    def add(self, stage: Stage, started_s: float, ended_s: float) -> None:
        """Note a piece of work by its `time.perf_counter()` at either end."""
        self.spent_s[stage] = self.spent_s.get(stage, 0.0) + ended_s - started_s
        if self.tracer is not None:
            offset_ns = time.time_ns() - time.perf_counter_ns()
            span = self.tracer.start_span(stage, start_time=int(started_s * 1e9) + offset_ns)
            span.end(int(ended_s * 1e9) + offset_ns)


_current: ContextVar[StageTimings | None] = ContextVar("stages", default=None)


@contextmanager
def recording_stages(stages: StageTimings | None) -> Iterator[None]:
    """What this context, and the threads that it sends work to, note meanwhile goes to `stages`; None: nowhere."""
    token = _current.set(stages)
    try:
        yield
    finally:
        _current.reset(token)


def note(stage: Stage, started_s: float, ended_s: float) -> None:
    """Note a piece of work that is done, by its `time.perf_counter()` at either end."""
    stages = _current.get()
    if stages is not None:
        stages.add(stage, started_s, ended_s)


@contextmanager
def stage(name: Stage) -> Iterator[None]:
    """Note what is done in the block."""
    started_s = time.perf_counter()
    try:
        yield
    finally:
        note(name, started_s, time.perf_counter())


def note_storage(database: Engine) -> None:
    """Note how long requests hold a connection of `database`, the commit and its fsync included."""

    @event.listens_for(database, "checkout")
    def begin(_: object, record: object, __: object) -> None:
        record.info["taken_s"] = time.perf_counter()  # type: ignore[attr-defined]

    @event.listens_for(database, "checkin")
    def end(_: object, record: object) -> None:
        taken_s = record.info.pop("taken_s", None)  # type: ignore[attr-defined]
        if taken_s is not None:
            note("storage", taken_s, time.perf_counter())
