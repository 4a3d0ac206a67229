"""Inference off the event loop: a runtime per model, one worker thread, micro-batches across sessions.

Whatever waits while the worker computes goes into its next pass; nothing waits for company.
Does not know HTTP, storage or where models come from. torch lives in `TorchRuntime` alone.
"""

import queue
import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from jaxtyping import Float32, Int64, Shaped

from metalearn.adapter import Belief
from metalearn.bundle import Bundle
from metalearn.confidence import Judgement
from metalearn.data.context import Context
from metalearn.data.episode import Array
from metalearn.data.errors import InvalidConfig, InvalidData
from service.errors import Busy
from service.metrics import Metrics
from service.stages import note

if TYPE_CHECKING:
    from metalearn.model.inference import Inference


class Runtime(Protocol):
    """A loaded model: numpy in, numpy out. Called from the engine's worker thread only."""

    def believe(self, contexts: Sequence[Context]) -> list[Belief]:
        """What the model makes of each context."""
        ...

    def after(
        self, belief: Belief, observations: Shaped[np.ndarray, "n *o"], actions: Shaped[np.ndarray, "t *a"]
    ) -> Belief:
        """The belief in the midst of an episode, after these steps of it. Cheap; called from any thread."""
        ...

    def act(
        self,
        codes: Float32[np.ndarray, "b d"],
        hypotheses: Int64[np.ndarray, " b"],
        observations: Shaped[np.ndarray, "b *o"],
    ) -> Shaped[np.ndarray, "b *a"]:
        """The action of each row under its hypothesis."""
        ...


Answer = TypeVar("Answer")
RuntimeFactory = Callable[[Bundle], Runtime]
Judge = Callable[[Belief, Context], Judgement]


@dataclass(frozen=True, eq=False)
class Understood:
    """What a model makes of a context, and how far that can be trusted (None: the model cannot say)."""

    belief: Belief
    judgement: Judgement | None


class TorchRuntime:
    """The policy in PyTorch."""

    def __init__(self, inference: "Inference") -> None:
        self._inference = inference

    @classmethod
    def load(cls, bundle: Bundle) -> "TorchRuntime":
        """The policy of a bundle. Raises InvalidConfig."""
        from metalearn.model.inference import Inference  # the service starts without torch

        try:
            return cls(Inference.load(bundle))
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            sentence = " ".join(str(error).split())[:200]
            raise InvalidConfig(
                f"bundle {bundle.name}: its weights do not fit its configuration: {sentence}"
            ) from error

    def believe(self, contexts: Sequence[Context]) -> list[Belief]:
        """What the policy makes of each context."""
        return self._inference.believe(contexts)

    def after(
        self, belief: Belief, observations: Shaped[np.ndarray, "n *o"], actions: Shaped[np.ndarray, "t *a"]
    ) -> Belief:
        """The belief in the midst of an episode, after these steps of it."""
        return self._inference.after(belief, observations, actions)

    def act(
        self,
        codes: Float32[np.ndarray, "b d"],
        hypotheses: Int64[np.ndarray, " b"],
        observations: Shaped[np.ndarray, "b *o"],
    ) -> Shaped[np.ndarray, "b *a"]:
        """The action of each row under its hypothesis."""
        return self._inference.act(codes, hypotheses, observations)


@dataclass(frozen=True, eq=False)
class Acted:
    """Actions `[n, a]` or `[n]`, and what they cost."""

    actions: Array
    queue_ms: float
    infer_ms: float


@dataclass(eq=False)
class _Times:
    """`time.perf_counter()` when a job was queued, and when the pass that it was in began and ended."""

    queued_s: float = field(default_factory=time.perf_counter)
    began_s: float = 0.0
    ended_s: float = 0.0


@dataclass(frozen=True, eq=False)
class _Understand:
    runtime: Runtime
    context: Context
    times: _Times = field(default_factory=_Times)
    done: "Future[Belief]" = field(default_factory=Future)


@dataclass(frozen=True, eq=False)
class _Act:
    runtime: Runtime
    belief: Belief
    hypothesis: int
    observations: Array
    times: _Times = field(default_factory=_Times)
    done: "Future[Acted]" = field(default_factory=Future)


