"""Adapt a served model to a Meta-World goal it has never seen: one demonstration, then attempts, over REST.

Beside `wtl serve`: python examples/metaworld_client.py [http://127.0.0.1:8000] [--attempts 10] [--seed 0]
The simulator runs here, in the client, and is Meta-World itself; the server sees episodes and nothing else.
"""

import argparse
import warnings

import numpy as np
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from metaworld.policies import ENV_POLICY_MAP

from metalearn.data.episode import Array, Episode
from service.client import Adaptation, Client

TASK, HORIZON, EXTRA_STEPS = "push-v3", 150, 20


class World:
    """push-v3 with one goal, which observations hide. Every episode has the puck in a new place."""

    def __init__(self, seed: int) -> None:
        self.rng, self.env = np.random.default_rng(seed), ALL_V3_ENVIRONMENTS[TASK]()
        self.goal = self.rng.uniform([-0.1, 0.8, 0.01], [0.1, 0.9, 0.02])
        self.env._set_task_called = True  # the task is what `reset` sets below, not one of the benchmark's 50

    def reset(self) -> Array:
        """The first observation."""
        puck = self.goal
        while np.linalg.norm(puck[:2] - self.goal[:2]) < 0.15:  # nearer, Meta-World would reset for ever
            puck = self.rng.uniform([-0.1, 0.6, 0.02], [0.1, 0.7, 0.02])
        self.env._last_rand_vec = np.hstack((puck, self.goal))
        return self.env.reset()[0].astype(np.float32)

    def step(self, action: Array) -> tuple[Array, bool]:
        """The next observation, and whether the puck is at the goal."""
        observation, _, _, _, info = self.env.step(action)
        return observation.astype(np.float32), bool(info["success"])


def demonstrate(world: World) -> Episode:
    """Meta-World's scripted expert, who knows the goal. It goes on a little after it has solved the task."""
    expert, observations, actions, rewards, end = ENV_POLICY_MAP[TASK](), [world.reset()], [], [], HORIZON
    while len(actions) < end:
        seen = np.hstack((observations[-1][:-3], world.env._target_pos))
        actions.append(np.clip(expert.get_action(seen), -1, 1))
        observation, success = world.step(actions[-1])
        observations.append(observation)
        rewards.append(float(success and not any(rewards)))
        end = min(end, len(actions) + EXTRA_STEPS) if success else end
    return Episode.of(observations, actions, rewards, success=any(rewards))


def attempt(world: World, adaptation: Adaptation) -> tuple[Adaptation, bool]:
    """One episode of the served policy; the server records it as a trial and learns from how it went."""
    observation, reward, success = world.reset(), None, False
    with adaptation.episode() as episode:
        for _ in range(HORIZON):
            observation, success = world.step(episode.act(observation, reward))
            if reward := float(success):
                break
        return episode.finish(observation, reward, success), success


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8000")
    for name, default in (("--attempts", 10), ("--seed", 0)):
        parser.add_argument(name, type=int, default=default)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", module="metaworld")  # of actions beyond 1, which `demonstrate` clips
    world, solved = World(options.seed), []
    adaptation = Client(options.url).adapt("push", demos=[demonstrate(world)])
    for i in range(options.attempts):
        adaptation, success = attempt(world, adaptation)
        print(f"attempt {i}: {'solved' if success else 'failed'}", flush=True)
        solved.append(success)
    print(f"{sum(solved)} of {len(solved)} attempts solved, each with the puck in a new place")
