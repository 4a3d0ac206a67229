"""Steps of a bundle on a Dark Room or Key-to-Door manifest beside the fewest possible ones, per attempt.

python benchmarks/dark.py models/key-to-door [--manifest key-to-door] [--tasks 1000] [--seed 0]
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from metalearn.bundle import Bundle
from metalearn.data.episode import Episode
from metalearn.evaluation.manifest import load_manifest
from metalearn.evaluation.protocol import Player, Protocol, adapted, expert_player, random_player
from metalearn.evaluation.statistics import wilson
from metalearn.model.inference import Inference
from metalearn.tasks.envs.dark_room import DarkRoom, KeyToDoor
from metalearn.tasks.registry import find_family


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--manifest", default="key-to-door")
    parser.add_argument("--tasks", type=int, default=None)
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    manifest = load_manifest(arguments.manifest)
    family = find_family(manifest.family)
    assert isinstance(family, DarkRoom | KeyToDoor), f"{family.name} is not a dark family"
    protocol = Protocol.of(family, manifest, seed=arguments.seed, n_tasks=arguments.tasks)
    contexts = protocol.demonstrations()
    players: dict[str, Player] = {
        "wtl": adapted(Inference.load(Bundle.load(arguments.bundle))),
        "random": random_player,
        "expert": expert_player,
    }
    print(f"{manifest.name}, {len(protocol.indices)} tasks, seed {protocol.seed}")
    print("method  trials  success              optimal              within 1.25          return  steps")
    for name, player in players.items():
        for trials, episodes in enumerate(protocol.attempts(player, contexts)):
            print(f"{name:7s} {trials:6d}  {score(family, protocol.indices, episodes)}", flush=True)


def score(family: DarkRoom | KeyToDoor, indices: Sequence[int], episodes: Sequence[Episode]) -> str:
    """Success, success within 1 and 1.25 times the fewest steps (95% Wilson intervals), mean return and steps."""
    fewest = np.array([family.optimal_steps(index, episode) for index, episode in zip(indices, episodes, strict=True)])
    steps = np.array([len(episode) for episode in episodes])
    returns = np.array([0.0 if episode.rewards is None else episode.rewards.sum() for episode in episodes])
    reached = returns == (1 if isinstance(family, DarkRoom) else 2)
    rates = [reached, reached & (steps <= fewest), reached & (steps <= 1.25 * fewest)]
    cells = [f"{rate.mean():.3f} [{low:.3f}, {high:.3f}]" for rate in rates for low, high in [_interval(rate)]]
    return f"{'  '.join(cells)}  {returns.mean():6.3f}  {steps.mean():5.1f}"


def _interval(rate: np.ndarray) -> tuple[float, float]:
    return wilson(int(rate.sum()), len(rate))


if __name__ == "__main__":
    main()
