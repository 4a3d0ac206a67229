"""The same training in one process, on Ray with one and two actors, and with one and two learners: the same figures?

    python benchmarks/same.py [--steps 400] [--tasks 4096] [--out benchmarks/results/same.json]

The experiment is reach-m2 with fewer tasks and steps, one seed. Success is that of an attempt with one demonstration,
and of the next one, on the same 2,048 test tasks. All but two learners have to end with the same weights, bit for bit;
two learners sum in another order and differ by rounding, which their success has to be within the noise of. A few
minutes on 2 idle cores.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
import torch

from metalearn.benchmark.by_hand import benchmarked_experiment
from metalearn.bundle import Bundle
from metalearn.cluster.train import train_on_learners
from metalearn.cluster.workers import RayCollector
from metalearn.config import DataConfig, Experiment, ModelConfig
from metalearn.data.context import Context
from metalearn.evaluation.statistics import wilson
from metalearn.tasks.family import tasks_of
from metalearn.tasks.registry import find_family
from metalearn.training.collect import DemonstrationChunk, Snapshot, TrialChunk, demonstrate_chunk, try_chunk
from metalearn.training.loop import train
from metalearn.training.run_store import RunStore

CHUNK, N_CHUNKS = 512, 4
STREAM = 77
"""Of layouts that no training has seen."""


def small(steps: int, n_tasks: int) -> Experiment:
    full = benchmarked_experiment("reach-m2").with_steps(steps)
    return full.model_copy(
        update={"data": full.data.model_copy(update={"n_tasks": n_tasks, "chunk_tasks": 256}), "manifest": None}
    )


def in_process(experiment: Experiment, out: Path) -> Bundle:
    return train(experiment, out)


def on_actors(n: int) -> Callable[[Experiment, Path], Bundle]:
    def run(experiment: Experiment, out: Path) -> Bundle:
        with RayCollector(n_actors=n) as collector:
            return train(experiment, out, collector=collector)

    return run


def on_learners(n: int) -> Callable[[Experiment, Path], Bundle]:
    def run(experiment: Experiment, out: Path) -> Bundle:
        return train_on_learners(experiment, RunStore(out), learners=n, n_actors=1)

    return run


WAYS = {
    "in process": in_process,
    "Ray, 1 actor": on_actors(1),
    "Ray, 2 actors": on_actors(2),
    "DDP, 1 learner": on_learners(1),
    "DDP, 2 learners": on_learners(2),
}


def success(bundle: Bundle) -> list[dict[str, Any]]:
    """Of the first and of the second attempt, with 95% Wilson intervals."""
    family, solved = find_family("reach-m2"), [0, 0]
    policy = Snapshot(ModelConfig.model_validate(bundle.model), bundle.weights)
    indices = tasks_of(family, "test", CHUNK * N_CHUNKS, 0)
    for i in range(N_CHUNKS):
        piece = tuple(indices[i * CHUNK : (i + 1) * CHUNK])
        shown = demonstrate_chunk(DemonstrationChunk(family.name, piece, DataConfig(), STREAM))
        chunk = TrialChunk(family.name, piece, tuple(Context(one.demos) for one in shown), 2, STREAM, relabel=False)
        for trials in try_chunk(policy, chunk):
            for number, episode in enumerate(trials.attempts):
                solved[number] += int(bool(episode.success))
    return [{"success": n / len(indices), "ci95": list(wilson(n, len(indices)))} for n in solved]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--tasks", type=int, default=4096)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "same.json")
    given = parser.parse_args()
    torch.set_num_threads(1)  # as an actor or learner of one CPU has it
    experiment, rows = small(given.steps, given.tasks), []
    with RayCollector("local", n_actors=4), tempfile.TemporaryDirectory() as folder:
        for name, run in WAYS.items():
            began = time.perf_counter()
            bundle = run(experiment, Path(folder) / name.replace(" ", "-"))
            wall_s = time.perf_counter() - began
            first, second = success(bundle)
            loss = bundle.provenance["history"][-1]["loss"]
            rows.append(
                {"how": name, "bundle": bundle.id, "loss": loss, "first": first, "second": second}
                | {"wall_s": round(wall_s, 1)}
            )
            print(
                f"{name:<16} loss {loss:.5f}  first {100 * first['success']:.1f}%  "
                f"second {100 * second['success']:.1f}%  {bundle.id[:12]}  {wall_s:.0f} s",
                flush=True,
            )
    alike = {row["bundle"] for row in rows[:-1]}
    report = {"schema": 1, "experiment": experiment.to_json(), "runs": rows, "same_weights": len(alike) == 1}
    report |= {"cores": os.cpu_count(), "ray": ray.__version__, "torch": torch.__version__}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(report, indent=1) + "\n")
    if len(alike) > 1:
        raise SystemExit("not the same weights")


if __name__ == "__main__":
    main()
