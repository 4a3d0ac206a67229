"""A collector that runs functions in Ray actors (see `metalearn.training.collect` for those of one machine).

An actor that dies, alone or with its machine, is replaced, and its items are done again by another. Results come
through the object store, a bounded number at a time: an item is dispatched after a result was received. Does not
know what the functions do.
"""

import copy
import logging
import os
import sys
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from metalearn.cluster.connection import HeadMonitor, connect
from metalearn.data.errors import WatchTryLearnError

T = TypeVar("T")
R = TypeVar("R")

ATTEMPTS_PER_ITEM = 4
"""An item during which so many workers died is taken for the cause."""
IN_FLIGHT = 2
"""Items that an actor has at a time: the one it works on, and the next, so that it does not wait for the driver."""
PATIENCE_S = 600.0
"""Seconds that the cluster may have no free CPU for any actor."""
TICK_S = 1.0

log = logging.getLogger(__name__)


class WorkersLost(WatchTryLearnError):
    """Work that could not be done although it was tried again."""


class RayCollector:
    """In `n_actors` Ray actors of one CPU and one thread each; None: one for each CPU of the cluster but `spare`.

    Joins the cluster at `address`, or the one that a Ray job or `ray start` on this machine provides, or
    starts one for as long as the collector lives ("local": always). The actors come with the first work.

    Attributes:
        counts: chunks taken in, and actors lost.

    Raises:
        InvalidConfig: no cluster answers at `address`.
    """

    def __init__(self, address: str | None = None, n_actors: int | None = None, spare: int = 0) -> None:
        self._joined = connect(address, (n_actors or 1) + spare)
        self._head = HeadMonitor.joined()
        self.n_actors = n_actors or max(1, int(ray.cluster_resources().get("CPU", 1)) - spare)
        self.counts: Counter[str] = Counter()
        self._actor = ray.remote(num_cpus=1, max_restarts=0, scheduling_strategy="SPREAD")(_Worker)
        self._slots: list[_WorkerSlot] = []
        self._starting: dict[Any, _WorkerSlot] = {}
        self._in_flight: dict[Any, tuple[weakref.ref[_Results[Any]], int, _WorkerSlot]] = {}
        self._maps: list[weakref.ref[_Results[Any]]] = []
        self._last_progress_s = time.monotonic()

    def map(self, function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """Yield `function(item)` for each item, in order. Newer work comes first.

        What `function` raises is raised here.

        Raises:
            WorkersLost: an item whose workers died, one after the other, or no place for any worker.
            ClusterLost: the head does not answer any more.
        """
        results: _Results[R] = _Results(self, ray.put(function), list(items))
        self._maps.append(weakref.ref(results))
        while len(self._slots) < self.n_actors:
            self._slots.append(self._new_slot())
        self.advance()
        return results

    def advance(self, timeout_s: float = 0) -> None:
        """Receive results, replace dead actors, dispatch items; wait at most `timeout_s` for anything to happen.

        Raises:
            WorkersLost, ClusterLost: as `map` says.
        """
        self._head.check()
        waiting = [*self._in_flight, *self._starting]
        if waiting:
            # Whatever is ready at once, or else the first thing that becomes so.
            done, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0, fetch_local=False)
            if not done and timeout_s:
                done, _ = ray.wait(waiting, num_returns=1, timeout=timeout_s, fetch_local=False)
            for reference in done:
                self._last_progress_s = time.monotonic()
                if reference in self._starting:
                    self._started(reference)
                elif reference in self._in_flight:
                    self._receive(reference)
        self._dispatch()
        if time.monotonic() - self._last_progress_s > PATIENCE_S and not any(slot.ready for slot in self._slots):
            raise WorkersLost(f"the cluster has had no place for a worker of one CPU for {PATIENCE_S:.0f} s")

    def close(self) -> None:
        """End the actors, and the cluster if it was started here."""
        self._head.close()
        if not ray.is_initialized():
            return
        if not self._head.lost:
            for slot in self._slots:
                ray.kill(slot.actor)
        if self._joined:
            ray.shutdown()

    def __enter__(self) -> "RayCollector":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- actors -----------------------------------------------------------------------------------------------

    def _new_slot(self) -> "_WorkerSlot":
        self._last_progress_s = time.monotonic()
        slot = _WorkerSlot(self._actor.remote(tuple(sys.path)))
        self._starting[slot.actor.pid.remote()] = slot
        return slot

    def _started(self, reference: Any) -> None:
        slot = self._starting.pop(reference)
        try:
            slot.pid, slot.ready = self._head.get(reference), True
        except RayError:
            self._replace(slot)

    def _replace(self, slot: "_WorkerSlot") -> bool:
        """Replace the actor of a slot; return False if that was done before."""
        if slot not in self._slots:
            return False
        self.counts["lost"] += 1
        log.warning("a worker was lost; another one takes its place")
        ray.kill(slot.actor)
        self._slots[self._slots.index(slot)] = self._new_slot()
        return True

    @property
    def in_flight(self) -> int:
        """The number of items that are dispatched and not received yet."""
        return len(self._in_flight)

    @property
    def pids(self) -> list[int]:
        """Process ids of the actors that have started."""
        return [slot.pid for slot in self._slots if slot.ready]

    # -- items ------------------------------------------------------------------------------------------------

    def _receive(self, reference: Any) -> None:
        work, index, slot = self._in_flight.pop(reference)
        slot.busy -= 1
        results = work()
        try:
            value = self._head.get(reference)
        except RayTaskError as error:
            if results is not None:
                results.failure = error.cause
        except RayError as error:
            # What the worker did is reported lost before what it was to do next, which is not to blame.
            blamed = self._replace(slot)
            if results is not None:
                results.requeue(index, str(error).splitlines()[0], blamed)
        else:
            self.counts["chunks"] += 1
            if results is not None:
                # Arrays come as read-only views of the object store, which keeps a result for as long as they live.
                results.done[index] = copy.deepcopy(value)

    def _dispatch(self) -> None:
        works = [results for work in self._maps if (results := work()) is not None and results.todo]
        self._maps = [work for work in self._maps if work() is not None]
        for depth in range(IN_FLIGHT):
            for slot in self._slots:
                while works and not works[-1].todo:
                    works.pop()
                if not works:
                    return
                if slot.ready and slot.busy == depth:
                    index = works[-1].todo.popleft()
                    reference = slot.actor.run.remote(works[-1].function, works[-1].items[index])
                    self._in_flight[reference] = (weakref.ref(works[-1]), index, slot)
                    slot.busy += 1


