"""Collecting episodes in chunks of tasks: expert demonstrations, and the policy's own trials.

A chunk is a value that any process can turn into episodes. A collector decides where chunks run
(in this process, in worker processes, on Ray). The episodes depend on the chunk alone.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
import torch

from metalearn.config import DataConfig, ModelConfig
from metalearn.data.context import Context
from metalearn.data.dataset import Demonstrator, TaskRecord
from metalearn.data.episode import Array, Episode
from metalearn.model.inference import Inference
from metalearn.model.policy import ConditionalPolicy
from metalearn.tasks.family import DescribedFamily, Scene, TaskId, make_vec
from metalearn.tasks.registry import find_family
from metalearn.tasks.rollout import PlayingActor, Rollout, demonstrate, episode_seeds, rollout

T = TypeVar("T")
R = TypeVar("R")

STREAM_DEMO, STREAM_EXPERT, STREAM_TRIAL, STREAM_PROGRESS, STREAM_GRADED, STREAM_PLAY = 11, 12, 13, 14, 20, 19
STREAM_EXPLORATION, STREAM_KEEPING = 17, 18


@runtime_checkable
class Collector(Protocol):
    """Maps a function over items in some set of processes; results come in the order of the items."""

    def map(self, function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """Yield `function(item)` for each item, in order. `function` can be pickled by reference."""
        ...


@runtime_checkable
class PrefetchingCollector(Protocol):
    """A collector that works in the background while `advance` is called now and then."""

    def advance(self) -> None:
        """Receive finished results and dispatch new items, without waiting. Raises what makes going on impossible."""
        ...


class SerialCollector:
    """Runs items in this process, lazily."""

    def map(self, function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """Yield `function(item)` for each item."""
        yield from map(function, items)


class ProcessCollector:
    """Runs items in `n` worker processes with one torch thread each."""

    def __init__(self, n: int) -> None:
        self._pool = ProcessPoolExecutor(n, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,))

    def map(self, function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """Yield `function(item)` for each item, in order; work begins at once."""
        return self._pool.map(function, items)

    def close(self) -> None:
        """End the workers."""
        self._pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class DemonstrationChunk:
    """Expert episodes of some tasks: `demos_per_task` as shown, `experts_per_task` as the policy will act."""

    family: str
    indices: tuple[int, ...]
    data: DataConfig
    seed: int


def demonstration_chunks(family: str, indices: Sequence[int], data: DataConfig, seed: int) -> list[DemonstrationChunk]:
    """Chunks of `data.chunk_tasks` tasks each."""
    return [DemonstrationChunk(family, piece, data, seed) for piece in chunked(indices, data.chunk_tasks)]


def demonstrate_chunk(chunk: DemonstrationChunk) -> list[TaskRecord]:
    """Run the expert in both scenes of every task of the chunk, and demonstrators of less skill."""
    data, family = chunk.data, find_family(chunk.family)
    with one_thread():
        demos = _expert_runs(chunk, "demo", STREAM_DEMO, data.demo_noise, data.demos_per_task)
        experts = _expert_runs(chunk, "trial", STREAM_EXPERT, data.expert_noise, data.experts_per_task)
        others = [_graded(chunk, number) for number in range(data.graded_per_task)]
        if data.play_per_task:
            others.append(_play(chunk))
    records = [
        TaskRecord(
            task=str(TaskId(family.name, index)),
            demos=tuple(run.episodes[i] if data.demo_actions else run.episodes[i].without_actions() for run in demos),
            experts=tuple(run.episodes[i] for run in experts),
            labels=tuple(run.expert_actions[i] for run in experts if run.expert_actions is not None),
            others=tuple(of_all[i] for of_all in others),
            sentences=family.sentences(index) if isinstance(family, DescribedFamily) else (),
        )
        for i, index in enumerate(chunk.indices)
    ]
    return [record.packed() for record in records] if family.spec.bulky else records


def _graded(chunk: DemonstrationChunk, number: int) -> list[Demonstrator]:
    """In every task the `number`-th demonstrator of less skill: the expert, who acts at random now and then."""
    data, stream = chunk.data, STREAM_GRADED + number
    seeds = episode_seeds(chunk.indices, stream + 100 * chunk.seed, 0)
    at_random = [float(np.random.default_rng(seed).choice(data.grades)) for seed in seeds]
    demos = _expert_runs(chunk, "demo", stream + 20, 0.0, data.demos_per_task, at_random)
    runs = _expert_runs(chunk, "trial", stream + 40, 0.0, 1, at_random)
    return [
        Demonstrator(
            source=f"expert, {share:.0%} at random",
            quality=1 - share,
            demos=tuple(run.episodes[i] if data.demo_actions else run.episodes[i].without_actions() for run in demos),
            episodes=tuple(run.episodes[i] for run in runs),
        )
        for i, share in enumerate(at_random)
    ]


def _play(chunk: DemonstrationChunk) -> list[Demonstrator]:
    """In every task somebody who plays around."""
    family, stream = find_family(chunk.family), STREAM_PLAY + 100 * chunk.seed
    env, runs = make_vec(family, chunk.indices, "trial"), []
    for number in range(chunk.data.play_per_task):
        actor = PlayingActor(env, episode_seeds(chunk.indices[:1], stream, 1000 + number)[0])
        runs.append(rollout(env, actor, episode_seeds(chunk.indices, stream, number)))
    env.close()
    return [Demonstrator("play", 0.0, (), tuple(run.episodes[i] for run in runs)) for i in range(len(chunk.indices))]


def _expert_runs(
    chunk: DemonstrationChunk, scene: Scene, stream: int, noise: float, n: int, at_random: Sequence[float] | None = None
) -> list[Rollout]:
    """`n` expert episodes of every task of the chunk."""
    family, stream = find_family(chunk.family), stream + 100 * chunk.seed
    return [
        demonstrate(
            family,
            chunk.indices,
            episode_seeds(chunk.indices, stream, episode),
            scene,
            noise,
            seed=episode_seeds(chunk.indices[:1], stream, 1000 + episode)[0],
            at_random=at_random,
        )
        for episode in range(n)
    ]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The policy's weights after `version` gradient steps. One snapshot is sent for many chunks."""

    model: ModelConfig
    weights: dict[str, Array]
    version: int = 0


