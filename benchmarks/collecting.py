"""The cost of collecting on Meta-World with the shipped policy, beside our bare simulator and Meta-World's own.

python benchmarks/collecting.py [--tasks 64] [--repeats 5]    # writes benchmarks/results/collecting.json

Processor time of one thread; medians of runs one after the other, so that only the ratios matter.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

from metalearn.benchmark.parts.speed import collection_speed
from metalearn.bundle import Bundle
from metalearn.evaluation.manifest import load_manifest
from metalearn.evaluation.protocol import ATTEMPTS, Protocol
from metalearn.model.inference import Inference
from metalearn.tasks.envs.metaworld.push_and_pick import HORIZON
from metalearn.tasks.registry import find_family

ROOT = Path(__file__).parent.parent
MODEL = MANIFEST = "push"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=64, help="stepped side by side")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    manifest = load_manifest(MANIFEST)
    protocol = Protocol.of(find_family(manifest.family), manifest, n_tasks=given.tasks)
    adapter, contexts = Inference.load(Bundle.load(ROOT / "models" / MODEL)), protocol.demonstrations()
    rows = protocol.rows()
    indices = [index for index, _ in rows]

    def run(number: int) -> dict[str, float]:
        seeds = protocol.seeds(rows, ATTEMPTS, number)
        with_labels, without = (
            collection_speed(protocol.family, adapter, contexts, indices, seeds, relabel=relabel)
            for relabel in (True, False)
        )
        return {
            "meta_world_steps_per_s": meta_world_steps_per_s(),
            "simulator_steps_per_s": without["simulator_steps_per_s"],
            "collection_steps_per_s": with_labels["collection_steps_per_s"],
            "overhead_with_labels": with_labels["collection_overhead"],
            "overhead_without_labels": without["collection_overhead"],
        }

    runs = [run(number) for number in range(given.repeats)]
    found = {name: statistics.median(one[name] for one in runs) for name in runs[0]}
    report: dict[str, Any] = {"family": manifest.family, "tasks": given.tasks, "medians": found, "runs": runs}
    (ROOT / "benchmarks" / "results" / "collecting.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(found, indent=1))


def meta_world_steps_per_s(n_episodes: int = 6) -> float:
    """Meta-World's own `push-v3` under random actions, its resets left out."""
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    env: Any = ALL_V3_ENVIRONMENTS["push-v3"]()
    env._freeze_rand_vec = False  # a goal of its own for every episode
    env._set_task_called = True  # what Meta-World's benchmarks do for their tasks
    env.action_space.seed(0)
    taken_s = 0.0
    for _ in range(n_episodes):
        env.reset()
        actions = [env.action_space.sample() for _ in range(HORIZON)]
        started = time.process_time()
        for action in actions:
            env.step(action)
        taken_s += time.process_time() - started
    return round(n_episodes * HORIZON / taken_s, 1)


if __name__ == "__main__":
    main()
