"""Scores of methods that learn nothing on ML10, by task type, and how fast it steps per second of one core.

python benchmarks/ml10_scores.py [--tasks 50] [--seed 0] [--family ml10]
"""

import argparse
import time

import mujoco
import numpy as np

from metalearn.baselines.demo_replay import DemoReplay, StateMatchedReplay
from metalearn.data.context import Context
from metalearn.data.episode import Array
from metalearn.evaluation.statistics import wilson
from metalearn.tasks.envs.metaworld.arm import METRES_PER_ACTION, STATE, SUBSTEPS
from metalearn.tasks.envs.metaworld.ml10 import ML10, SPLITS, TEST, TRAIN, ML10VectorEnv
from metalearn.tasks.registry import find_family
from metalearn.tasks.rollout import RandomActor, demonstrate, episode_seeds, rollout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=50, help="of each type")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--family", default="ml10", choices=["ml10", "ml10-frozen"])
    arguments = parser.parse_args()
    family = find_family(arguments.family)
    assert isinstance(family, ML10)
    print_speed(family)
    for split, types in (("test", TEST), ("validation", TRAIN)):
        print_scores(family, [*SPLITS[split][: arguments.tasks * len(types)]], arguments.seed)


def print_scores(family: ML10, indices: list[int], seed: int) -> None:
    """Success by type; the demonstration keeps its actions, which replay needs."""
    seeds = episode_seeds(indices, seed, 1)
    demos = demonstrate(family, indices, episode_seeds(indices, seed, 0), "demo").episodes
    contexts = [Context((demo,)) for demo in demos]
    env, rng = family.make_vec(indices), np.random.default_rng(seed)
    scores = {
        "expert": demonstrate(family, indices, seeds, "trial").success,
        "expert, noise 0.1": demonstrate(family, indices, seeds, "trial", noise=0.1).success,
        "random": rollout(env, RandomActor(env, seed), seeds).success,
        "replay": rollout(env, DemoReplay().adapt(contexts, rng), seeds).success,
        "state-matched": rollout(env, StateMatchedReplay().adapt(contexts, rng), seeds).success,
    }
    env.close()
    types = np.array([family.task_type(index) for index in indices])
    for method, success in scores.items():
        for task in (*dict.fromkeys(types), "all"):
            of_type = success[types == task] if task != "all" else success
            low, high = wilson(int(of_type.sum()), len(of_type))
            print(f"{method:18s} {task:26s} {of_type.mean():.3f} [{low:.3f}, {high:.3f}]", flush=True)


def print_speed(family: ML10, n_each: int = 4, n_steps: int = 60) -> None:
    """Steps a second with the expert's actions: the vector environment, and MuJoCo alone."""
    for split, types in (("train", TRAIN), ("test", TEST)):
        indices = [*SPLITS[split][: n_each * len(types)]]
        env, seeds = family.make_vec(indices), episode_seeds(indices, 0, 0)
        env.reset(seed=seeds)
        actions = []
        for _ in range(n_steps):  # at half its pace, so that nothing is solved and ends
            actions.append(np.clip(env.expert_actions() * 0.5, -1, 1))
            env.step(actions[-1])
        env.reset(seed=seeds)
        start, n = time.process_time(), 0
        for action in actions:
            env.step(action)
            n += len(indices)
        ours = n / (time.process_time() - start)
        env.reset(seed=seeds)
        bare = bare_rate(env, np.stack(actions))
        print(f"{split:6s} {ours:8.0f} steps/s, MuJoCo alone {bare:8.0f}: {bare / ours - 1:.0%} more time", flush=True)
        env.close()


def bare_rate(env: ML10VectorEnv, actions: Array) -> float:
    """The same physics in the shortest loop there is: no observation, no reward."""
    arms = env.arms
    start = time.process_time()
    for row, scene in enumerate(arms.scenes):
        simulation, low, high = scene.simulation, scene.env.mocap_low, scene.env.mocap_high
        scene.mj_model.body_pos[scene.body] = arms.furniture[row]
        mujoco.mj_setState(scene.mj_model, simulation.data, arms.states[row], STATE)
        for action in actions[:, row]:
            simulation.mocap_xyz[:] = np.clip(simulation.mocap_xyz + action[:3] * METRES_PER_ACTION, low, high)
            simulation.ctrl[:] = action[3], -action[3]
            mujoco.mj_step(scene.mj_model, simulation.data, nstep=SUBSTEPS)
    return actions.shape[0] * actions.shape[1] / (time.process_time() - start)


if __name__ == "__main__":
    main()
