"""Watch, try, learn over REST, with a Gymnasium environment that the client runs. First: `wtl serve`.

.venv/bin/python examples/rest_client.py [URL]
"""

import sys

import gymnasium as gym
import numpy as np

from metalearn.data.episode import Episode
from metalearn.tasks.registry import find_family
from service.client import Adaptation, Client


def watch(env: gym.Env, seed: int) -> Episode:
    """A demonstration by the environment's own expert."""
    observations, actions, done = [env.reset(seed=seed)[0]], [], False
    while not done:
        actions.append(env.unwrapped.expert_action())
        observation, _, terminated, truncated, info = env.step(actions[-1])
        observations.append(observation)
        done = terminated or truncated
    return Episode.of(np.stack(observations), np.stack(actions), success=info["success"])


def attempt(adaptation: Adaptation, env: gym.Env, seed: int) -> tuple[Adaptation, bool]:
    """The policy tries; the server records it, and learns from how it went."""
    (observation, _), reward, done = env.reset(seed=seed), None, False
    with adaptation.episode() as episode:
        while not done:
            action = episode.act(observation, reward)
            observation, reward, terminated, truncated, info = env.step(action)
            done = terminated or truncated
        return episode.finish(observation, reward, success=info["success"]), info["success"]


def main(url: str = "http://127.0.0.1:8000", first_task: int = 2_000_000, n_tasks: int = 10) -> None:
    """Ten test tasks, two attempts at each."""
    family = find_family("reach-m2")
    with Client(url) as client:
        for task in range(first_task, first_task + n_tasks):
            demo = watch(family.make(task, "demo"), seed=task)
            adaptation, tried = attempt(client.adapt("reach", demos=[demo]), family.make(task), seed=task + 1)
            _, retried = attempt(adaptation, family.make(task), seed=task + 2)
            print(f"reach-m2/{task}: trial {_word(tried)}, retrial {_word(retried)}")


def _word(success: bool) -> str:
    return "solved" if success else "failed"


if __name__ == "__main__":
    main(*sys.argv[1:2])
