"""d3rlpy's Decision Transformer on the episodes of `gambling`, beside `wtl benchmark asks --part gambling`.

    pip install --no-deps d3rlpy scikit-learn joblib threadpoolctl structlog dataclasses-json marshmallow typing-inspect
    wtl train gambling --out runs/gambling                     # d3rlpy is not one of the extras: nothing else needs it
    python -m benchmarks.decision_transformer [--data runs/gambling/dataset] [--steps 1000] [--seed 0]

It is asked for the returns that the suite asks for, and plays as many test tasks. Prints JSON.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from metalearn.benchmark.ask_controls import everybody
from metalearn.benchmark.figures import mean
from metalearn.data.dataset import Dataset
from metalearn.tasks.envs.gambling import PAYS, Gambling
from metalearn.tasks.family import tasks_of
from metalearn.tasks.rollout import episode_seeds

ASKED = (-15.0, -5.0, -2.5, 1.0, 5.0)
STREAM = 1 << 45


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("runs/gambling/dataset"), help="of the run of `wtl train`")
    parser.add_argument("--steps", type=int, default=1000, help="gradient steps")
    parser.add_argument("--tasks", type=int, default=500, help="test tasks")
    parser.add_argument("--seed", type=int, default=0, help="of the training, and of the tasks")
    args = parser.parse_args()
    print(json.dumps(measured(Dataset.load(args.data), args.steps, args.tasks, args.seed), indent=2))


def measured(data: Dataset, steps: int, tasks: int, seed: int) -> dict[str, Any]:
    """Train, and ask for each return in each task."""
    import d3rlpy

    d3rlpy.seed(seed)
    episodes = everybody(data)
    recorded = d3rlpy.dataset.MDPDataset(
        observations=np.concatenate([e.observations[:-1] for e in episodes]),
        actions=np.concatenate([e.actions for e in episodes if e.actions is not None]).reshape(-1, 1),
        rewards=np.concatenate([e.rewards for e in episodes if e.rewards is not None]),
        terminals=np.concatenate([np.arange(len(e)) == len(e) - 1 for e in episodes]).astype(np.float32),
        action_space=d3rlpy.ActionSpace.DISCRETE,
        action_size=len(PAYS),
    )
    # A position for the one step there is; the rest is as d3rlpy has it.
    learner = d3rlpy.algos.DiscreteDecisionTransformerConfig(context_size=1, max_timestep=1, batch_size=64).create()
    learner.fit(recorded, n_steps=steps, n_steps_per_epoch=steps, show_progress=False, logger_adapter=_nothing())
    family = Gambling()
    indices = tasks_of(family, "test", tasks, seed)
    found = {}
    for value in ASKED:
        env = family.make_vec(indices)
        env.reset(seed=episode_seeds(indices, STREAM + seed, 100))
        actor = learner.as_stateful_wrapper(value, d3rlpy.algos.GreedyTransformerActionSampler())
        arm = int(actor.predict(np.ones(1, np.float32), 0.0))
        paid = env.step(np.full(len(indices), arm))[1]
        found[f"asked for {value:g}"] = {"mean return": mean(paid), "arm": arm}
    return found


def _nothing() -> Any:
    import d3rlpy

    return d3rlpy.logging.NoopAdapterFactory()


if __name__ == "__main__":
    main()