@dataclass(frozen=True)
class TrialChunk:
    """`n_attempts` attempts in each of some tasks, each one conditioned on those before it.

    `relabel` asks the expert what to do in their states.
    """

    family: str
    indices: tuple[int, ...]
    contexts: tuple[Context, ...]
    n_attempts: int
    seed: int
    relabel: bool = True


def trial_chunks(
    family: str,
    records: Sequence[TaskRecord],
    contexts: Sequence[Context],
    n_attempts: int,
    seed: int,
    *,
    size: int,
    relabel: bool = True,
) -> list[TrialChunk]:
    """Chunks of `size` tasks each; `contexts[i]` is known of the task of `records[i]`."""
    indices = [TaskId.parse(record.task).index for record in records]
    pieces = zip(chunked(indices, size), chunked(contexts, size), strict=True)
    return [TrialChunk(family, piece, known, n_attempts, seed, relabel) for piece, known in pieces]


@dataclass(frozen=True)
class TaskTrials:
    """The attempts in one task, in order, and the expert's actions in their states (empty without an expert).

    `version` is that of the policy that acted.
    """

    attempts: tuple[Episode, ...]
    labels: tuple[Array, ...]
    version: int = 0


def try_chunk(policy: Snapshot, chunk: TrialChunk) -> list[TaskTrials]:
    """Collect the attempts of one chunk: adapt, act, add the trial to the context, and so on."""
    family = find_family(chunk.family)
    inference = Inference(ConditionalPolicy.from_weights(policy.model, family.spec, policy.weights), family.spec)
    rng = np.random.default_rng([chunk.seed, chunk.indices[0]])
    contexts = list(chunk.contexts)
    runs = []
    with one_thread():
        env = make_vec(family, chunk.indices, "trial")
        for attempt in range(chunk.n_attempts):
            run = rollout(
                env,
                inference.adapt(contexts, rng),
                episode_seeds(chunk.indices, chunk.seed, attempt),
                relabel=chunk.relabel,
            )
            if family.spec.bulky:
                run = replace(run, episodes=[episode.packed() for episode in run.episodes])
            contexts = [c.with_trial(episode) for c, episode in zip(contexts, run.episodes, strict=True)]
            runs.append(run)
        env.close()
    return [
        TaskTrials(
            attempts=tuple(run.episodes[i] for run in runs),
            labels=tuple(run.expert_actions[i] for run in runs if run.expert_actions is not None),
            version=policy.version,
        )
        for i in range(len(chunk.indices))
    ]


def gathered(results: Iterator[list[R]], tell: Callable[[int], None], seconds: float, fewest: int) -> list[R]:
    """All that chunks bring; or, once so many seconds are over, what is there by then, but not less than `fewest`.

    `tell` hears after each chunk how many are done, and may raise to stop.
    """
    found, until = list[R](), time.monotonic() + seconds
    for done, result in enumerate(results, 1):
        found.extend(result)
        tell(done)
        if time.monotonic() > until and len(found) >= fewest:
            break
    return found


def chunked(items: Sequence[T], size: int) -> list[tuple[T, ...]]:
    """`items` in consecutive pieces of `size`."""
    return [tuple(items[i : i + size]) for i in range(0, len(items), size)]


@contextmanager
def one_thread() -> Iterator[None]:
    """Small matrices are slower on many threads; one thread also makes the sums the same everywhere."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
