"""Runs functions in Ray actors: the same face as the collectors of one machine (`metalearn.training.collect`).

An actor that dies, alone or with its machine, is replaced, and what it had is done again by another. Results come
through the object store, and only so many at a time: nothing is handed out before something was taken in. Does not
know what the functions do.
"""

import json
import logging
import os
import pickle  # between our own processes only: it never reads what comes from outside or from disk
import signal
import socket
import sys
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from metalearn.data.errors import InvalidConfig, WatchTryLearnError

T = TypeVar("T")
R = TypeVar("R")

ATTEMPTS_PER_ITEM = 4
"""An item that has cost so many workers their life is itself the trouble."""
IN_FLIGHT = 2
"""Items that an actor has at a time: one that it does, and the next, so that it does not wait for us."""
CONNECT_TIMEOUT_S = 5.0
PATIENCE_S = 600.0
"""How long the cluster may have no place for any actor."""
TICK_S = 1.0
STARTS = 3

log = logging.getLogger(__name__)


class WorkersLost(WatchTryLearnError):
    """Work that could not be done although it was tried again."""


class RayCollector:
    """In `n_actors` Ray actors of one CPU and one thread each; None: one for each CPU of the cluster but `spare`.

    Joins the cluster at `address`, or the one that a Ray job or `ray start` on this machine provides, or
    starts one for as long as the collector lives ("local": always). The actors come with the first work.

    Attributes:
        counts: chunks and bytes taken in, and actors lost.

    Raises:
        InvalidConfig: no cluster answers at `address`.
    """

    def __init__(self, address: str | None = None, n_actors: int | None = None, spare: int = 0) -> None:
        self._joined = connect(address, (n_actors or 1) + spare)
        self.n_actors = n_actors or max(1, int(ray.cluster_resources().get("CPU", 1)) - spare)
        self.counts: Counter[str] = Counter()
        self._actor = ray.remote(num_cpus=1, max_restarts=0, scheduling_strategy="SPREAD")(_Worker)
        self._seats: list[_Seat] = []
        self._greeted: dict[Any, _Seat] = {}
        self._in_flight: dict[Any, tuple[weakref.ref[_Results[Any]], int, _Seat]] = {}
        self._works: list[weakref.ref[_Results[Any]]] = []
        self._heard = time.monotonic()

    def map(self, function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """Yield `function(item)` for each item, in order; `advance` on it works ahead. Newer work comes first.

        What `function` raises is raised here.

        Raises:
            WorkersLost: an item whose workers died, one after the other, or no place for any worker.
        """
        results: _Results[R] = _Results(self, ray.put(function), list(items))
        self._works.append(weakref.ref(results))
        while len(self._seats) < self.n_actors:
            self._seats.append(self._seat())
        results.advance()
        return results

    def advance(self, timeout_s: float) -> None:
        """Take in what is done, replace who died, hand out what is next; wait so long for anything to happen."""
        waiting = [*self._in_flight, *self._greeted]
        if waiting:
            # Whatever is ready at once, or else the first thing that becomes so.
            done, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0, fetch_local=False)
            if not done and timeout_s:
                done, _ = ray.wait(waiting, num_returns=1, timeout=timeout_s, fetch_local=False)
            for reference in done:
                self._heard = time.monotonic()
                if reference in self._greeted:
                    self._greet(reference)
                elif reference in self._in_flight:
                    self._take(reference)
        self._hand_out()
        if time.monotonic() - self._heard > PATIENCE_S and not any(seat.ready for seat in self._seats):
            raise WorkersLost(f"the cluster has had no place for a worker of one CPU for {PATIENCE_S:.0f} s")

    def close(self) -> None:
        """End the actors, and the cluster if it was started here."""
        if not ray.is_initialized():
            return
        for seat in self._seats:
            ray.kill(seat.actor)
        if self._joined:
            ray.shutdown()

    def __enter__(self) -> "RayCollector":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- actors -----------------------------------------------------------------------------------------------

    def _seat(self) -> "_Seat":
        seat = _Seat(self._actor.remote(tuple(sys.path)))
        self._greeted[seat.actor.pid.remote()] = seat
        return seat

    def _greet(self, reference: Any) -> None:
        seat = self._greeted.pop(reference)
        try:
            seat.pid, seat.ready = ray.get(reference), True
        except RayError:
            self._replace(seat)

    def _replace(self, seat: "_Seat") -> None:
        if seat not in self._seats:
            return
        self.counts["lost"] += 1
        log.warning("a worker was lost; another one takes its place")
        ray.kill(seat.actor)
        self._seats[self._seats.index(seat)] = self._seat()

    @property
    def pids(self) -> list[int]:
        """Process numbers of the actors that have answered."""
        return [seat.pid for seat in self._seats if seat.ready]

    # -- items ------------------------------------------------------------------------------------------------

    def _take(self, reference: Any) -> None:
        work, index, seat = self._in_flight.pop(reference)
        seat.busy -= 1
        results = work()
        try:
            content = ray.get(reference)
        except RayTaskError as error:
            if results is not None:
                results.failure = error.cause
        except RayError as error:
            self._replace(seat)
            if results is not None:
                results.again(index, str(error).splitlines()[0])
        else:
            self.counts.update(chunks=1, bytes=len(content))
            if results is not None:
                results.done[index] = pickle.loads(content)  # noqa: S301

    def _hand_out(self) -> None:
        works = [results for work in self._works if (results := work()) is not None and results.todo]
        self._works = [work for work in self._works if work() is not None]
        for depth in range(IN_FLIGHT):
            for seat in self._seats:
                while works and not works[-1].todo:
                    works.pop()
                if not works:
                    return
                if seat.ready and seat.busy == depth:
                    index = works[-1].todo.popleft()
                    reference = seat.actor.run.remote(works[-1].function, works[-1].items[index])
                    self._in_flight[reference] = (weakref.ref(works[-1]), index, seat)
                    seat.busy += 1


