"""What waits for a model, and how its outcome gets back: to a thread that blocks, or to an event loop.

Does not know batches.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from metalearn.data.context import Context
from metalearn.data.episode import Array
from service.inference.runtime import Runtime
from service.observability import stage_timings as stages


@dataclass(eq=False, slots=True)
class ActResult:
    """Actions `[n, a]` or `[n]`, and what they took."""

    actions: Array
    queue_ms: float
    infer_ms: float


class ResultFuture(Protocol):
    """Where the outcome of a request is waited for."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that alone may set its outcome; None for any thread."""
        ...

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits any more."""
        ...

    def set_outcome(self, outcome: Any) -> None:
        """Hand over a result, or an exception to raise."""
        ...


class ThreadFuture:
    """A thread waits."""

    loop = None

    def __init__(self) -> None:
        self.future: Future[Any] = Future()

    @property
    def abandoned(self) -> bool:
        """Whether the thread has given up."""
        return self.future.cancelled()

    def set_outcome(self, outcome: Any) -> None:
        """Wake the thread."""
        with suppress(InvalidStateError):  # it may have given up a moment ago
            if isinstance(outcome, BaseException):
                self.future.set_exception(outcome)
            else:
                self.future.set_result(outcome)


class LoopFuture:
    """A coroutine waits."""

    __slots__ = ("future", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop: asyncio.AbstractEventLoop | None = loop
        self.future: asyncio.Future[Any] = loop.create_future()

    @property
    def abandoned(self) -> bool:
        """Whether the coroutine was cancelled, or answered by a timeout."""
        return self.future.done()

    def set_outcome(self, outcome: Any) -> None:
        """Wake the coroutine. On its loop only."""
        if self.future.done():
            return
        if isinstance(outcome, BaseException):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome)


@dataclass(eq=False, slots=True)
class RequestTimes:
    """`time.perf_counter()` when a request was queued, and when its batch began and ended."""

    queued_s: float = field(default_factory=time.perf_counter)
    began_s: float = 0.0
    ended_s: float = 0.0

    def note(self) -> None:
        """Tell who watches the request."""
        stages.note("queue", self.queued_s, self.began_s)
        stages.note("infer", self.began_s, self.ended_s)


@dataclass(eq=False, slots=True)
class BeliefRequest:
    """A context to encode."""

    runtime: Runtime
    context: Context
    future: ResultFuture
    times: RequestTimes = field(default_factory=RequestTimes)
    n_rows: int = 1


@dataclass(eq=False, slots=True)
class ActRequest:
    """Observations `[n, *o]` to act on, under one conditioning `[c]`."""

    runtime: Runtime
    conditioning: Array
    observations: Array
    future: ResultFuture
    times: RequestTimes = field(default_factory=RequestTimes)

    @property
    def n_rows(self) -> int:
        """Observations in it."""
        return len(self.observations)


Request = BeliefRequest | ActRequest
Outcome = tuple[ResultFuture, Any]


def deliver(outcomes: Iterable[Outcome]) -> None:
    """Set outcomes from any thread; each event loop is woken once, however many outcomes it gets."""
    by_loop: defaultdict[asyncio.AbstractEventLoop, list[Outcome]] = defaultdict(list)
    for future, outcome in outcomes:
        if future.loop is None:
            future.set_outcome(outcome)
        else:
            by_loop[future.loop].append((future, outcome))
    for loop, of_loop in by_loop.items():
        with suppress(RuntimeError):  # the loop is closed, and whoever waited on it is gone
            loop.call_soon_threadsafe(set_outcomes, of_loop)


def set_outcomes(outcomes: Iterable[Outcome]) -> None:
    """Set outcomes on the loop that everybody waits on."""
    for future, outcome in outcomes:
        future.set_outcome(outcome)
