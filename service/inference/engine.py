"""Micro-batches across callers: a bounded queue, a worker thread, and short batches on the event loop.

Requests that wait while a batch runs form the next one. A batch that is known to be faster than handing it to another
thread runs on the event loop: at once for a single request, and otherwise as soon as a turn of the loop brings no
more requests. Everything else runs in the worker.
"""

import asyncio
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, TypeVar

from metalearn.adapter import ActionHeads, Belief
from metalearn.confidence import ConfidenceEstimate
from metalearn.data.context import Context
from metalearn.data.episode import Array
from service.errors import Busy
from service.inference import batches
from service.inference.belief_cache import AdaptedPolicy, BeliefCache, Key
from service.inference.latency import ALONE, LatencyTracker
from service.inference.requests import (
    ActRequest,
    ActResult,
    BeliefRequest,
    Callback,
    HeadsRequest,
    LoopFuture,
    Outcome,
    Request,
    ThreadFuture,
    deliver,
    set_outcomes,
)
from service.inference.runtime import Runtime
from service.observability import stage_timings as stages
from service.observability.metrics import Metrics

R = TypeVar("R", ActRequest, Request)
Estimator = Callable[[Belief, Context], ConfidenceEstimate | None]
_FULL = "too many requests are waiting for the model"
_LATE = "the model did not answer in time"
_CLOSING = "the server is shutting down"
_TURNS = 4
"""The largest number of turns of the event loop between a request and its batch."""


