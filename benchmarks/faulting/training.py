"""The command that `benchmarks/faults.py` starts, kills and starts again.

    python -m benchmarks.faulting.training OUT ADDRESS [--tasks N] [--learners N] [--ballast BYTES]

Trains reach-m2, smaller, on the cluster at ADDRESS ("none": in this process). Before every gradient step and at every
event it writes into OUT.stage what it is about, so that whoever kills it knows what he hit. The disk is a slow one:
each checkpoint takes 0.2 s longer to be safe on it.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray._private.internal_api import memory_summary
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from metalearn.cluster.connection import describe_cluster
from metalearn.cluster.train import train_on_learners
from metalearn.cluster.workers import RayCollector
from metalearn.config import DataConfig, Experiment, TrainingConfig
from metalearn.data.errors import WatchTryLearnError
from metalearn.training.events import Event
from metalearn.training.loop import train
from metalearn.training.run_store import FileCheckpointManager, RunStore

SLOW_DISK_S = 0.2
OBJECT_BYTES = 10_000_000
WIDTH = 200


def experiment(tasks: int) -> Experiment:
    return Experiment(
        name="faults",
        family="reach-m2",
        data=DataConfig(n_tasks=tasks, chunk_tasks=64),
        training=TrainingConfig(
            warmup_steps=120, rounds=3, round_steps=60, check_steps=30, check_tasks=64, staleness=20
        ),
    )


class Stage:
    """The present moment of a run, in a file of one line that is overwritten in place."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_WRONLY)
        self.collector: RayCollector | None = None
        self._phase, self._done = "joining", 0
        self.tell()

    def __call__(self, event: Event) -> None:
        self._phase, self._done = event.phase or self._phase, event.done
        self.tell()

    def tell(self, phase: str = "") -> None:
        there = self.collector
        content = {"phase": phase or self._phase, "done": self._done, "pid": os.getpid()}
        content |= {"in_flight": there.in_flight, "lost": there.counts["lost"]} if there else {}
        os.pwrite(self._file, json.dumps(content).ljust(WIDTH).encode(), 0)

    def going_on(self) -> bool:
        """As the loop asks whether to stop: never."""
        self.tell()
        return False


class SlowDisk(FileCheckpointManager):
    """Says when a checkpoint is being written, and takes its time."""

    def __init__(self, store: RunStore, stage: Stage) -> None:
        super().__init__(store)
        self._stage, self._sync = stage, os.fsync

    def save(self, write: Callable[[Path], None] | None) -> None:
        def slowly(descriptor: int) -> None:
            time.sleep(SLOW_DISK_S)
            self._sync(descriptor)

        self._stage.tell("checkpoint")
        os.fsync = slowly
        super().save(write)
        os.fsync = self._sync
        self._stage.tell()


def fill(n_bytes: int) -> list[Any]:
    """So many bytes of objects in the object store of every node."""

    def block(number: int) -> Any:
        return np.random.default_rng(number).random(OBJECT_BYTES // 8)

    def on(node: str) -> Any:
        where = NodeAffinitySchedulingStrategy(node, soft=False)
        return ray.remote(num_cpus=0, scheduling_strategy=where)(block)

    there = [on(node["NodeID"]) for node in ray.nodes() if node["Alive"]]
    objects = [make.remote(number) for make in there for number in range(n_bytes // OBJECT_BYTES)]
    ray.wait(objects, num_returns=len(objects), fetch_local=False)
    return objects


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("address")
    parser.add_argument("--tasks", type=int, default=2048)
    parser.add_argument("--learners", type=int, default=0)
    parser.add_argument("--ballast", type=int, default=0)
    given = parser.parse_args()
    wanted, store, stage = experiment(given.tasks), RunStore(given.out), Stage(given.out.with_suffix(".stage"))
    checkpoints = SlowDisk(store, stage)
    if given.address == "none":
        train(wanted, store, listen=stage, stopping=stage.going_on, checkpoints=checkpoints)
        return
    with RayCollector(given.address, n_actors=2 - given.learners) as collector:
        ballast = fill(given.ballast)
        if given.learners:
            train_on_learners(wanted, store, learners=given.learners, n_actors=2 - given.learners, listen=stage)
        else:
            stage.collector = collector
            train(
                wanted, store, collector=collector, listen=stage, stopping=stage.going_on, checkpoints=checkpoints,
                cluster=describe_cluster(),
            )  # fmt: skip
        if ballast:
            spilled = [line for line in memory_summary(stats_only=True).splitlines() if "Spilled" in line]
            print("object store:", *spilled, flush=True)


if __name__ == "__main__":
    try:
        main()
    except WatchTryLearnError as error:
        sys.exit(f"error: {error}")
