"""Pendulum learnt from recordings alone: nobody is asked for the right action in the states that a policy gets into.

`python -m examples.families.recorded_pendulum FILE` writes them as robomimic does, and `wtl train --episodes
robomimic:FILE --task-by task` trains on them. Of each task there is the demonstration, then an operator's sessions with
the motor at hand: a guess which way it turns and, where the pendulum fell, the other way, until it worked twice.
What is hidden, what the demonstration leaves open and the bound are those of `pendulum.py`: 1/2, then 1.
"""

import json
import sys

import h5py
import numpy as np

from examples.families.pendulum import Pendulum

NOISE = 0.1  # of the operator's hand, a standard deviation in newton metres


class RecordedPendulum(Pendulum):  # what the bundle is evaluated on
    name = "recorded-pendulum"


def attempt(env, guess, rng):
    seen, actions, rewards, ended = [env.reset(seed=int(rng.integers(2**31)))[0]], [], [], False
    while not ended:
        torque = guess * env.unwrapped.expert_action() + rng.normal(0, NOISE, 1)
        actions.append(np.clip(torque, env.action_space.low, env.action_space.high).astype(np.float32))
        observation, reward, terminated, truncated, info = env.step(actions[-1])
        seen.append(observation)
        rewards.append(reward)
        ended = terminated or truncated
    return {"obs/state": seen[:-1], "next_obs/state": seen[1:], "actions": actions, "rewards": rewards}, info["success"]


def record(path, n_tasks=4_096, seed=0):
    rng, n_demos = np.random.default_rng(seed), 0
    with h5py.File(path, "w") as file:
        rate = json.dumps({"env_kwargs": {"control_freq": Pendulum.spec.rate_hz}})
        file.create_group("data").attrs["env_args"] = rate
        for index in range(n_tasks):
            scene, guess, n_good = "demo", 1, 0
            while n_good < 3:
                arrays, success = attempt(Pendulum().make(index, scene), guess, rng)
                demo = file.create_group(f"data/demo_{n_demos}")
                demo.attrs.update({"task": str(index), "success": success})
                for name, array in arrays.items():
                    demo[name] = np.array(array, np.float32)
                guess = rng.choice([-1, 1]) if scene == "demo" else guess if success else -guess
                scene, n_good, n_demos = "trial", n_good + success, n_demos + 1


if __name__ == "__main__":
    record(sys.argv[1])
