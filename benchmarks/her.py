"""Hindsight experience replay on FetchReach, beside a policy that learnt to be asked from play alone.

    pip install --no-deps stable-baselines3                      # not one of the extras: nothing else needs it
    wtl train --family examples.families.fetch_goal:FetchGoal --set model.asks=goal --set data.n_tasks=25 \
        --out runs/fetch-goal                                    # for --bundle
    python -m benchmarks.her [--bundle runs/fetch-goal/bundle] [--steps 20000] [--tasks 100] [--seed 0]

Stable-Baselines3's SAC with HER acts in the same environment without its own reward but 0 and -1. After every 1,000
environment steps it tries 20 goals; it ends when it has reached all of them twice running, or after `--steps`. Then it
and the bundle try the same goals. Prints JSON.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.wrappers import TimeLimit

from examples.families.fetch_goal import HORIZON, FetchGoal, Table
from metalearn.benchmark.asking import FETCH_NEAR, STREAM, asked_from_play
from metalearn.benchmark.figures import mean, rate
from metalearn.bundle import Bundle
from metalearn.model.inference import Inference
from metalearn.tasks.family import tasks_of
from metalearn.tasks.rollout import episode_seeds

EVERY, CHECKED = 1_000, 20
Act = Callable[[dict[str, Any]], Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="of examples/families/fetch_goal.py, to measure beside it")
    parser.add_argument("--steps", type=int, default=20_000, help="environment steps that HER may take")
    parser.add_argument("--seed", type=int, default=0, help="of HER, and of the goals that are tested")
    parser.add_argument("--tasks", type=int, default=100, help="goals that are tested")
    args = parser.parse_args()
    indices = tasks_of(FetchGoal(), "test", args.tasks, args.seed)
    found: dict[str, Any] = {}
    if args.bundle is not None:
        bundle = Bundle.load(args.bundle)
        data = bundle.provenance["experiment"]["data"]
        n_episodes = bundle.provenance["n_tasks"] * data["play_per_task"]
        figures = asked_from_play(Inference.load(bundle), FetchGoal(), indices, args.seed)
        found["asked, from play"] = {"environment steps": n_episodes * HORIZON} | figures
        print(json.dumps(found, indent=2), flush=True)
    seeds = episode_seeds(indices, STREAM + args.seed, 100)  # those of `asked_from_play`
    found["HER"] = hindsight_replay(args.steps, args.seed, seeds)
    print(json.dumps(found, indent=2))


def hindsight_replay(steps: int, seed: int, seeds: list[int]) -> dict[str, Any]:
    """Train, look every so many steps, and test."""
    from stable_baselines3 import SAC, HerReplayBuffer
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    # The settings of RL Baselines3 Zoo for this environment.
    env = VecNormalize(DummyVecEnv([lambda: TimeLimit(Table(), HORIZON)]), norm_reward=False)
    model = SAC(
        "MultiInputPolicy", env, seed=seed, learning_rate=1e-3, batch_size=256, gamma=0.95, learning_starts=EVERY,
        ent_coef="auto", replay_buffer_class=HerReplayBuffer, policy_kwargs={"net_arch": [64, 64]},
        replay_buffer_kwargs={"n_sampled_goal": 4, "goal_selection_strategy": "future"},
    )  # fmt: skip
    checked = list(range(CHECKED))
    looks: list[dict[str, Any]] = []

    def act(seen: dict[str, Any]) -> Any:
        return model.predict(env.normalize_obs({k: v[None] for k, v in seen.items()}), deterministic=True)[0][0]

    while model.num_timesteps < steps:
        model.learn(EVERY, reset_num_timesteps=False)
        at_all, at_end, _ = tried(act, checked)
        looks.append({"steps": model.num_timesteps, "at any step": at_all.mean(), "at the end": at_end.mean()})
        print(json.dumps(looks[-1]), flush=True)
        if len(looks) > 1 and all(look["at the end"] == 1 for look in looks[-2:]):
            break
    at_all, at_end, distance = tried(act, seeds)
    return {
        "environment steps": model.num_timesteps,
        "looks": looks,
        "reached, at any step": rate(at_all),
        "there at the end": rate(at_end),
        "distance at the end, in metres": mean(distance),
    }


def tried(act: Act, seeds: list[int]) -> tuple[Any, Any, Any]:
    """One episode of each seed: whether the goal was reached, whether at the end, and how far away it ended."""
    env, distances = TimeLimit(Table(), HORIZON), []
    for seed in seeds:
        seen, _ = env.reset(seed=seed)
        of_episode = []
        for _ in range(HORIZON):
            seen = env.step(act(seen))[0]
            of_episode.append(float(np.linalg.norm(seen["achieved_goal"] - seen["desired_goal"])))
        distances.append(of_episode)
    env.close()
    found = np.array(distances)
    return (found < FETCH_NEAR).any(1), found[:, -1] < FETCH_NEAR, found[:, -1]


if __name__ == "__main__":
    main()
