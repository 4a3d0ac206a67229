"""PPO from scratch (`metalearn.baselines.rl`) in one task, with its environment steps counted. Imports Ray late."""

from collections.abc import Callable, Iterator
from contextlib import closing

import torch

from metalearn.adapter import Actor
from metalearn.baselines.learning_curve import training_seeds
from metalearn.baselines.rl import Layouts, Learning, ModuleActor, Ppo
from metalearn.baselines.search import Scaler, random_episodes
from metalearn.tasks.family import Family
from metalearn.training.collect import one_thread

Look = Callable[[int, Actor], None]
"""Is given the environment steps so far, and the policy without exploration."""


@one_thread()
def train_ppo(family: Family, index: int, steps: int, seed: int, look: Look) -> ModuleActor:
    """Train until at least so many environment steps were taken, all of them counted.

    Args:
        family: all of whose episodes have `spec.horizon` steps.
        index: the task.
        steps: of the environment, at least.
        seed: of layouts and of learning.
        look: called at the beginning, and after every update.
    """
    ppo = Ppo()
    horizon = family.spec.horizon
    scaler = Scaler.of(random_episodes(family, index, seed, ppo.random_episodes))
    networks = {"spec": family.spec.to_json(), "mean": scaler.mean, "std": scaler.std, "cloned": None}
    layouts = _layouts(index, seed, ppo.random_episodes)
    with (
        torch.random.fork_rng(devices=[]),  # RLlib seeds the generator of the process
        closing(Learning(lambda _: Layouts(family.make(index), family.spec, layouts), ppo, networks, seed)) as learning,
    ):
        actor, used = ModuleActor(learning.module, family.spec), ppo.random_episodes * horizon
        look(used, actor)
        while used < steps:
            batch = ppo.episodes_per_batch * horizon
            learning.step(batch)
            used += batch
            look(used, actor)
    return actor


def _layouts(index: int, seed: int, start: int) -> Iterator[int]:
    while True:
        yield training_seeds(index, seed, start, 1)[0]
        start += 1
