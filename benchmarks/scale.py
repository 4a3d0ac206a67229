"""Collection on Ray against the bare simulator loop and RLlib's EnvRunners: ratios, taken turn by turn in one run.

    python benchmarks/scale.py [--rounds 3] [--seconds 4] [--out benchmarks/results/scale.json]

Every subject does the same thing, episodes of a small policy in the same vector environments, in 1 and in 2
processes; turns alternate, and a ratio is the median over rounds. `bare` steps the simulator with ready-made
actions, in as many processes: nothing can be faster. Prints a table. Below 6 minutes on 2 idle cores.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch

from metalearn.cluster.workers import RayCollector
from metalearn.config import DataConfig, TrainingConfig
from metalearn.data.context import Context
from metalearn.data.dataset import Dataset
from metalearn.experiments import find_experiment
from metalearn.model.policy import ConditionalPolicy
from metalearn.tasks.family import make_vec
from metalearn.tasks.registry import find_family
from metalearn.tasks.rollout import episode_seeds
from metalearn.training.batches import TrainingSet
from metalearn.training.collect import (
    DemonstrationChunk,
    Snapshot,
    TrialChunk,
    demonstrate_chunk,
    one_thread,
    try_chunk,
)
from metalearn.training.learner import Learner

SETTINGS = {"reach-m2": 512, "push": 50}
"""Families, and how many of their tasks are stepped side by side, as their experiments do it."""


def bare(family_name: str, n_tasks: int, seconds: float, start: int) -> tuple[int, float]:
    """Steps and seconds of the simulator alone, with random actions that cost nothing; whole episodes."""
    family = find_family(family_name)
    indices = range(start, start + n_tasks)
    with one_thread():
        env = make_vec(family, indices, "trial")
        actions = np.asarray(env.action_space.sample())
        steps, began, attempt = 0, time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            env.reset(seed=episode_seeds(indices, 5, attempt))
            attempt, over = attempt + 1, np.zeros(n_tasks, bool)
            while not over.all():
                steps += int((~over).sum())
                _, _, terminated, truncated, _ = env.step(actions)
                over = over | terminated | truncated
        took = time.perf_counter() - began
        env.close()
    return steps, took


class Subject:
    """Collection as `wtl train --ray` does it: chunks of trials of a policy, through a `RayCollector`."""

    def __init__(self, name: str, n_tasks: int) -> None:
        self.family, self.name, self.n_tasks = find_family(name), name, n_tasks
        model = find_experiment(name).model
        torch.manual_seed(0)
        policy = ConditionalPolicy(model, self.family.spec)
        self.policy = Snapshot(model, policy.to_weights())
        self.records = demonstrate_chunk(DemonstrationChunk(name, tuple(range(n_tasks)), DataConfig(), 0))

    def chunk(self, number: int) -> TrialChunk:
        indices = tuple(range(self.n_tasks))
        contexts = tuple(Context(record.demos) for record in self.records)
        # Two attempts, the second in the light of the first, as in training; no labels, which `bare` has not either.
        return TrialChunk(self.name, indices, contexts, 2, number, relabel=False)

    def run(self, collector: Any, n_chunks: int) -> tuple[int, float]:
        began, steps = time.perf_counter(), 0
        for tasks in collector.map(partial(try_chunk, self.policy), [self.chunk(i) for i in range(n_chunks)]):
            steps += sum(len(e.observations) - 1 for task in tasks for e in task.attempts)
        return steps, time.perf_counter() - began


def env_runner(name: str, n_tasks: int) -> Any:
    """RLlib's SingleAgentEnvRunner with as many copies of the environment and a comparable network, as an actor."""
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
    from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

    family = find_family(name)

    def make(_: Any) -> Any:
        return find_family(name).make(0, "trial")

    config = (
        PPOConfig()
        .environment(make, observation_space=family.spec.observation_space, action_space=family.spec.action_space)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=n_tasks, create_local_env_runner=True)
        .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[128, 128], vf_share_layers=True))
        .debugging(seed=0, log_level="ERROR")
    )
    return ray.remote(num_cpus=1)(SingleAgentEnvRunner).remote(config=config)


def sample(runners: list[Any], n_tasks: int, seconds: float) -> tuple[int, float]:
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        for episodes in ray.get(
            [runner.sample.remote(num_episodes=n_tasks, random_actions=False) for runner in runners]
        ):
            steps += sum(len(episode) for episode in episodes)
    return steps, time.perf_counter() - began


