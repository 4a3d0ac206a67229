"""LunarLander, to be set down on one side of the flags, with side engines that may be swapped: hidden physics, Box2D.

Hidden: the side, and which of the side engines is which. The demonstration shows the side. It is given on a lander
whose engines are right, so it leaves them open. The first contact of both legs ends an episode, and so does a crash.
Bound: a few wrong bursts tilt the lander, tell how it is built and can be made good, so whoever remembers the own
episode can always succeed. Who sees only the current state is expected to succeed at one of two first attempts.
"""

import numpy as np
from gymnasium.envs.box2d import LunarLander as Moon
from gymnasium.wrappers import TimeLimit

from metalearn.data.spec import Spec

HORIZON, FRAMES = 80, 4  # steps, and the simulator's frames in each of them


class LunarLander:
    name, version = "lunar-lander", 1
    splits = {"train": range(4_096), "validation": range(20_000, 24_000), "test": range(24_000, 28_000)}
    spec = Spec.of_env(Moon(continuous=True), HORIZON, rate_hz=12.5)

    def make(self, index, scene="trial", render_mode=None):
        moon = TwoSidedMoon(render_mode, continuous=True)
        moon.side, moon.engines = 2 * (index % 2) - 1, np.ones(2, np.float32)
        if scene == "trial" and index // 2 % 2:
            moon.engines[1] = -1
        return TimeLimit(moon, HORIZON)

    def bayes_success(self, n_trials):
        return 1.0

    def sibling(self, index, rng):  # the same side, and engines of its own
        return index ^ 2 * int(rng.integers(2))


class TwoSidedMoon(Moon):
    def reset(self, *, seed=None, options=None):
        self.frames = 1  # Gymnasium's `reset` takes a step
        self.seen, info = super().reset(seed=seed, options=options)
        self.frames = FRAMES
        return self.seen, info

    def step(self, action):
        for _ in range(self.frames):
            self.seen, _, ended, _, _ = super().step(self.engines * action)
            if ended:
                break
        landed = not ended and self.seen[6:].all()
        success = bool(landed and self.seen[0] * self.side > 0.05)
        return self.seen, float(success), bool(ended or landed), False, {"success": success}

    def expert_action(self):
        x, y, x_speed, y_speed, angle, turning, *legs = self.seen
        off = x - 0.2 * self.side
        turn = 0.74 * (np.clip(0.5 * off + 0.63 * x_speed, -0.55, 0.55) - angle) - 0.49 * turning
        lift = 0.34 * (0.49 * abs(off) - y) - 0.65 * y_speed
        turn, lift = (0.0, -0.65 * y_speed) if any(legs) else (turn, lift)
        return self.engines * np.clip([20 * lift - 1, -20 * turn], -1, 1).astype(np.float32)
