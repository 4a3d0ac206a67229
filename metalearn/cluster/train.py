"""Distributed training: the loop of `metalearn.training.loop` in the workers of Ray Train.

Ray Train keeps the checkpoints and restarts the learners when one is lost, with fewer of them if need be.
Each worker runs the loop as a single process does.
"""

import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.fs
import ray
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.config import LoggingConfig
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from metalearn.bundle import Bundle
from metalearn.cluster.connection import HeadMonitor, describe_cluster
from metalearn.cluster.workers import RayCollector, WorkersLost, extend_search_path
from metalearn.config import Experiment
from metalearn.data.errors import WatchTryLearnError
from metalearn.training.events import Event
from metalearn.training.group import ProcessGroup
from metalearn.training.loop import train
from metalearn.training.recorded import RecordedData
from metalearn.training.run_store import CHECKPOINT, RunStore

RESTARTS = 64
"""Lost learners that a run survives; more of them point to an error in the program."""
POLL_S = 0.5
COLLECTING_S = 6 * 3600
"""Seconds that the other ranks may wait while rank 0 collects. If rank 0 dies, Ray Train does not wait."""

Open = Callable[[], RecordedData]


def train_on_learners(
    experiment: Experiment,
    store: RunStore,
    *,
    learners: int | tuple[int, int],
    n_actors: int,
    recorded: Open | None = None,
    listen: Callable[[Event], None] = lambda event: None,
    stopping: Callable[[], bool] = lambda: False,
) -> Bundle:
    """Train on `learners` workers of the cluster that this process has joined, or on (fewest, most) of them.

    The folder or URL of `store` has to be the same place for all machines of the cluster.

    Args:
        experiment: what to train.
        store: where the run is kept; goes on from what is there.
        learners: of one CPU each; every step is taken by all of them.
        n_actors: that collect episodes.
        recorded: opens recorded episodes in a learner; None: the family's expert demonstrates.
        listen: is told what happens.
        stopping: asked now and then; True ends the run with a checkpoint.

    Raises:
        Stopped: `stopping` said so.
        WorkersLost: learners died more often than chance explains.
        ClusterLost: the head does not answer any more.
        WatchTryLearnError: what the loop raises.
    """
    head, mailbox = HeadMonitor.joined(), _mailbox()
    folder = store.folder.absolute()
    arguments = {
        "experiment": experiment,
        "folder": folder,
        "url": store.url,
        "n_actors": n_actors,
        "recorded": recorded,
        "mailbox": mailbox,
    }
    trainer = TorchTrainer(
        _learn,
        train_loop_config={"search_path": list(sys.path), "arguments": arguments},
        torch_config=TorchConfig(backend="gloo", timeout_s=COLLECTING_S),
        scaling_config=ScalingConfig(num_workers=learners),
        run_config=RunConfig(
            name="learners",
            checkpoint_config=CheckpointConfig(num_to_keep=2),
            failure_config=FailureConfig(max_failures=RESTARTS),
            logging_config=LoggingConfig(log_level="ERROR"),
            **_storage(folder, store.url),
        ),
    )
    outcome = _FitThread(trainer)
    try:
        while not outcome.over.wait(POLL_S):
            for event in head.get(mailbox.take_events.remote()):
                listen(event)
            if stopping():
                head.get(mailbox.request_stop.remote())
        for event in head.get(mailbox.take_events.remote()):
            listen(event)
        if outcome.error is not None:
            reason = str(outcome.error).strip().splitlines()[-1]
            raise WorkersLost(f"the learners failed: {reason}") from outcome.error
        failure = head.get(mailbox.get_failure.remote())
    finally:
        head.close()
    if failure is not None:
        raise failure
    store.fetch("bundle")
    return Bundle.load(store.folder / "bundle")