class _Seat:
    """A place for an actor: who has it, whether he has answered yet, and how many items he has."""

    def __init__(self, actor: Any) -> None:
        self.actor, self.ready, self.busy, self.pid = actor, False, 0, 0


class _Results(Generic[R]):
    """What comes of `items`, in their order."""

    def __init__(self, collector: RayCollector, function: Any, items: list[Any]) -> None:
        self._collector, self.function, self.items = collector, function, items
        self.todo = deque(range(len(items)))
        self.done: dict[int, R] = {}
        self.failure: BaseException | None = None
        self._next = 0
        self._attempts: Counter[int] = Counter()

    def again(self, index: int, reason: str) -> None:
        """Item `index` has to be done again, if it was not tried too often."""
        self._attempts[index] += 1
        self.todo.appendleft(index)
        if self._attempts[index] >= ATTEMPTS_PER_ITEM:
            self.failure = WorkersLost(f"a piece of work has cost {ATTEMPTS_PER_ITEM} workers their life: {reason}")

    def advance(self) -> None:
        """As `Ahead` says. Never waits."""
        self._collector.advance(0)

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

    It finds what its driver finds, the user's own family in the folder where `wtl` was started included.
    Results are bytes, so that whoever takes them has a copy and the object store can forget them.
    """

    def __init__(self, search_path: Sequence[str]) -> None:
        find_as(search_path)

    def pid(self) -> int:
        return os.getpid()

    def run(self, function: Callable[[T], R], item: T) -> bytes:
        return pickle.dumps(function(item), protocol=5)


def find_as(search_path: Sequence[str]) -> None:
    """Find modules where another process finds them."""
    sys.path.extend(folder for folder in search_path if folder not in sys.path)


def place() -> dict[str, Any]:
    """What cluster this process works on, for provenance: Ray's version and job, nodes, CPUs, and GPUs."""
    context, resources = ray.get_runtime_context(), ray.cluster_resources()
    metadata = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")).get("metadata", {})
    return {
        "ray": ray.__version__,
        "job": metadata.get("job_submission_id", context.get_job_id()),
        "nodes": sum(node["Alive"] for node in ray.nodes()),
        "cpus": int(resources.get("CPU", 0)),
        "gpus": int(resources.get("GPU", 0)),
    }


def connect(address: str | None, n_cpus: int | None = None) -> bool:
    """Join or start a cluster; False if this process had already joined one.

    A cluster that is started has `n_cpus` at least, and asks for a token unless RAY_AUTH_MODE says otherwise.

    Raises:
        InvalidConfig: no cluster at `address`.
    """
    if address is not None and not _answers(address):
        raise InvalidConfig(f"no Ray cluster at {address}: nobody answers")
    if ray.is_initialized():
        return False
    with _kept_signal_handler():
        if address is None:
            try:
                ray.init(address="auto", log_to_driver=False)
            except ConnectionError:
                address = "local"
            else:
                return True
        try:
            if address == "local":
                _start(max(n_cpus or 1, os.cpu_count() or 1))
            else:
                ray.init(address=address, log_to_driver=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise InvalidConfig(f"no Ray cluster at {address}: {str(error).splitlines()[0]}") from error
    return True


def _start(n_cpus: int) -> None:
    """Start a cluster. Ray asks for a token by itself; set after its import, RAY_AUTH_MODE would half arrive."""
    for attempt in range(STARTS):
        try:
            ray.init(address="local", include_dashboard=False, num_cpus=n_cpus, log_to_driver=False)
        except Exception as error:
            # Ray waits 30 s for its own processes, which on a busy machine can be too short, and raises just this.
            ray.shutdown()
            if "timed out during startup" not in str(error) or attempt + 1 == STARTS:
                raise
        else:
            return


def _answers(address: str) -> bool:
    """Whether something listens at `host:port`; left to itself Ray tries for minutes. True where it cannot be seen."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return True
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except (OSError, OverflowError):
        return False
    return True


@contextmanager
def _kept_signal_handler() -> Iterator[None]:
    """`ray.init` takes SIGTERM for itself; a training run needs it to write its checkpoint."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler: Any = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