class Engine:
    """Runs models for callers in threads and on event loops."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        queue_size: int,
        batch_rows: int,
        timeout_s: float,
        belief_bytes: int,
        short_pass_s: float,
    ) -> None:
        self._metrics = metrics
        self._belief_s = metrics.infer_s.labels("belief")
        self._found = {known: metrics.beliefs.labels("yes" if known else "no") for known in (True, False)}
        self._queue_size, self._batch_rows, self._timeout_s = queue_size, batch_rows, timeout_s
        self._queue: queue.SimpleQueue[Sequence[Request] | None] = queue.SimpleQueue()
        self._n_waiting, self._counting = 0, threading.Lock()
        self._beliefs = BeliefCache(belief_bytes)
        self._worker = threading.Thread(target=self._work, name="inference", daemon=True)
        self._closed = False
        self._gathering: list[ActRequest] = []  # requests of the event loop for the next batch
        self._n_this_turn = self._n_last_turn = 0  # requests by turn of the event loop
        self._latency = LatencyTracker(short_pass_s)

    def start(self) -> None:
        """Start the worker."""
        self._worker.start()

    def close(self) -> None:
        """Answer the waiting requests, then stop the worker."""
        self._closed = True
        self._queue.put(None)
        self._worker.join()

    @property
    def alive(self) -> bool:
        """True while the worker runs."""
        return self._worker.is_alive() and not self._closed

    def cached(self, key: Key) -> AdaptedPolicy | None:
        """Return the policy adapted to the context with this key if it is in memory, else None. Never blocks."""
        found = self._beliefs.get(key)
        if found is not None:
            self._found[True].inc()
        return found

    def adapt(
        self, key: Key, runtime: Runtime, load: Callable[[], Context], estimate: Estimator | None = None
    ) -> AdaptedPolicy:
        """Return the policy adapted to the context with this key, from memory or by encoding what `load` reads.

        Blocks. `estimate` runs in the thread of the caller, so that it does not delay the worker.

        Raises:
            Busy: the queue is full, or the model took too long.
        """
        found = self.cached(key)
        if found is not None:
            return found
        self._found[False].inc()
        future = ThreadFuture()
        request = BeliefRequest(runtime, load(), future)
        belief = self._await(request, future)
        conditioning = runtime.conditioning(belief, belief.map_hypothesis)
        policy = AdaptedPolicy(belief, conditioning, None if estimate is None else estimate(belief, request.context))
        self._beliefs.put(key, policy)
        return policy

    def infer_belief(self, runtime: Runtime, context: Context) -> Belief:
        """Return the belief of a context that nobody keeps. Blocks. Raises Busy, InvalidData."""
        future = ThreadFuture()
        belief: Belief = self._await(BeliefRequest(runtime, context, future), future)
        return belief

    def heads(
        self, runtime: Runtime, latents: Array, hypotheses: Array, observations: Array, actions: Array
    ) -> ActionHeads:
        """Return what m policies would do at each step of an episode. Blocks. Raises Busy, InvalidData, NoHeads."""
        future = ThreadFuture()
        request = HeadsRequest(runtime, latents, hypotheses, observations, actions, future)
        found: ActionHeads = self._await(request, future)
        return found

    def act(self, runtime: Runtime, conditioning: Array, observations: Array) -> ActResult:
        """Return actions for `[n, *o]` observations. Blocks. Raises Busy."""
        future = ThreadFuture()
        result: ActResult = self._await(ActRequest(runtime, conditioning, observations, future), future)
        return result

    async def act_async(self, runtime: Runtime, conditioning: Array, observations: Array) -> ActResult:
        """Return actions for `[n, *o]` observations, in a batch with other requests of the event loop. Raises Busy."""
        loop = asyncio.get_running_loop()
        future = LoopFuture(loop)
        request = ActRequest(runtime, conditioning, observations, future)
        result = self._act_soon(request, loop)
        if result is None:
            result = await future.future
            request.times.note()
        return result

    def act_soon(
        self, runtime: Runtime, conditioning: Array, observations: Array, call: Callable[[ActResult | Exception], None]
    ) -> ActResult | None:
        """Return actions for `[n, *o]` observations, or None: then `call` gets them, or the error, later.

        Runs on the event loop and never blocks. `call` must not raise.

        Raises:
            Busy: the queue is full.
        """
        loop = asyncio.get_running_loop()
        return self._act_soon(ActRequest(runtime, conditioning, observations, Callback(loop, call)), loop)

    def _act_soon(self, request: ActRequest, loop: asyncio.AbstractEventLoop) -> ActResult | None:
        """Run a single request at once, or gather it for the next batch."""
        if self._closed:
            raise Busy(_CLOSING)
        if len(self._gathering) + self._n_waiting >= self._queue_size:
            raise Busy(_FULL)
        self._n_this_turn += 1
        if self._n_this_turn == 1:
            loop.call_soon(self._end_turn)
            if (
                self._n_last_turn <= 1
                and self._n_waiting == 0
                and self._latency.is_short(request.runtime, request.n_rows, patience=ALONE)
            ):
                return self._act_alone(request.runtime, request.conditioning, request.observations, loop)
        if not self._gathering:
            loop.call_soon(self._dispatch, loop, 1, _TURNS)
        self._gathering.append(request)
        return None

    def _end_turn(self) -> None:
        self._n_last_turn, self._n_this_turn = self._n_this_turn, 0

    def _act_alone(
        self, runtime: Runtime, conditioning: Array, observations: Array, loop: asyncio.AbstractEventLoop
    ) -> ActResult:
        """Run the model at once, for a single request, and count it when the answer is on its way."""
        began_s = time.perf_counter()
        actions = runtime.act(batches.repeated(conditioning, len(observations)), observations)
        ended_s = time.perf_counter()
        if not batches.finite(actions):
            raise batches.overflow("observations")
        loop.call_soon(self._count, runtime, len(observations), ended_s - began_s)
        stages.note("infer", began_s, ended_s)
        return ActResult(actions, 0.0, (ended_s - began_s) * 1e3)

    @property
    def n_waiting(self) -> int:
        """The number of requests that wait for the worker."""
        return self._n_waiting

    @property
    def adaptations(self) -> set[str]:
        """The adaptations with policies in memory."""
        return self._beliefs.adaptations

    @property
    def belief_bytes(self) -> int:
        """The size of the adapted policies in memory, in bytes."""
        return self._beliefs.n_bytes

    def evict(self, adaptation_id: str) -> None:
        """Drop every policy of an adaptation from memory."""
        self._beliefs.evict(adaptation_id)

    def _await(self, request: Request, future: ThreadFuture) -> Any:
        if self._closed:
            raise Busy(_CLOSING)
        if not self._enqueue([request]):
            raise Busy(_FULL)
        try:
            answer = future.future.result(self._timeout_s)
        except FutureTimeoutError as error:
            future.future.cancel()
            raise Busy(_LATE) from error
        request.times.note()
        return answer

    def _enqueue(self, requests: Sequence[Request]) -> bool:
        """Queue requests for the worker; return False if the queue has no room for all of them."""
        with self._counting:
            if self._n_waiting + len(requests) > self._queue_size:
                return False
            self._n_waiting += len(requests)
        self._queue.put(requests)
        return True

    def _dispatch(self, loop: asyncio.AbstractEventLoop, n_before: int, n_turns: int) -> None:
        """Run the gathered requests here if that is faster than waking the worker, else queue them.

        While every turn of the loop brings more requests, they wait for each other; a single one does not wait.
        """
        if len(self._gathering) > n_before and n_turns > 0:
            loop.call_soon(self._dispatch, loop, len(self._gathering), n_turns - 1)
            return
        requests, self._gathering = self._gathering, []
        idle = self._n_waiting == 0
        for runtime, acts in _by_runtime(requests).items():
            if idle and self._latency.is_short(runtime, sum(request.n_rows for request in acts), len(acts)):
                set_outcomes(self._act(runtime, acts))
            elif self._enqueue(acts):
                _set_timeout(self._timeout_s, acts, loop)
            else:
                set_outcomes((request.future, Busy(_FULL)) for request in acts)

    def _work(self) -> None:
        closing = False
        while not closing:
            requests, closing = self._take()
            for runtime, group in _by_runtime(requests).items():
                deliver(
                    self._infer_beliefs(runtime, [request for request in group if isinstance(request, BeliefRequest)])
                )
                for acts in _parts([request for request in group if isinstance(request, ActRequest)], self._batch_rows):
                    deliver(self._act(runtime, acts))
                for request in group:
                    if isinstance(request, HeadsRequest):
                        deliver([batches.heads(request)])
        self._refuse_rest()

    def _take(self) -> tuple[list[Request], bool]:
        """Wait for requests and return all that are queued, up to a full batch, and True if the engine closes."""
        requests: list[Request] = []
        n_rows = 0
        some = self._queue.get()
        while some is not None:
            requests += some
            n_rows += sum(request.n_rows for request in some)
            if n_rows >= self._batch_rows:
                break
            try:
                some = self._queue.get_nowait()
            except queue.Empty:
                break
        with self._counting:
            self._n_waiting -= len(requests)
        self._metrics.queue.set(self._n_waiting)
        return requests, some is None

    def _infer_beliefs(self, runtime: Runtime, requests: Sequence[BeliefRequest]) -> list[Outcome]:
        if not requests:
            return []
        with self._belief_s.time():
            return batches.infer_beliefs(runtime, requests)

    def _act(self, runtime: Runtime, requests: Sequence[ActRequest]) -> list[Outcome]:
        if not requests:
            return []
        started_s = time.perf_counter()
        outcomes = batches.act(runtime, requests)
        self._count(runtime, sum(request.n_rows for request in requests), time.perf_counter() - started_s)
        return outcomes

    def _count(self, runtime: Runtime, n_rows: int, taken_s: float) -> None:
        self._latency.record(runtime, n_rows, taken_s)
        self._metrics.passed(n_rows, taken_s)

    def _refuse_rest(self) -> None:
        """Refuse requests that were queued after the end, which would otherwise wait for the timeout."""
        while not self._queue.empty():
            deliver([(request.future, Busy(_CLOSING)) for request in self._queue.get_nowait() or ()])


def _set_timeout(timeout_s: float, requests: Sequence[Request], loop: asyncio.AbstractEventLoop) -> None:
    """Fail the requests that are not answered in time, with one timer for all of them."""
    left = len(requests)

    def one_less(_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            timer.cancel()

    timer = loop.call_later(timeout_s, lambda: set_outcomes((request.future, Busy(_LATE)) for request in requests))
    for request in requests:
        request.future.when_done(one_less)


def _parts(requests: Sequence[ActRequest], n_rows: int) -> Iterator[list[ActRequest]]:
    """Split requests, in order, into parts of at most `n_rows` rows or of a single request."""
    part: list[ActRequest] = []
    n = 0
    for request in requests:
        if part and n + request.n_rows > n_rows:
            yield part
            part, n = [], 0
        part.append(request)
        n += request.n_rows
    if part:
        yield part


def _by_runtime(requests: Sequence[R]) -> dict[Runtime, list[R]]:
    """Group the requests that are not abandoned."""
    groups: defaultdict[Runtime, list[R]] = defaultdict(list)
    for request in requests:
        if not request.future.abandoned:
            groups[request.runtime].append(request)
    return groups
