"""Durations of the stages of a request: decode, queue, infer, encode, storage. Shown in metrics and traces.

The code of a stage records it. Without a recorder that costs one look-up. Knows neither HTTP nor Prometheus.
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
    """Seconds per stage of one request, and optionally a tracer that makes a span of each."""

    tracer: Tracer | None = None
    spent_s: dict[Stage, float] = field(default_factory=dict)

    def add(self, stage: Stage, started_s: float, ended_s: float) -> None:
        """Add a piece of work, from its `time.perf_counter()` at both ends."""
        self.spent_s[stage] = self.spent_s.get(stage, 0.0) + ended_s - started_s
        if self.tracer is not None:
            offset_ns = time.time_ns() - time.perf_counter_ns()
            span = self.tracer.start_span(stage, start_time=int(started_s * 1e9) + offset_ns)
            span.end(int(ended_s * 1e9) + offset_ns)


_current: ContextVar[StageTimings | None] = ContextVar("stages", default=None)


@contextmanager
def recording_stages(stages: StageTimings | None) -> Iterator[None]:
    """Record the stages of this context, and of threads that it starts work in, in `stages`; None: record nothing."""
    token = _current.set(stages)
    try:
        yield
    finally:
        _current.reset(token)


def note(stage: Stage, started_s: float, ended_s: float) -> None:
    """Record a piece of work, from its `time.perf_counter()` at both ends."""
    stages = _current.get()
    if stages is not None:
        stages.add(stage, started_s, ended_s)


@contextmanager
def stage(name: Stage) -> Iterator[None]:
    """Record the duration of the block."""
    started_s = time.perf_counter()
    try:
        yield
    finally:
        note(name, started_s, time.perf_counter())


def note_storage(database: Engine) -> None:
    """Record how long requests hold a connection of `database`, including the commit and its fsync."""

    @event.listens_for(database, "checkout")
    def begin(_: object, record: object, __: object) -> None:
        record.info["taken_s"] = time.perf_counter()  # type: ignore[attr-defined]

    @event.listens_for(database, "checkin")
    def end(_: object, record: object) -> None:
        taken_s = record.info.pop("taken_s", None)  # type: ignore[attr-defined]
        if taken_s is not None:
            note("storage", taken_s, time.perf_counter())