class _FitThread(threading.Thread):
    """`trainer.fit()` in a thread, since the main one listens to signals and events."""

    def __init__(self, trainer: TorchTrainer) -> None:
        super().__init__(daemon=True)
        self._trainer, self.over = trainer, threading.Event()
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self._trainer.fit()
        except Exception as error:
            self.error = error
        finally:
            self.over.set()


def _mailbox() -> Any:
    """Start a mailbox on the node of this process, so that both are lost together; Ray restarts it alone."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy=here)(_Mailbox)
    return actor.remote()


class _Mailbox:
    """An actor that carries events, the request to stop and a failure between the learners and the driver."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._stop_requested = False
        self._failure: WatchTryLearnError | None = None

    def post(self, events: list[Event]) -> bool:
        """Add events; return whether to stop."""
        self._events += events
        return self._stop_requested

    def take_events(self) -> list[Event]:
        """Return the events and forget them."""
        events, self._events = self._events, []
        return events

    def request_stop(self) -> None:
        """Ask the learners to stop."""
        self._stop_requested = True

    def set_failure(self, failure: WatchTryLearnError | None) -> None:
        """Set the error that the loop raised, for which starting again is no remedy."""
        self._failure = failure

    def get_failure(self) -> WatchTryLearnError | None:
        """Return the failure that was set last."""
        return self._failure


class _MailboxClient:
    """A learner's connection to the mailbox: sends events and polls for the request to stop, in a thread."""

    def __init__(self, mailbox: Any) -> None:
        self._mailbox, self._events, self.stop_requested = mailbox, list[Event](), False
        threading.Thread(target=self._sync, daemon=True).start()

    def post(self, event: Event) -> None:
        self._events.append(event)

    def flush(self) -> None:
        events, self._events = self._events, []
        self.stop_requested = ray.get(self._mailbox.post.remote(events))

    def _sync(self) -> None:
        while True:
            self.flush()
            time.sleep(POLL_S)


class _RayCheckpointManager:
    """Checkpoints in the storage path of Ray Train. Every learner reports each of them, as Ray Train wants it."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch

    def save(self, write: Callable[[Path], None] | None) -> None:
        if write is None:
            ray.train.report({})
            return
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            write(Path(folder) / CHECKPOINT)
            ray.train.report({}, checkpoint=Checkpoint.from_directory(folder))

    def latest(self) -> Path | None:
        newest = ray.train.get_checkpoint()
        if newest is None:
            return None
        return Path(newest.to_directory(str(self._scratch / "resumed"))) / CHECKPOINT


def _learn(config: dict[str, Any]) -> None:
    """Run the training loop in a worker of Ray Train."""
    extend_search_path(config["search_path"])
    _train(**config["arguments"])


def _train(
    experiment: Experiment, folder: Path, url: str | None, n_actors: int, recorded: Open | None, mailbox: Any
) -> None:
    group = ProcessGroup()
    client = _MailboxClient(mailbox)
    with tempfile.TemporaryDirectory() as scratch:
        store = RunStore(Path(scratch) / "run" if url else folder, url)
        collector = RayCollector(n_actors=n_actors) if group.rank == 0 and recorded is None else None
        failure: WatchTryLearnError | None = None
        try:
            train(
                experiment,
                store,
                dataset=recorded() if recorded else None,
                collector=collector,
                listen=client.post,
                stopping=lambda: client.stop_requested,
                group=group,
                checkpoints=_RayCheckpointManager(Path(scratch)),
                cluster=describe_cluster() | {"actors": n_actors},
            )
        except WatchTryLearnError as error:
            failure = error
        finally:
            if collector is not None:
                collector.close()
        if group.rank == 0:
            client.flush()
            ray.get(mailbox.set_failure.remote(failure))


def _storage(folder: Path, url: str | None) -> dict[str, Any]:
    if url is None:
        return {"storage_path": str(folder)}
    filesystem, root = fsspec.url_to_fs(url)
    return {
        "storage_path": root.rstrip("/"),
        "storage_filesystem": pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(filesystem)),
    }
