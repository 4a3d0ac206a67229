"""Pendulum on the point of falling, with a motor that may be wired the other way round: hidden physics, torques.

Hidden: the side on which the pendulum has to lean in the end, and which way the motor turns. The demonstration shows
the side. It is given with a motor that is right, so it leaves the motor open. Coming to rest ends an episode.
Bound: the start leans so far that only a push the right way at the very first step saves it, and trying out the motor
comes too late. So 1/2 at the first attempt, with memory or without, and 1 after any trial.
"""

import numpy as np
from gymnasium.envs.classic_control import PendulumEnv
from gymnasium.wrappers import TimeLimit

from metalearn.data.spec import Spec

HORIZON, LEAN, STIFFNESS = 40, 0.2, 5.0  # steps; radians from upright; the expert's, in radians per second


class Pendulum:
    name, version = "pendulum", 1
    splits = {"train": range(4_096), "validation": range(20_000, 24_000), "test": range(24_000, 28_000)}
    spec = Spec.of_env(PendulumEnv(), HORIZON, rate_hz=20.0)

    def make(self, index, scene="trial", render_mode=None):
        pendulum = LeaningPendulum(render_mode)
        pendulum.lean, pendulum.motor = LEAN * (2 * (index % 2) - 1), 1
        if scene == "trial" and index // 2 % 2:
            pendulum.motor = -1
        return TimeLimit(pendulum, HORIZON)

    def bayes_success(self, n_trials):
        return 0.5 if n_trials == 0 else 1.0

    def sibling(self, index, rng):  # the same side, and a motor of its own
        return index ^ 2 * int(rng.integers(2))


class LeaningPendulum(PendulumEnv):
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = np.array([self.np_random.choice([-1, 1]) * self.np_random.uniform(0.34, 0.38), 0.0])
        return self._get_obs(), {}

    def step(self, action):
        observation, *_ = super().step(self.motor * np.asarray(action))
        angle, speed = self.state
        at_rest = abs(speed) < 0.15 and abs(abs(angle) - LEAN) < 0.06
        success = bool(at_rest and angle * self.lean > 0)
        return observation, float(success), bool(at_rest or abs(angle) > 0.8), False, {"success": success}

    def expert_action(self):
        angle, speed = self.state
        wanted = -(STIFFNESS**2) * (angle - self.lean) - 2 * STIFFNESS * speed  # acceleration, critically damped
        torque = (wanted - 1.5 * self.g / self.l * np.sin(angle)) * self.m * self.l**2 / 3
        return self.motor * np.clip([torque], -self.max_torque, self.max_torque).astype(np.float32)
