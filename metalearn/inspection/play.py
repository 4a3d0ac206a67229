"""Playing a few episodes: the expert, random actions, and recorded actions again. Knows nothing of what they show.

A layout is a seed that all tasks are reset with: what then differs between their episodes is the task.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Shaped

from metalearn.data.episode import Array, Episode
from metalearn.tasks.family import Family, Scene, VectorFamily, make_vec
from metalearn.tasks.rollout import RandomActor, demonstrate, rollout

Tell = Callable[[str], None]
"""Called with what is being done now, for whoever waits."""

EXTRA = 1.25
"""A replay may take so many times the steps of what is replayed; the last action is held."""


def chunks(family: Family, n: int) -> list[slice]:
    """`n` rows in pieces; a family that steps its tasks one by one holds a simulator per row."""
    size = 256 if isinstance(family, VectorFamily) else 32
    return [slice(start, start + size) for start in range(0, n, size)]


def play_expert(family: Family, indices: Sequence[int], seeds: Sequence[int], scene: Scene) -> list[Episode]:
    """One expert episode of each task. Raises InvalidConfig: no expert, or an environment that does not work."""
    found: list[Episode] = []
    for part in chunks(family, len(indices)):
        found += demonstrate(family, indices[part], seeds[part], scene).episodes
    return found


def play_random(family: Family, indices: Sequence[int], seeds: Sequence[int], scene: Scene) -> list[Episode]:
    """One episode of random actions in each task."""
    found: list[Episode] = []
    for part in chunks(family, len(indices)):
        env = make_vec(family, indices[part], scene)
        try:
            found += rollout(env, RandomActor(env, seeds[part][0]), seeds[part]).episodes
        finally:
            env.close()
    return found


def replay(family: Family, indices: Sequence[int], plans: Sequence[Array], layout: int) -> Bool[np.ndarray, " n"]:
    """Whether each task is solved by the actions `[t, *a]` of its plan, in the trial scene of a layout."""
    found = [_replay(family, indices[part], plans[part], layout) for part in chunks(family, len(indices))]
    return np.concatenate(found)


def _replay(family: Family, indices: Sequence[int], plans: Sequence[Array], layout: int) -> Array:
    limits = np.array([min(family.spec.horizon, math.ceil(EXTRA * len(plan)) + 1) for plan in plans])
    solved, ended = np.zeros(len(plans), bool), np.zeros(len(plans), bool)
    env = make_vec(family, indices, "trial")
    try:
        env.reset(seed=[layout] * len(plans))
        for t in range(int(limits.max())):
            actions = np.stack([plan[min(t, len(plan) - 1)] for plan in plans])
            _, _, terminated, truncated, infos = env.step(actions)
            solved |= infos["success"] & ~ended
            ended |= terminated | truncated | (t + 1 >= limits)
            if ended.all():
                break
    finally:
        env.close()
    return solved


def first_observations(family: Family, indices: Sequence[int], layout: int, scene: Scene = "trial") -> Array:
    """The observation that each task starts with in a layout."""
    found = []
    for part in chunks(family, len(indices)):
        env = make_vec(family, indices[part], scene)
        try:
            found.append(family.spec.as_array(env.reset(seed=[layout] * env.num_envs)[0]))
        finally:
            env.close()
    return np.concatenate(found)


def act_alike(
    family: Family, indices: Sequence[int], actions: Shaped[np.ndarray, "k *a"], layout: int
) -> tuple[Array, Array]:
    """Take the same k actions in every task: the observations `[n, *o]` after them, the sums of rewards `[n]`."""
    seen, rewarded = [], []
    for part in chunks(family, len(indices)):
        env = make_vec(family, indices[part], "trial")
        try:
            observations, _ = env.reset(seed=[layout] * env.num_envs)
            total = np.zeros(env.num_envs)
            for action in actions:
                observations, rewards, *_ = env.step(np.stack([action] * env.num_envs))
                total += rewards
        finally:
            env.close()
        seen.append(family.spec.as_array(observations))
        rewarded.append(total)
    return np.concatenate(seen), np.concatenate(rewarded)