class Engine:
    """A bounded queue, a worker thread, and a memory of understood contexts."""

    def __init__(self, metrics: Metrics, *, queue_size: int, batch_rows: int, timeout_s: float, n_beliefs: int) -> None:
        self._metrics = metrics
        self._batch_rows, self._timeout_s, self._n_beliefs = batch_rows, timeout_s, n_beliefs
        self._queue: queue.Queue[_Understand | _Act | None] = queue.Queue(queue_size)
        self._beliefs: OrderedDict[tuple[str, int], Understood] = OrderedDict()
        self._beliefs_lock = threading.Lock()
        self._worker = threading.Thread(target=self._work, name="inference", daemon=True)
        self._closed = False

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

    def understand(
        self, key: tuple[str, int], runtime: Runtime, load: Callable[[], Context], judge: Judge | None = None
    ) -> Understood:
        """The context with this key, from memory or by encoding what `load` reads.

        `judge` runs in the caller's thread: the worker has others to answer.

        Raises:
            Busy: the queue is full, or the answer took too long.
        """
        with self._beliefs_lock:
            found = self._beliefs.get(key)
            if found is not None:
                self._beliefs.move_to_end(key)
        self._metrics.beliefs.labels("no" if found is None else "yes").inc()
        if found is not None:
            return found
        job = _Understand(runtime, load())
        belief = self._answer(job, job.done)
        understood = Understood(belief, None if judge is None else judge(belief, job.context))
        with self._beliefs_lock:
            self._beliefs[key] = understood
            while len(self._beliefs) > self._n_beliefs:
                self._beliefs.popitem(last=False)
        return understood

    def act(self, runtime: Runtime, belief: Belief, hypothesis: int, observations: Array) -> Acted:
        """The actions for `[n, *o]` observations. Raises Busy."""
        job = _Act(runtime, belief, hypothesis, observations)
        return self._answer(job, job.done)

    def forget(self, adaptation_id: str) -> None:
        """Drop every belief of an adaptation."""
        with self._beliefs_lock:
            for key in [key for key in self._beliefs if key[0] == adaptation_id]:
                del self._beliefs[key]

    def _answer(self, job: "_Understand | _Act", done: "Future[Answer]") -> Answer:
        if self._closed:
            raise Busy("the server is shutting down")
        try:
            self._queue.put_nowait(job)
        except queue.Full as error:
            raise Busy("too many requests are waiting for the model") from error
        try:
            answer = done.result(self._timeout_s)
        except FutureTimeoutError as error:
            done.cancel()
            raise Busy("the model did not answer in time") from error
        note("queue", job.times.queued_s, job.times.began_s)
        note("infer", job.times.began_s, job.times.ended_s)
        return answer

    def _work(self) -> None:
        closing = False
        while not closing:
            jobs, closing = self._take()
            by_runtime: defaultdict[Runtime, list[_Understand | _Act]] = defaultdict(list)
            for job in jobs:
                if job.done.set_running_or_notify_cancel():
                    by_runtime[job.runtime].append(job)
            for runtime, group in by_runtime.items():
                self._understand(runtime, [job for job in group if isinstance(job, _Understand)])
                self._act(runtime, [job for job in group if isinstance(job, _Act)])
        self._turn_away()

    def _take(self) -> tuple[list[_Understand | _Act], bool]:
        """Wait for a job, and take along what is there already; and whether those are the last."""
        jobs: list[_Understand | _Act] = []
        n_rows = 0
        job = self._queue.get()
        while job is not None:
            jobs.append(job)
            n_rows += len(job.observations) if isinstance(job, _Act) else 1
            if n_rows >= self._batch_rows:
                break
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                break
        self._metrics.queue.set(self._queue.qsize())
        return jobs, job is None

    def _understand(self, runtime: Runtime, jobs: Sequence[_Understand]) -> None:
        if not jobs:
            return
        began_s = time.perf_counter()
        try:
            beliefs = runtime.believe([job.context for job in jobs])
        except Exception as error:
            if len(jobs) > 1:  # one bad context is no reason to fail its neighbours
                for job in jobs:
                    self._understand(runtime, [job])
            else:
                jobs[0].done.set_exception(error)
            return
        ended_s = time.perf_counter()
        self._metrics.infer_s.labels("believe").observe(ended_s - began_s)
        for job, belief in zip(jobs, beliefs, strict=True):
            job.times.began_s, job.times.ended_s = began_s, ended_s
            if np.isfinite(belief.code).all() and np.isfinite(belief.probabilities).all():
                job.done.set_result(belief)
            else:
                job.done.set_exception(InvalidData("episodes", "numbers that the model can bear", "an overflow in it"))

    def _act(self, runtime: Runtime, jobs: Sequence[_Act]) -> None:
        if not jobs:
            return
        started_s = time.perf_counter()
        n_rows = [len(job.observations) for job in jobs]
        try:
            actions = runtime.act(
                np.repeat(np.stack([job.belief.code for job in jobs]), n_rows, axis=0),
                np.repeat(np.array([job.hypothesis for job in jobs], np.int64), n_rows),
                np.concatenate([job.observations for job in jobs]),
            )
        except Exception as error:
            for job in jobs:
                job.done.set_exception(error)
            return
        ended_s = time.perf_counter()
        infer_s = ended_s - started_s
        self._metrics.infer_s.labels("act").observe(infer_s)
        self._metrics.batch_rows.observe(sum(n_rows))
        for job, rows in zip(jobs, np.split(actions, np.cumsum(n_rows)[:-1]), strict=True):
            job.times.began_s, job.times.ended_s = started_s, ended_s
            if np.isfinite(rows).all():
                job.done.set_result(Acted(rows, (started_s - job.times.queued_s) * 1e3, infer_s * 1e3))
            else:
                job.done.set_exception(
                    InvalidData("observations", "numbers that the model can bear", "an overflow in it")
                )

    def _turn_away(self) -> None:
        """Whoever slipped in behind the end of the queue is told so, instead of waiting for nobody."""
        while not self._queue.empty():
            job = self._queue.get_nowait()
            if job is not None and job.done.set_running_or_notify_cancel():
                job.done.set_exception(Busy("the server is shutting down"))
