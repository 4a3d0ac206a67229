"""Random and expert scores of the Meta-World families, and how fast they step per second of one core.

python benchmarks/metaworld_scores.py [--tasks 500] [--seed 0]
"""

import argparse
import time
import warnings

import mujoco
import numpy as np

from metalearn.baselines.demo_replay import DemoReplay, StateMatchedReplay
from metalearn.data.context import Context
from metalearn.data.episode import Array
from metalearn.evaluation.statistics import wilson
from metalearn.tasks.envs.metaworld.push_and_pick import PickPlace, PickPlaceStrict, PuckFamily, Push, PushStrict
from metalearn.tasks.family import make_vec, tasks_of
from metalearn.tasks.rollout import RandomActor, demonstrate, episode_seeds, rollout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for family in (Push(), PushStrict(), PickPlace(), PickPlaceStrict()):
        indices = tasks_of(family, "test", arguments.tasks, arguments.seed)
        print_scores(family, indices)
    for kind in (Push, PickPlace):
        print_speed(kind(radius=0.0), tasks_of(kind(), "train", 64, arguments.seed))


def print_scores(family: PuckFamily, indices: list[int]) -> None:
    """Success of methods that learn nothing, on new places of the puck."""
    seeds, rng = episode_seeds(indices, 1, 0), np.random.default_rng(0)
    demos = demonstrate(family, indices, episode_seeds(indices, 0, 0), "demo").episodes
    contexts = [Context((demo,)) for demo in demos]
    with_env = make_vec(family, indices)
    scores = {
        "expert": demonstrate(family, indices, seeds, "trial").success,
        "expert, noise 0.1": demonstrate(family, indices, seeds, "trial", noise=0.1).success,
        "expert, noise 0.3": demonstrate(family, indices, seeds, "trial", noise=0.3).success,
        "random": rollout(with_env, RandomActor(with_env, 0), seeds).success,
        "replay": rollout(with_env, DemoReplay().adapt(contexts, rng), seeds).success,
        "state-matched": rollout(with_env, StateMatchedReplay().adapt(contexts, rng), seeds).success,
    }
    with_env.close()
    for method, success in scores.items():
        low, high = wilson(int(success.sum()), len(success))
        print(f"{family.name:18s} {method:18s} {success.mean():.3f} [{low:.3f}, {high:.3f}]", flush=True)


def print_speed(family: PuckFamily, indices: list[int], n_steps: int = 60) -> None:
    """Expert episodes and steps a second: the vector environment, MuJoCo alone, Meta-World's environment."""
    seeds = episode_seeds(indices, 0, 0)
    start = time.process_time()
    demonstrate(type(family)(), indices, seeds, "trial", noise=0.1)
    print(f"{family.task:14s} {len(indices) / (time.process_time() - start):8.0f} expert episodes/s")

    env = make_vec(family, indices)
    env.reset(seed=seeds)
    actions = []
    for _ in range(n_steps):
        actions.append(env.expert_actions())
        env.step(actions[-1])
    env.reset(seed=seeds)
    start = time.process_time()
    for action in actions:
        env.step(action)
    print(f"{family.task:14s} {rate(start, n_steps * len(indices)):8.0f} steps/s, vector environment")
    print(f"{family.task:14s} {bare_rate(family, indices, seeds, np.stack(actions)):8.0f} steps/s, MuJoCo alone")
    print(f"{family.task:14s} {original_rate(family, np.stack(actions)[:, 0]):8.0f} steps/s, Meta-World's own")


def bare_rate(family: PuckFamily, indices: list[int], seeds: list[int], actions: Array) -> float:
    """The same physics in the shortest loop there is: no observation, no reward."""
    env = family.make_vec(indices)
    env.reset(seed=seeds)
    model, simulations = env.arms.model, env.arms.simulations
    start = time.process_time()
    for row, simulation in enumerate(simulations):
        for action in actions[:, row]:
            place = simulation.mocap_xyz + action[:3] / 100
            simulation.mocap_xyz[:] = np.clip(place, model.hand_low, model.hand_high)
            simulation.ctrl[:] = action[3], -action[3]
            mujoco.mj_step(model.mj_model, simulation.data, nstep=5)
    per_second = rate(start, actions.shape[0] * actions.shape[1])
    env.close()
    return per_second


def original_rate(family: PuckFamily, actions: Array) -> float:
    """Meta-World's `step`, with its shaped reward."""
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    env = ALL_V3_ENVIRONMENTS[family.task]()
    env._set_task_called = True
    env._last_rand_vec = np.array([0.0, 0.6, 0.02, *family.goal(0)])
    env.reset()
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for action in actions:
            env.step(action)
    return rate(start, len(actions))


def rate(start: float, n: int) -> float:
    return n / (time.process_time() - start)


if __name__ == "__main__":
    main()
