"""Speed of adapting, of collecting beside the bare simulator, and of learning: processor time of one thread.

Timings only: nothing that `same_result` compares depends on them.
"""

import time
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from metalearn.adapter import Adapter
from metalearn.baselines.methods import METHODS
from metalearn.benchmark.benchmark_run import BenchmarkRun
from metalearn.benchmark.store import cached, read_json, write_json
from metalearn.config import Experiment
from metalearn.data.context import Context
from metalearn.data.dataset import Dataset
from metalearn.data.episode import Array, Episode
from metalearn.evaluation.evaluate import MAIN_METHOD
from metalearn.evaluation.protocol import ATTEMPTS, with_trials
from metalearn.model.policy import ConditionalPolicy
from metalearn.tasks.family import Family, make_vec
from metalearn.tasks.rollout import rollout
from metalearn.training.batches import TrainingSet
from metalearn.training.collect import one_thread
from metalearn.training.learner import Learner

ADAPTATIONS = 20
ADAPTING_S = 20.0  # methods that take gradient steps to adapt are measured fewer times
LEARNER_STEPS = 40


def measure(bench: BenchmarkRun) -> None:
    """Adaptation time of every method of seed 0, then collection and learning of `wtl`."""
    bench.train(MAIN_METHOD, 0)
    for name in METHODS:
        folder = bench.method_folder(name, 0)
        if read_json(folder / "outcome.json") is not None:
            bench.progress("speed", 0, 1)
            cached(folder / "adaptation.json", bench.made_from(name, 0), partial(_adaptation, bench, name))
    adapter, experiment = bench.load(MAIN_METHOD, 0), bench.suite.seeded_experiment(0)
    rows = bench.protocol.rows()[: experiment.data.chunk_tasks]
    indices, seeds = [index for index, _ in rows], bench.protocol.seeds(rows, ATTEMPTS, 0)
    figures = collection_speed(bench.family, adapter, bench.contexts[: len(rows)], indices, seeds)
    figures |= learning_speed(bench.dataset(0), experiment)
    write_json(bench.folder / "speed.json", figures)
    bench.progress("speed", 1, 1)


def _adaptation(bench: BenchmarkRun, name: str) -> dict[str, float]:
    return {"adaptation_ms": adaptation_ms(bench.load(name, 0), _example(bench))}


def adaptation_ms(adapter: Adapter, contexts: Sequence[Context]) -> float:
    """Median milliseconds of one `adapt` to one context."""
    rng, taken_s = np.random.default_rng(0), []
    with one_thread():
        adapter.adapt(contexts[:1], rng)  # the first call also warms up
        until = time.process_time() + ADAPTING_S
        for context in contexts:
            started = time.process_time()
            adapter.adapt([context], rng)
            taken_s.append(time.process_time() - started)
            if time.process_time() > until:
                break
    return round(1000 * float(np.median(taken_s)), 3)


def _example(bench: BenchmarkRun) -> list[Context]:
    """Contexts of the manifest's demonstrations and one trial by `wtl`."""
    rows, contexts = bench.protocol.rows()[:ADAPTATIONS], bench.contexts[:ADAPTATIONS]
    env = make_vec(bench.family, [index for index, _ in rows])
    try:
        actor = bench.load(MAIN_METHOD, 0).adapt(contexts, np.random.default_rng(0))
        trials = rollout(env, actor, bench.protocol.seeds(rows, ATTEMPTS, 0)).episodes
    finally:
        env.close()
    return with_trials(contexts, trials)


def collection_speed(
    family: Family,
    adapter: Adapter,
    contexts: Sequence[Context],
    indices: Sequence[int],
    seeds: Sequence[int],
    *,
    relabel: bool = True,
) -> dict[str, float]:
    """Steps a second of collecting (policy, relabelling by the expert, recording) and of the simulator alone.

    The bare loop takes the same actions in the same environments from the same seeds, and keeps nothing.
    """
    with one_thread():
        env = make_vec(family, indices)
        try:
            env.reset(seed=seeds)  # the first reset of a simulator also loads it
            started = time.process_time()
            episodes = rollout(env, adapter.adapt(contexts, np.random.default_rng(0)), seeds, relabel=relabel).episodes
            collecting_s = time.process_time() - started
            actions = _side_by_side(episodes)
            started = time.process_time()
            env.reset(seed=seeds)
            for action in actions:
                env.step(action)
            bare_s = time.process_time() - started
        finally:
            env.close()
    n_steps = sum(map(len, episodes))
    return {
        "collection_steps_per_s": round(n_steps / collecting_s, 1),
        "simulator_steps_per_s": round(n_steps / bare_s, 1),
        "collection_overhead": round(collecting_s / bare_s - 1, 4),
    }


def _side_by_side(episodes: Sequence[Episode]) -> Array:
    """The actions of b episodes as `[t, b, *a]`; rows that have ended repeat their last one, which is ignored."""
    taken = [episode.actions for episode in episodes if episode.actions is not None]
    longest = max(map(len, taken))
    return np.stack([[actions[min(t, len(actions) - 1)] for actions in taken] for t in range(longest)])


def learning_speed(dataset: Dataset, experiment: Experiment) -> dict[str, float]:
    """Gradient steps of the warm-up: target steps a second that are learnt from, and what drawing them costs."""
    config = experiment.training
    with one_thread():
        data = TrainingSet(dataset, experiment.model)
        policy = ConditionalPolicy(experiment.model, dataset.spec)
        policy.observations.fit(*data.observations())
        learner, generator = Learner(policy, config), torch.Generator().manual_seed(0)
        drawing_s = learning_s = 0.0
        n_samples = 0
        for step in range(LEARNER_STEPS + 5):
            started = time.process_time()
            batch = data.draw(config, False, generator)
            drawn = time.process_time()
            learner.step(batch, 1.0)
            if step >= 5:  # the first ones also warm up
                drawing_s += drawn - started
                learning_s += time.process_time() - drawn
                n_samples += int(batch.mask.sum())
    total_s = drawing_s + learning_s
    return {
        "learner_steps_per_s": round(LEARNER_STEPS / total_s, 2),
        "samples_per_s": round(n_samples / total_s, 1),
        "drawing_share": round(drawing_s / total_s, 4),
    }
