"""Micro-batches across sessions: a bounded queue, a worker thread, and short passes where they are asked for.

Whatever waits while a pass runs goes into the next one. A pass that is known to be shorter than a change of threads
runs on the event loop that asked, for all that came in while every turn of the loop brought more, and at once for one
that is alone; everything else runs in the worker.
"""

import asyncio
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, TypeVar

from metalearn.adapter import Belief
from metalearn.confidence import Judgement
from metalearn.data.context import Context
from metalearn.data.episode import Array
from service.errors import Busy
from service.inference import batches as passes
from service.inference.belief_cache import Beliefs, Key, Understood
from service.inference.latency import Durations
from service.inference.requests import Act, Acted, Job, LoopPromise, Outcome, ThreadPromise, Understand, deliver, settle
from service.inference.runtime import Runtime
from service.observability import stage_timings as stages
from service.observability.metrics import Metrics

J = TypeVar("J", Act, Job)
Judge = Callable[[Belief, Context], Judgement]
_FULL = "too many requests are waiting for the model"
_LATE = "the model did not answer in time"
_CLOSING = "the server is shutting down"
_TURNS = 4
"""Of the event loop, at most so many between a question and its pass."""


class Engine:
    """Models are asked here, from threads and from event loops."""

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
        self._believe_s = metrics.infer_s.labels("believe")
        self._found = {known: metrics.beliefs.labels("yes" if known else "no") for known in (True, False)}
        self._queue_size, self._batch_rows, self._timeout_s = queue_size, batch_rows, timeout_s
        self._queue: queue.SimpleQueue[Sequence[Job] | None] = queue.SimpleQueue()
        self._n_waiting, self._counting = 0, threading.Lock()
        self._beliefs = Beliefs(belief_bytes)
        self._worker = threading.Thread(target=self._work, name="inference", daemon=True)
        self._closed = False
        self._gathering: list[Act] = []  # of the event loop: what it asked for
        self._n_this_turn = self._n_last_turn = 0  # how much of it
        self._durations = Durations(short_pass_s)

    def start(self) -> None:
        """Begin to answer."""
        self._worker.start()

    def close(self) -> None:
        """Answer what waits, then stop."""
        self._closed = True
        self._queue.put(None)
        self._worker.join()

    @property
    def alive(self) -> bool:
        """Whether it answers."""
        return self._worker.is_alive() and not self._closed

    def recall(self, key: Key) -> Understood | None:
        """The context with this key, if it is in memory. Never waits."""
        found = self._beliefs.get(key)
        if found is not None:
            self._found[True].inc()
        return found

    def understand(
        self, key: Key, runtime: Runtime, load: Callable[[], Context], judge: Judge | None = None
    ) -> Understood:
        """The context with this key, from memory or by encoding what `load` reads. Blocks.

        `judge` runs in the caller's thread: the worker has others to answer.

        Raises:
            Busy: the queue is full, or the answer took too long.
        """
        found = self.recall(key)
        if found is not None:
            return found
        self._found[False].inc()
        promise = ThreadPromise()
        job = Understand(runtime, load(), promise)
        belief = self._await(job, promise)
        stance = runtime.stance(belief, belief.most_probable)
        understood = Understood(belief, stance, None if judge is None else judge(belief, job.context))
        self._beliefs.put(key, understood)
        return understood

    def act(self, runtime: Runtime, stance: Array, observations: Array) -> Acted:
        """The actions for `[n, *o]` observations. Blocks. Raises Busy."""
        promise = ThreadPromise()
        acted: Acted = self._await(Act(runtime, stance, observations, promise), promise)
        return acted

    async def act_soon(self, runtime: Runtime, stance: Array, observations: Array) -> Acted:
        """The same, for a coroutine: together with all that its event loop asks for in this turn. Raises Busy."""
        if self._closed:
            raise Busy(_CLOSING)
        if len(self._gathering) + self._n_waiting >= self._queue_size:
            raise Busy(_FULL)
        loop = asyncio.get_running_loop()
        self._n_this_turn += 1
        if self._n_this_turn == 1:
            loop.call_soon(self._turn)
            if self._n_last_turn <= 1 and self._n_waiting == 0 and self._durations.short(runtime, len(observations)):
                return self._act_alone(runtime, stance, observations)
        promise = LoopPromise(loop)
        if not self._gathering:
            loop.call_soon(self._dispatch, loop, 1, _TURNS)
        job = Act(runtime, stance, observations, promise)
        self._gathering.append(job)
        acted: Acted = await promise.future
        job.times.note()
        return acted

    def _turn(self) -> None:
        """Of the event loop."""
        self._n_last_turn, self._n_this_turn = self._n_this_turn, 0

    def _act_alone(self, runtime: Runtime, stance: Array, observations: Array) -> Acted:
        """At once, for one of whom there seems to be no other."""
        began_s = time.perf_counter()
        actions = runtime.act(passes.repeated(stance, len(observations)), observations)
        ended_s = time.perf_counter()
        if not passes.finite(actions):
            raise passes.overflow("observations")
        self._count(runtime, len(observations), ended_s - began_s)
        stages.note("infer", began_s, ended_s)
        return Acted(actions, 0.0, (ended_s - began_s) * 1e3)

    @property
    def n_waiting(self) -> int:
        """Jobs that the worker has not begun with."""
        return self._n_waiting

    @property
    def adaptations(self) -> set[str]:
        """Those that it has beliefs of in memory."""
        return self._beliefs.adaptations

    @property
    def belief_bytes(self) -> int:
        """What understood contexts take in memory."""
        return self._beliefs.n_bytes

    def forget(self, adaptation_id: str) -> None:
        """Drop every belief of an adaptation."""
        self._beliefs.forget(adaptation_id)

    def _await(self, job: Job, promise: ThreadPromise) -> Any:
        if self._closed:
            raise Busy(_CLOSING)
        if not self._enqueue([job]):
            raise Busy(_FULL)
        try:
            answer = promise.future.result(self._timeout_s)
        except FutureTimeoutError as error:
            promise.future.cancel()
            raise Busy(_LATE) from error
        job.times.note()
        return answer

    def _enqueue(self, jobs: Sequence[Job]) -> bool:
        """Give them to the worker, if there is room for all of them."""
        with self._counting:
            if self._n_waiting + len(jobs) > self._queue_size:
                return False
            self._n_waiting += len(jobs)
        self._queue.put(jobs)
        return True

    def _dispatch(self, loop: asyncio.AbstractEventLoop, n_before: int, n_turns: int) -> None:
        """What the loop has asked for: at once where that is shorter than waking the worker.

        As long as every turn of the loop brings more, what has come waits for it; a single one waits for nobody.
        """
        if len(self._gathering) > n_before and n_turns > 0:
            loop.call_soon(self._dispatch, loop, len(self._gathering), n_turns - 1)
            return
        jobs, self._gathering = self._gathering, []
        idle = self._n_waiting == 0
        for runtime, acts in _by_runtime(jobs).items():
            if idle and self._durations.short(runtime, sum(job.n_rows for job in acts), len(acts)):
                settle(self._act(runtime, acts))
            elif self._enqueue(acts):
                _give_up_after(self._timeout_s, acts, loop)
            else:
                settle((job.done, Busy(_FULL)) for job in acts)

    def _work(self) -> None:
        closing = False
        while not closing:
            jobs, closing = self._take()
            for runtime, group in _by_runtime(jobs).items():
                deliver(self._understand(runtime, [job for job in group if isinstance(job, Understand)]))
                for acts in _parts([job for job in group if isinstance(job, Act)], self._batch_rows):
                    deliver(self._act(runtime, acts))
        self._turn_away()

    def _take(self) -> tuple[list[Job], bool]:
        """Wait for jobs, and take along what is there already; and whether those are the last."""
        jobs: list[Job] = []
        n_rows = 0
        some = self._queue.get()
        while some is not None:
            jobs += some
            n_rows += sum(job.n_rows for job in some)
            if n_rows >= self._batch_rows:
                break
            try:
                some = self._queue.get_nowait()
            except queue.Empty:
                break
        with self._counting:
            self._n_waiting -= len(jobs)
        self._metrics.queue.set(self._n_waiting)
        return jobs, some is None

    def _understand(self, runtime: Runtime, jobs: Sequence[Understand]) -> list[Outcome]:
        if not jobs:
            return []
        with self._believe_s.time():
            return passes.understand(runtime, jobs)

    def _act(self, runtime: Runtime, jobs: Sequence[Act]) -> list[Outcome]:
        if not jobs:
            return []
        started_s = time.perf_counter()
        outcomes = passes.act(runtime, jobs)
        self._count(runtime, sum(job.n_rows for job in jobs), time.perf_counter() - started_s)
        return outcomes

    def _count(self, runtime: Runtime, n_rows: int, taken_s: float) -> None:
        self._durations.note(runtime, n_rows, taken_s)
        self._metrics.passed(n_rows, taken_s)

    def _turn_away(self) -> None:
        """Whoever slipped in behind the end of the queue is told so, instead of waiting for nobody."""
        while not self._queue.empty():
            deliver([(job.done, Busy(_CLOSING)) for job in self._queue.get_nowait() or ()])


def _give_up_after(timeout_s: float, jobs: Sequence[Job], loop: asyncio.AbstractEventLoop) -> None:
    """Tell those that are not answered by then that it is too late. One timer for all of them."""
    left = len(jobs)

    def one_less(_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            timer.cancel()

    timer = loop.call_later(timeout_s, lambda: settle((job.done, Busy(_LATE)) for job in jobs))
    for job in jobs:
        if isinstance(job.done, LoopPromise):
            job.done.future.add_done_callback(one_less)


def _parts(jobs: Sequence[Act], n_rows: int) -> Iterator[list[Act]]:
    """In order, each of no more than so many rows, or of a single job."""
    part: list[Act] = []
    n = 0
    for job in jobs:
        if part and n + job.n_rows > n_rows:
            yield part
            part, n = [], 0
        part.append(job)
        n += job.n_rows
    if part:
        yield part


def _by_runtime(jobs: Sequence[J]) -> dict[Runtime, list[J]]:
    """Those that somebody still waits for."""
    groups: defaultdict[Runtime, list[J]] = defaultdict(list)
    for job in jobs:
        if not job.done.abandoned:
            groups[job.runtime].append(job)
    return groups
