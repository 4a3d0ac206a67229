"""Gymnasium's HalfCheetah-v5 and Hopper-v5 as families of one task, and who acts in them with noise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np
from jaxtyping import Float, Shaped

from metalearn.adapter import Actor
from metalearn.data.episode import Array, Episode
from metalearn.data.spec import Spec
from metalearn.tasks.family import Scene, make_vec
from metalearn.tasks.rollout import episode_seeds, rollout

ROWS = 20
"""Episodes that are rolled out side by side."""


@dataclass(frozen=True)
class Locomotion:
    """The one task of a Gymnasium environment, without the place along the way in the observation, as it comes.

    Rewards are the environment's own. Nobody who learns reads them but the demonstrator.
    """

    name: str
    version: int = 1

    @property
    def splits(self) -> Mapping[str, range]:
        return dict.fromkeys(("train", "validation", "test"), range(1))

    @cached_property
    def spec(self) -> Spec:
        env = gym.make(self.name)
        rate_hz = 1 / env.unwrapped.dt  # type: ignore[attr-defined]
        space = gym.spaces.Box(-np.inf, np.inf, env.observation_space.shape, np.float32)
        env.close()
        return Spec(space, env.action_space, int(env.spec.max_episode_steps), rate_hz)  # type: ignore[union-attr,arg-type]

    def make(self, index: int, scene: Scene = "trial", render_mode: str | None = None) -> gym.Env[Any, Any]:
        return Scored(gym.make(self.name, render_mode=render_mode))


class Scored(gym.Wrapper[Array, Any, Array, Any]):
    """Says of every step that it is no success: what counts here is the return. Observations are float32."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, env.observation_space.shape, np.float32)

    def reset(self, **given: Any) -> tuple[Array, dict[str, Any]]:
        observation, info = self.env.reset(**given)
        return observation.astype(np.float32), info

    def step(self, action: Any) -> tuple[Array, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation.astype(np.float32), reward, terminated, truncated, info | {"success": False}


class Degraded:
    """An actor that takes another action instead of its own in a share of the steps of each row.

    Args:
        actor: who acts otherwise.
        spec: of the actions, which are continuous and bounded.
        noise: `[b]`, the share of each row, from 0 to 1.
        rng: draws.
        instead: `[n, a]`, actions of which one is taken instead; None: uniformly random ones.
    """

    def __init__(
        self,
        actor: Actor,
        spec: Spec,
        noise: Float[np.ndarray, " b"],
        rng: np.random.Generator,
        instead: Float[np.ndarray, "n a"] | None = None,
    ) -> None:
        self._actor, self._space, self._noise, self._rng, self._instead = actor, spec.action_space, noise, rng, instead

    def act(self, observations: Shaped[np.ndarray, "b *o"]) -> Shaped[np.ndarray, "b *a"]:
        """Its own action in most rows, or in few."""
        own = self._actor.act(observations)
        other = self._rng.random(len(own)) < self._noise
        return np.where(other[:, None], self._others(own).astype(own.dtype), own)

    def _others(self, own: Shaped[np.ndarray, "b *a"]) -> Shaped[np.ndarray, "b *a"]:
        if self._instead is None:
            space: Any = self._space
            return self._rng.uniform(space.low, space.high, own.shape)
        return self._instead[self._rng.integers(len(self._instead), size=len(own))]


def roll_out(family: Locomotion, actors: Sequence[tuple[Actor, int]], stream: int) -> list[Episode]:
    """The episodes of each actor, which has as many rows as it is given, one actor after the other.

    Args:
        family: where.
        actors: with the rows of each.
        stream: of layouts; the same one gives the same layouts.
    """
    episodes: list[Episode] = []
    for actor, n in actors:
        seeds = [episode_seeds([0], stream, len(episodes) + row)[0] for row in range(n)]
        env = make_vec(family, [0] * n)
        try:
            episodes += rollout(env, actor, seeds).episodes
        finally:
            env.close()
    return episodes


def n_steps(episodes: Sequence[Episode]) -> int:
    """Environment steps that episodes took."""
    return sum(map(len, episodes))
