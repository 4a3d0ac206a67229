"""Requests to a model, and the delivery of their outcomes to a blocked thread or to an event loop.

Does not know batches.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
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
    """Actions `[n, a]` or `[n]`, and their times in milliseconds."""

    actions: Array
    queue_ms: float
    infer_ms: float


class ResultFuture(Protocol):
    """The outcome of a request, for its caller to wait for."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop on which the outcome must be set; None: any thread may set it."""
        ...

    @property
    def abandoned(self) -> bool:
        """True if the caller does not wait any more."""
        ...

    def set_outcome(self, outcome: Any) -> None:
        """Set the result, or the exception that the caller gets."""
        ...

    def when_done(self, callback: Callable[[object], object]) -> None:
        """Call `callback` once there is an outcome, or the caller has given up."""
        ...


class ThreadFuture:
    """A future that a thread waits for."""

    loop = None

    def __init__(self) -> None:
        self.future: Future[Any] = Future()

    @property
    def abandoned(self) -> bool:
        """True if the thread has given up."""
        return self.future.cancelled()

    def when_done(self, callback: Callable[[object], object]) -> None:
        """Call `callback` in the thread that sets the outcome."""
        self.future.add_done_callback(callback)

    def set_outcome(self, outcome: Any) -> None:
        """Wake the thread."""
        with suppress(InvalidStateError):  # it may have given up in the meantime
            if isinstance(outcome, BaseException):
                self.future.set_exception(outcome)
            else:
                self.future.set_result(outcome)


class LoopFuture:
    """A future that a coroutine waits for."""

    __slots__ = ("future", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop: asyncio.AbstractEventLoop | None = loop
        self.future: asyncio.Future[Any] = loop.create_future()

    @property
    def abandoned(self) -> bool:
        """True if the coroutine was cancelled or has timed out."""
        return self.future.done()

    def when_done(self, callback: Callable[[object], object]) -> None:
        """Call `callback` on the loop."""
        self.future.add_done_callback(callback)

    def set_outcome(self, outcome: Any) -> None:
        """Wake the coroutine. Called on its loop only."""
        if self.future.done():
            return
        if isinstance(outcome, BaseException):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome)


class Callback:
    """A function that is called on an event loop with the result or the exception: no coroutine has to wake."""

    __slots__ = ("_call", "_watcher", "abandoned", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, call: Callable[[Any], None]) -> None:
        """`call` must not raise."""
        self.loop: asyncio.AbstractEventLoop | None = loop
        self.abandoned = False
        self._call = call
        self._watcher: Callable[[object], object] | None = None

    def when_done(self, callback: Callable[[object], object]) -> None:
        """Call `callback`, the only one, after the function."""
        self._watcher = callback

    def set_outcome(self, outcome: Any) -> None:
        """Call the function, with the first outcome only. Called on its loop only."""
        if not self.abandoned:
            self.abandoned = True
            self._call(outcome)
            if self._watcher is not None:
                self._watcher(self)


@dataclass(eq=False, slots=True)
class RequestTimes:
    """The `time.perf_counter()` when a request was queued, and when its batch began and ended."""

    queued_s: float = field(default_factory=time.perf_counter)
    began_s: float = 0.0
    ended_s: float = 0.0

    def note(self) -> None:
        """Record the stages of the request."""
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
        """The number of observations."""
        return len(self.observations)


@dataclass(eq=False, slots=True)
class HeadsRequest:
    """Policies, each a latent under a hypothesis, and the steps of an episode: what would they do in it?"""

    runtime: Runtime
    latents: Array
    hypotheses: Array
    observations: Array
    actions: Array
    future: ResultFuture
    times: RequestTimes = field(default_factory=RequestTimes)

    @property
    def n_rows(self) -> int:
        """The number of policies times steps."""
        return len(self.latents) * len(self.actions)


Request = BeliefRequest | ActRequest | HeadsRequest
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
        with suppress(RuntimeError):  # the loop is closed, so nobody waits any more
            loop.call_soon_threadsafe(set_outcomes, of_loop)


def set_outcomes(outcomes: Iterable[Outcome]) -> None:
    """Set outcomes, on the event loop of all their futures."""
    for future, outcome in outcomes:
        future.set_outcome(outcome)
