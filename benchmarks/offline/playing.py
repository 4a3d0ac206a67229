"""One episode of each of b tasks by whoever is told, beside what it observes, what it was paid for the last step."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Float, Shaped

from metalearn.adapter import Actor
from metalearn.tasks.family import Family, make_vec


class PaidActor(Protocol):
    """Acts in b rows in lockstep from the first step of an episode on."""

    def act(
        self, observations: Shaped[np.ndarray, "b *o"], rewards: Float[np.ndarray, " b"]
    ) -> Shaped[np.ndarray, "b *a"]:
        """The actions, after the rewards of the last step (0 before the first one)."""


class Unpaid:
    """An actor that does not look at rewards."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor

    def act(self, observations: Shaped[np.ndarray, "b *o"], _: Float[np.ndarray, " b"]) -> Shaped[np.ndarray, "b *a"]:
        return self._actor.act(observations)


def returns_of(
    actor: PaidActor, family: Family, indices: Sequence[int], seeds: Sequence[int]
) -> Float[np.ndarray, " b"]:
    """The undiscounted return of one episode of each task, in the environment's unit."""
    env = make_vec(family, indices)
    try:
        observations = family.spec.as_array(env.reset(seed=list(seeds))[0])
        rewards, total, ended = np.zeros(len(seeds)), np.zeros(len(seeds)), np.zeros(len(seeds), bool)
        while not ended.all():
            after, paid, terminated, truncated, _ = env.step(actor.act(observations, rewards))
            observations, rewards = family.spec.as_array(after), np.asarray(paid, np.float64)
            total += rewards  # a row that has ended is paid 0
            ended |= terminated | truncated
    finally:
        env.close()
    return total
