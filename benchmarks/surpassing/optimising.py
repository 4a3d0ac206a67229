"""RLlib's PPO on whatever pays: the environment, or a reward that was learnt. Counts environment steps.

The settings are those of OpenAI's baselines for MuJoCo, which D-REX used, but for larger minibatches and a constant
learning rate, and with as many environments side by side as make one batch of 2,048 steps.
"""

from collections.abc import Callable
from contextlib import closing
from itertools import count
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Shaped

from benchmarks.surpassing.locomotion import Locomotion, roll_out
from metalearn.adapter import Actor
from metalearn.baselines.learning_curve import training_seeds
from metalearn.baselines.rl import Layouts, Learning, ModuleActor, Pay, Ppo, within
from metalearn.baselines.search import Scaler
from metalearn.data.episode import Array
from metalearn.data.spec import Spec
from metalearn.tasks.family import make_vec
from metalearn.tasks.rollout import RandomActor
from metalearn.training.collect import one_thread

PPO = Ppo(n_envs=8, minibatch=128, epochs=10, learning_rate=3e-4)
BATCH_STEPS = 2_048
RANDOM_STREAM = 1 << 46
LARGEST_REWARD = 10.0  # in deviations
SMALLEST = 1e-8

Look = Callable[[int, Actor, Actor], None]
"""Is called with environment steps so far, the policy, and the policy as it explores."""


class Running:
    """Mean and deviation of everything so far."""

    def __init__(self) -> None:
        self.n, self.mean, self._squares = 0, 0.0, 0.0

    def add(self, values: Array) -> None:
        """Count some more values (Chan, Golub and LeVeque, 1979)."""
        n, mean = len(values), float(values.mean())
        total = self.n + n
        self._squares += float(np.square(values - mean).sum()) + (mean - self.mean) ** 2 * self.n * n / total
        self.mean += (mean - self.mean) * n / total
        self.n = total

    @property
    def std(self) -> float:
        return float(np.sqrt(self._squares / max(1, self.n)) + SMALLEST)


def environment_pay() -> Pay:
    """The environment's rewards, in deviations of their discounted sum, as baselines' VecNormalize has them."""
    sums = Running()

    def pay(seen: Array, done: Array, rewards: Array) -> Array:
        sums.add(np.array(discounted(rewards, PPO.discount)))
        return np.clip(rewards / sums.std, -LARGEST_REWARD, LARGEST_REWARD)

    return pay


def discounted(rewards: Array, discount: float) -> list[float]:
    """At each step the sum of the rewards up to it, those of k steps before counting discount^k."""
    total, found = 0.0, []
    for reward in rewards:
        total = discount * total + float(reward)
        found.append(total)
    return found


def learnt_pay(
    rewards_of: Callable[[Float32[np.ndarray, "t o"]], Float32[np.ndarray, "t n"]], action_cost: float
) -> Pay:
    """D-REX's: what n networks say, each standardised by all that it said, their mean, less the cost of the action.

    Its code pays for the observation after the action. Actions are bounded by 1 in both environments.
    """
    said: list[Running] = []

    def pay(seen: Array, done: Array, _rewards: Array) -> Array:
        found = np.asarray(rewards_of(seen[1:]), np.float64)
        said.extend(Running() for _ in range(found.shape[1] - len(said)))
        for column, running in zip(found.T, said, strict=True):
            running.add(column)
        standard = (found - [one.mean for one in said]) / [one.std for one in said]
        return standard.mean(1) - action_cost * np.square(np.clip(done, -1, 1)).sum(1)

    return pay


class Exploring:
    """The current policy of an RLlib module, as it acts while it learns."""

    def __init__(self, module: Any, spec: Spec) -> None:
        self._module, self._spec = module, spec

    @torch.no_grad()
    def act(self, observations: Shaped[np.ndarray, "b *o"]) -> Shaped[np.ndarray, "b *a"]:
        out = self._module.actor(torch.from_numpy(observations))
        drawn = self._module.get_exploration_action_dist_cls().from_logits(out).sample()
        return within(self._spec, drawn.numpy())


@one_thread()
def optimise(family: Locomotion, pay: Pay, steps: int, every: int, seed: int, look: Look) -> None:
    """Learn from scratch for at least `steps` environment steps; look at the start, and every so many."""
    env = make_vec(family, [0] * PPO.random_episodes)
    seen = roll_out(family, [(RandomActor(env, seed), PPO.random_episodes)], RANDOM_STREAM + seed)
    env.close()
    scaler = Scaler.of(seen)
    model_config = {"spec": family.spec.to_json(), "mean": scaler.mean, "std": scaler.std, "cloned": None}
    seeds = (training_seeds(0, seed, PPO.random_episodes + i, 1)[0] for i in count())
    used, due = 0, 0
    with (
        torch.random.fork_rng(devices=[]),  # RLlib seeds the generator of the process
        closing(
            Learning(lambda _: Layouts(family.make(0), family.spec, seeds), PPO, model_config, seed, pay)
        ) as learning,
    ):
        acting = ModuleActor(learning.module, family.spec), Exploring(learning.module, family.spec)
        while True:
            if used >= due:
                look(used, *acting)
                due += every
            if used >= steps:
                return
            learning.step(BATCH_STEPS)
            used += BATCH_STEPS