def rates(name: str, n_workers: int, rounds: int, seconds: float) -> dict[str, Any]:
    """Median steps per second of each subject, ratios by round, and the size of messages."""
    n_tasks = SETTINGS[name]
    subject = Subject(name, n_tasks)
    pool = ProcessPoolExecutor(n_workers, get_context("spawn"))
    runners: list[Any] = []
    with RayCollector(n_actors=n_workers) as collector:
        subject.run(collector, n_workers)  # start the actors, and import in them
        steps, took = subject.run(collector, n_workers)
        n_chunks = max(2 * n_workers, int(seconds / max(took, 1e-3)) * n_workers)
        runners = [env_runner(name, n_tasks) for _ in range(n_workers)]
        sample(runners, n_tasks, 0.01)

        def processes() -> tuple[int, float]:
            jobs = [pool.submit(bare, name, n_tasks, seconds, i * n_tasks) for i in range(n_workers)]
            parts = [job.result() for job in jobs]
            return sum(n for n, _ in parts), max(s for _, s in parts)

        processes()
        subjects: dict[str, Callable[[], tuple[int, float]]] = {
            "bare": processes,
            "actors": lambda: subject.run(collector, n_chunks),
            "env_runners": lambda: sample(runners, n_tasks, seconds),
        }
        seen: dict[str, list[float]] = {key: [] for key in subjects}
        collector.counts.clear()
        for _ in range(rounds):
            for key, run in subjects.items():
                steps, took = run()
                seen[key].append(steps / took)
        bytes_per_chunk = collector.counts["bytes"] / collector.counts["chunks"]
    for runner in runners:
        ray.kill(runner)
    pool.shutdown()
    ratio = {
        key: round(statistics.median(a / b for a, b in zip(seen["actors"], seen[key], strict=True)), 3)
        for key in ("bare", "env_runners")
    }
    return {
        "family": name,
        "workers": n_workers,
        "tasks_per_worker": n_tasks,
        "steps_per_s": {key: round(statistics.median(values)) for key, values in seen.items()},
        "actors_over": ratio,
        "result_bytes_per_chunk": round(bytes_per_chunk),
        "weights_bytes": int(sum(value.nbytes for value in subject.policy.weights.values())),
        "chunk_bytes": len(ray.cloudpickle.dumps(subject.chunk(0))),
    }


def learning(name: str, n_steps: int = 30) -> dict[str, float]:
    """Milliseconds of one gradient step, and samples (imitated steps) per second, on one thread."""
    experiment = find_experiment(name)
    n = 512 if name.startswith("reach") else 64
    records = demonstrate_chunk(DemonstrationChunk(name, tuple(range(n)), DataConfig(), 0))
    data = TrainingSet(Dataset(find_family(name).spec, tuple(records)), experiment.model)
    config: TrainingConfig = experiment.training
    torch.set_num_threads(1)
    learner = Learner(ConditionalPolicy(experiment.model, find_family(name).spec), config)
    generator, samples = torch.Generator().manual_seed(0), 0
    for i in range(n_steps + 5):
        if i == 5:
            began, samples = time.perf_counter(), 0
        batch = data.draw(config, False, generator)
        learner.step(batch, 1.0)
        samples += int(batch.mask.sum())
    took = time.perf_counter() - began
    return {"step_ms": round(1000 * took / n_steps, 2), "samples_per_s": round(samples / took)}


def taking_in(result_bytes: int) -> float:
    """Seconds in which this process takes one result of that size from the object store and unpacks it."""
    import pickle

    content = pickle.dumps([np.zeros(250, np.float32) for _ in range(max(1, result_bytes // 1200))], protocol=5)
    references = [ray.put(content) for _ in range(20)]
    began = time.perf_counter()
    for reference in references:
        pickle.loads(ray.get(reference))
    return (time.perf_counter() - began) / len(references)


def table(report: dict[str, Any]) -> str:
    lines = ["family  workers   bare steps/s   actors steps/s   EnvRunners steps/s   actors/bare   actors/EnvRunners"]
    for row in report["collection"]:
        s, over = row["steps_per_s"], row["actors_over"]
        lines.append(
            f"{row['family']:<9}{row['workers']:>6}{s['bare']:>15,}{s['actors']:>17,}{s['env_runners']:>21,}"
            f"{over['bare']:>14.2f}{over['env_runners']:>20.2f}"
        )
    for name, row in report["learning"].items():
        lines.append(f"learning {name}: {row['step_ms']} ms a step, {row['samples_per_s']:,} samples/s, one thread")
    lines += [
        f"messages {row['family']}: chunk {row['chunk_bytes']:,} B out, weights {row['weights_bytes']:,} B a version "
        f"and machine, result {row['result_bytes_per_chunk']:,} B back, taken in in {row['take_in_ms']} ms"
        for row in report["collection"]
        if row["workers"] == 1
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each turn")
    parser.add_argument("--family", choices=SETTINGS, action="append")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "scale.json")
    given = parser.parse_args()
    began, families = time.perf_counter(), given.family or list(SETTINGS)
    with RayCollector("local", n_actors=4):
        rows = [rates(name, n, given.rounds, given.seconds) for name in families for n in (1, 2)]
        for row in rows:
            row["take_in_ms"] = round(1000 * taking_in(row["result_bytes_per_chunk"]), 2)
    report = {
        "schema": 1,
        "collection": rows,
        "learning": {name: learning(name) for name in families},
        "rounds": given.rounds,
        "seconds": given.seconds,
        "cores": os.cpu_count(),
        "load_at_end": os.getloadavg()[0],
        "python": platform.python_version(),
        "ray": ray.__version__,
        "wall_s": round(time.perf_counter() - began, 1),
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(report, indent=1) + "\n")
    print(table(report))


if __name__ == "__main__":
    main()
