"""Runs functions in Ray actors: the same face as the collectors of one machine (`metalearn.training.collect`).

An actor that dies is started again and its work is done again. Does not know what the functions do.
"""

import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util import ActorPool

from metalearn.data.errors import InvalidConfig, WatchTryLearnError

T = TypeVar("T")
R = TypeVar("R")

ATTEMPTS_PER_ITEM = 4
"""An item that has cost so many workers their life is itself the trouble."""
CONNECT_TIMEOUT_S = 5.0


class WorkersLost(WatchTryLearnError):
    """Work that could not be done although it was tried again."""


class RayCollector:
    """In `n_actors` Ray actors of one CPU and one thread each; None: one for each CPU of the cluster.

    Joins the cluster at `address`, or the one that a Ray job or `ray start` on this machine provides, or
    starts one for as long as the collector lives.

    Raises:
        InvalidConfig: no cluster answers at `address`.
    """

    def __init__(self, address: str | None = None, n_actors: int | None = None) -> None:
        self._joined = _connect(address)
        self.n_actors = n_actors or max(1, int(ray.cluster_resources().get("CPU", 1)))
        worker = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=ATTEMPTS_PER_ITEM - 1)(_Worker)
        self._actors = [worker.remote(tuple(sys.path)) for _ in range(self.n_actors)]

    def map(self, function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """Yield `function(item)` for each item, in order. What `function` raises is raised here.

        Raises:
            WorkersLost: an item whose workers died, one after the other.
        """
        shared = ray.put(function)
        pool = ActorPool(self._actors)
        try:
            yield from pool.map(lambda actor, item: actor.run.remote(shared, item), list(items))
        except RayTaskError as error:
            raise error.cause from None
        except RayError as error:
            raise WorkersLost(f"Ray gave up on a piece of work: {str(error).splitlines()[0]}") from error

    def close(self) -> None:
        """End the actors, and the cluster if it was started here."""
        if not ray.is_initialized():
            return
        for actor in self._actors:
            ray.kill(actor)
        if self._joined:
            ray.shutdown()

    def __enter__(self) -> "RayCollector":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Worker:
    """The actor. Ray gives an actor of one CPU one thread (`OMP_NUM_THREADS`).

    It finds what its driver finds, the user's own family in the folder where `wtl` was started included.
    """

    def __init__(self, search_path: Sequence[str]) -> None:
        sys.path.extend(folder for folder in search_path if folder not in sys.path)

    def run(self, function: Callable[[T], R], item: T) -> R:
        return function(item)


def _connect(address: str | None) -> bool:
    """Join or start a cluster; False if this process had already joined one."""
    if address is not None and not _answers(address):
        raise InvalidConfig(f"no Ray cluster at {address}: nobody answers")
    if ray.is_initialized():
        return False
    try:
        with _kept_signal_handler():
            ray.init(address=address, include_dashboard=False if address is None else None, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise InvalidConfig(f"no Ray cluster at {address or 'hand'}: {str(error).splitlines()[0]}") from error
    return True


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