class _WorkerSlot:
    """A slot of the pool: its actor, whether that has answered yet, and how many items it has."""

    def __init__(self, actor: Any) -> None:
        self.actor, self.ready, self.busy, self.pid = actor, False, 0, 0


class _Results(Generic[R]):
    """The results of a `map`, an iterator in the order of its items."""

    def __init__(self, collector: RayCollector, function: Any, items: list[Any]) -> None:
        self._collector, self.function, self.items = collector, function, items
        self.todo = deque(range(len(items)))
        self.done: dict[int, R] = {}
        self.failure: BaseException | None = None
        self._next = 0
        self._attempts: Counter[int] = Counter()

    def requeue(self, index: int, reason: str, blamed: bool) -> None:
        """Queue item `index` again, or give up if it has been blamed too often."""
        self._attempts[index] += int(blamed)
        self.todo.appendleft(index)
        if self._attempts[index] >= ATTEMPTS_PER_ITEM:
            self.failure = WorkersLost(f"a piece of work has cost {ATTEMPTS_PER_ITEM} workers their life: {reason}")

    def __iter__(self) -> Iterator[R]:
        return self

    def __next__(self) -> R:
        if self._next == len(self.items):
            raise StopIteration
        while self._next not in self.done and self.failure is None:
            self._collector.advance(TICK_S)
        if self._next not in self.done:
            assert self.failure is not None
            self.todo.clear()
            raise self.failure
        self._next += 1
        return self.done.pop(self._next - 1)


class _Worker:
    """The actor. Ray gives an actor of one CPU one thread (`OMP_NUM_THREADS`).

    It finds the modules that its driver finds, the user's own family in the folder where `wtl` was started included.
    """

    def __init__(self, search_path: Sequence[str]) -> None:
        extend_search_path(search_path)

    def pid(self) -> int:
        return os.getpid()

    def run(self, function: Callable[[T], R], item: T) -> R:
        return function(item)


def extend_search_path(search_path: Sequence[str]) -> None:
    """Extend `sys.path` by the folders of another process."""
    sys.path.extend(folder for folder in search_path if folder not in sys.path)
