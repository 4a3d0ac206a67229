"""The cost of learning: gradient steps with one and two learners, and one round of training on actors."""

import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from metalearn.benchmark.by_hand import benchmarked_experiment
from metalearn.cluster.workers import RayCollector
from metalearn.config import DataConfig
from metalearn.data.dataset import Dataset
from metalearn.model.policy import ConditionalPolicy
from metalearn.tasks.registry import find_family
from metalearn.training.batches import TrainingSet
from metalearn.training.collect import DemonstrationChunk, demonstrate_chunk
from metalearn.training.events import Event
from metalearn.training.group import ProcessGroup
from metalearn.training.learner import Learner
from metalearn.training.loop import train

TASKS = {"reach-m2": 512, "push": 64}
WARM_STEPS = 5


@lru_cache
def training_set(name: str) -> TrainingSet:
    """Drawn from again and again; its size does not change what a step costs."""
    chunk = DemonstrationChunk(name, tuple(range(TASKS[name])), DataConfig(), 0)
    dataset = Dataset(find_family(name).spec, tuple(demonstrate_chunk(chunk)))
    return TrainingSet(dataset, benchmarked_experiment(name).model)


def learn(name: str, rank: int, size: int, meeting: Path, n: int) -> tuple[int, float]:
    """Imitated steps of the whole batches, and the seconds of `n` gradient steps, as learner `rank` of `size`."""
    torch.set_num_threads(1)
    experiment, data = benchmarked_experiment(name), training_set(name)
    if size > 1:
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)
    try:
        policy = ConditionalPolicy(experiment.model, find_family(name).spec)
        learner = Learner(policy, experiment.training, group=ProcessGroup() if size > 1 else None)
        generator, samples, began = torch.Generator().manual_seed(0), 0, 0.0
        for i in range(WARM_STEPS + n):
            if i == WARM_STEPS:
                began, samples = time.perf_counter(), 0
            batch = data.draw(experiment.training, False, generator)
            learner.step(batch, 1.0)
            samples += int(batch.mask.sum())
        return samples, time.perf_counter() - began
    finally:
        if size > 1:
            dist.destroy_process_group()


def learning(name: str, rounds: int, n: int = 40) -> dict[int, list[tuple[float, float]]]:
    """Of 1 and 2 learners and each round: milliseconds of a step, and samples (imitated steps) a second."""
    found: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    with ProcessPoolExecutor(2, get_context("spawn")) as pool, tempfile.TemporaryDirectory() as folder:
        for number in range(rounds + 1):
            for size in (1, 2) if number % 2 else (2, 1):
                meeting = Path(folder) / f"{number}-{size}"
                jobs = [pool.submit(learn, name, rank, size, meeting, n) for rank in range(size)]
                samples, seconds = next(job.result() for job in jobs)
                if number:  # the first round makes the data
                    found[size].append((1000 * seconds / n, samples / seconds))
    return found


@dataclass(frozen=True)
class Round:
    """One round of training, synchronous: seconds in which the driver waits for trials, keeps them, and learns."""

    tasks: int
    collecting_s: float
    keeping_s: float
    step_ms: float

    def to_json(self) -> dict[str, Any]:
        return {name: round(value, 4) for name, value in vars(self).items()}


def one_round(name: str, collector: RayCollector, n_chunks: int, chunk_tasks: int) -> Round:
    """A small training of the experiment `name` on the collector's actors, watched from where it is driven."""
    experiment = benchmarked_experiment(name)
    tasks, warmup, steps = n_chunks * chunk_tasks, 20, 60
    experiment = experiment.model_copy(
        update={
            "data": experiment.data.model_copy(update={"n_tasks": tasks, "chunk_tasks": chunk_tasks}),
            "training": experiment.training.model_copy(
                update={
                    "warmup_steps": warmup,
                    "rounds": 1,
                    "round_steps": steps,
                    "check_tasks": 0,
                    "check_steps": 1000,
                }
            ),
        }
    )
    seen: dict[tuple[str, int], float] = {}

    def listen(event: Event) -> None:
        seen[event.phase, event.done] = time.perf_counter()

    with tempfile.TemporaryDirectory() as folder:
        train(experiment, Path(folder), collector=collector, listen=listen)
    begun, collected = seen["train", warmup], seen["collect", n_chunks]
    resumed, late = seen["train", warmup + 10], seen["train", warmup + steps - 10]
    step_s = (late - resumed) / (steps - 20)
    return Round(
        tasks=tasks,
        collecting_s=collected - begun,
        keeping_s=max(0.0, resumed - collected - 10 * step_s),
        step_ms=1000 * step_s,
    )
