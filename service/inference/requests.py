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
class Acted:
    """Actions `[n, a]` or `[n]`, and what they cost."""

    actions: Array
    queue_ms: float
    infer_ms: float


class Promise(Protocol):
    """Where the outcome of a job is waited for."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that alone may settle it; None for any thread."""
        ...

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits any more."""
        ...

    def settle(self, outcome: Any) -> None:
        """Hand over a result, or an exception to raise."""
        ...


class ThreadPromise:
    """A thread waits."""

    loop = None

    def __init__(self) -> None:
        self.future: Future[Any] = Future()

    @property
    def abandoned(self) -> bool:
        """Whether the thread has given up."""
        return self.future.cancelled()

    def settle(self, outcome: Any) -> None:
        """Wake the thread."""
        with suppress(InvalidStateError):  # it may have given up a moment ago
            if isinstance(outcome, BaseException):
                self.future.set_exception(outcome)
            else:
                self.future.set_result(outcome)


class LoopPromise:
    """A coroutine waits."""

    __slots__ = ("future", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop: asyncio.AbstractEventLoop | None = loop
        self.future: asyncio.Future[Any] = loop.create_future()

    @property
    def abandoned(self) -> bool:
        """Whether the coroutine was cancelled, or answered by a timeout."""
        return self.future.done()

    def settle(self, outcome: Any) -> None:
        """Wake the coroutine. On its loop only."""
        if self.future.done():
            return
        if isinstance(outcome, BaseException):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome)


@dataclass(eq=False, slots=True)
class Times:
    """`time.perf_counter()` when a job was queued, and when the pass that it was in began and ended."""

    queued_s: float = field(default_factory=time.perf_counter)
    began_s: float = 0.0
    ended_s: float = 0.0

    def note(self) -> None:
        """Tell who watches the request."""
        stages.note("queue", self.queued_s, self.began_s)
        stages.note("infer", self.began_s, self.ended_s)


@dataclass(eq=False, slots=True)
class Understand:
    """A context to encode."""

    runtime: Runtime
    context: Context
    done: Promise
    times: Times = field(default_factory=Times)
    n_rows: int = 1


@dataclass(eq=False, slots=True)
class Act:
    """Observations `[n, *o]` to act on, in one stance `[s]`."""

    runtime: Runtime
    stance: Array
    observations: Array
    done: Promise
    times: Times = field(default_factory=Times)

    @property
    def n_rows(self) -> int:
        """Observations in it."""
        return len(self.observations)


Job = Understand | Act
Outcome = tuple[Promise, Any]


def deliver(outcomes: Iterable[Outcome]) -> None:
    """Settle from any thread; each event loop is woken once, however many outcomes it gets."""
    by_loop: defaultdict[asyncio.AbstractEventLoop, list[Outcome]] = defaultdict(list)
    for promise, outcome in outcomes:
        if promise.loop is None:
            promise.settle(outcome)
        else:
            by_loop[promise.loop].append((promise, outcome))
    for loop, of_loop in by_loop.items():
        with suppress(RuntimeError):  # the loop is closed, and whoever waited on it is gone
            loop.call_soon_threadsafe(settle, of_loop)


def settle(outcomes: Iterable[Outcome]) -> None:
    """Settle on the loop that everybody waits on."""
    for promise, outcome in outcomes:
        promise.settle(outcome)
