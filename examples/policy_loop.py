"""A served policy in an ordinary Gymnasium loop, and in a vectorised one. First: `wtl serve`.

.venv/bin/python examples/policy_loop.py [URL]
"""

import sys

import gymnasium as gym
import numpy as np

from metalearn.data.episode import Episode
from metalearn.tasks.registry import find_family
from service.client import Client, Policy


def demonstrate(env: gym.Env, seed: int) -> Episode:
    """What the environment's own expert does."""
    observations, actions, done = [env.reset(seed=seed)[0]], [], False
    while not done:
        actions.append(env.unwrapped.expert_action())
        observation, _, terminated, truncated, info = env.step(actions[-1])
        observations.append(observation)
        done = terminated or truncated
    return Episode.of(np.stack(observations), np.stack(actions), success=info["success"])


def attempt(env: gym.Env, policy: Policy, seed: int) -> bool:
    """One episode; the server records it, and the policy has learned from it when this returns."""
    (observation, _), reward, done = env.reset(seed=seed), None, False
    policy.reset()
    while not done:
        observation, reward, terminated, truncated, info = env.step(policy(observation, reward))
        done = terminated or truncated
    policy.finish(observation, reward, info["success"])
    return bool(info["success"])


def attempts_side_by_side(envs: gym.vector.VectorEnv, policy: Policy, seed: int, n_steps: int) -> int:
    """Many episodes at a time under what it knows now; nothing is recorded. How many were solved."""
    observations, _ = envs.reset(seed=seed)
    solved = np.zeros(envs.num_envs, bool)
    for _ in range(n_steps):
        observations, _, _, _, infos = envs.step(policy(observations))
        solved |= np.asarray(infos.get("success", solved), bool)
    return int(solved.sum())


def main(url: str = "http://127.0.0.1:8000", task: int = 2_000_000) -> None:
    """A test task: one demo, two attempts, then eight at a time."""
    family = find_family("reach-m2")
    with Client(url) as client:
        policy = client.policy(client.adapt("reach", demos=[demonstrate(family.make(task, "demo"), seed=1)]))
        for i in range(2):
            print(f"attempt {i}: {'solved' if attempt(family.make(task), policy, seed=2 + i) else 'failed'}")
        envs = gym.vector.SyncVectorEnv([lambda: family.make(task)] * 8)
        solved = attempts_side_by_side(envs, policy, seed=9, n_steps=family.spec.horizon - 1)
        print(f"side by side: {solved} of 8 solved, knowing {policy.adaptation.n_trials} trials")


if __name__ == "__main__":
    main(*sys.argv[1:2])
