"""Rollouts of actors and experts in environments. Every episode on a task family is made here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Shaped

from metalearn.adapter import Actor
from metalearn.data.episode import Array, Episode
from metalearn.data.errors import InvalidConfig
from metalearn.data.units import Units
from metalearn.tasks.family import Family, Scene, TaskVectorEnv, make_vec

HELD_STEPS = 5
"""How long play holds an action, on average."""

Policy = Callable[[TaskVectorEnv, Array], Array]


@dataclass(frozen=True)
class Rollout:
    """One episode of each of b tasks, and the expert's actions in the states visited (None without an expert)."""

    episodes: list[Episode]
    expert_actions: list[Array] | None

    @property
    def success(self) -> Bool[np.ndarray, " b"]:
        """Whether each episode was a success."""
        return np.array([bool(episode.success) for episode in self.episodes])


def episode_seeds(indices: Sequence[int], stream: int, episode: int) -> list[int]:
    """One seed per task for its `episode`-th episode of a stream (collection, evaluation, ...).

    Different streams have different seeds, so an evaluation never repeats the layouts of training.
    """
    return [int(np.random.SeedSequence((stream, episode, index)).generate_state(1)[0]) for index in indices]


def rollout(env: TaskVectorEnv, actor: Actor, seeds: Sequence[int], *, relabel: bool = False) -> Rollout:
    """Run one episode of `actor` in every row. With `relabel` the expert's action is recorded in every state."""
    return _run(env, lambda _, observations: actor.act(observations), seeds, relabel)


def demonstrate(
    family: Family,
    indices: Sequence[int],
    seeds: Sequence[int],
    scene: Scene,
    noise: float = 0.0,
    seed: int = 0,
    at_random: Sequence[float] | None = None,
) -> Rollout:
    """Run one expert episode of each task.

    Args:
        family: whose tasks.
        indices: the b tasks.
        seeds: of their episodes.
        scene: where the expert acts.
        noise: standard deviation, in halves of the action's range, of what is added to the actions taken and never to
            the recorded labels, so that the expert's corrections are recorded too.
        seed: of the noise and of what is random.
        at_random: how often a uniformly random action is taken in place of the expert's, from 0 to 1, for each task.

    Raises:
        InvalidConfig: the family has no expert.
    """
    rng = np.random.default_rng(seed)
    space, sizes = family.spec.actions, Units.of_bounds(family.spec).sizes
    half_ranges = 1.0 if family.spec.discrete else np.broadcast_to(sizes, space.n_components).reshape(space.shape)

    def expert(env: TaskVectorEnv, observations: Array) -> Array:
        actions = env.expert_actions()
        if actions is None:
            raise InvalidConfig(f"family {family.name} has no expert to demonstrate: train it from recorded episodes")
        if noise > 0 and not family.spec.discrete:
            noisy = actions + rng.normal(0, noise, actions.shape) * half_ranges
            actions = space.clip(noisy.astype(np.float32))
        if random is None or at_random is None:
            return actions
        instead = (rng.random(len(actions)) < at_random).reshape(-1, *[1] * (actions.ndim - 1))
        return np.where(instead, random.act(observations), actions)

    env = make_vec(family, indices, scene)
    random = RandomActor(env, seed) if at_random is not None else None
    try:
        return _run(env, expert, seeds, relabel=True)
    finally:
        env.close()


class RandomActor:
    """Uniformly random actions, the lowest baseline of every table."""

    def __init__(self, env: TaskVectorEnv, seed: int) -> None:
        self._space = env.action_space
        self._space.seed(seed)

    def act(self, observations: Array) -> Shaped[np.ndarray, "b *a"]:
        """A uniformly random action for each row."""
        return np.asarray(self._space.sample())


class PlayingActor:
    """Random actions, each of which is held for some steps: whoever plays gets farther than who trembles."""

    def __init__(self, env: TaskVectorEnv, seed: int) -> None:
        self._random, self._rng = RandomActor(env, seed), np.random.default_rng(seed)
        self._held: Array | None = None

    def act(self, observations: Array) -> Shaped[np.ndarray, "b *a"]:
        """Each row's own action again, or with probability 1 / HELD_STEPS another one."""
        other = self._random.act(observations)
        if self._held is None:
            self._held = other
        renewed = self._rng.random(len(other)) < 1 / HELD_STEPS
        self._held = np.where(renewed.reshape(-1, *[1] * (other.ndim - 1)), other, self._held)
        return self._held


def _run(env: TaskVectorEnv, policy: Policy, seeds: Sequence[int], relabel: bool) -> Rollout:
    spec = env.task_spec
    observations = spec.as_array(env.reset(seed=list(seeds))[0])
    seen, acted, rewarded = [observations], [], []
    labelled: list[Array] | None = []
    lengths = np.zeros(env.num_envs, int)
    ended = np.zeros(env.num_envs, bool)
    success = np.zeros(env.num_envs, bool)
    while not ended.all():
        if relabel and labelled is not None:
            label = env.expert_actions()
            labelled = None if label is None else [*labelled, label]
        actions = policy(env, observations)
        lengths += ~ended
        after, rewards, terminated, truncated, infos = env.step(actions)
        observations = spec.as_array(after)
        success = infos["success"]
        ended = ended | terminated | truncated
        seen.append(observations)
        acted.append(actions)
        rewarded.append(rewards)
    seen_array, acted_array = np.stack(seen, 1), np.stack(acted, 1)
    rewards_array = np.stack(rewarded, 1)
    episodes = [
        spec.shaped(Episode.of(seen_array[i, : n + 1], acted_array[i, :n], rewards_array[i, :n], bool(success[i])))
        for i, n in enumerate(lengths)
    ]
    if not relabel or labelled is None:
        return Rollout(episodes, None)
    labels = np.stack(labelled, 1)
    return Rollout(episodes, [spec.actions.fit(labels[i, :n].copy()) for i, n in enumerate(lengths)])
