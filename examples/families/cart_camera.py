"""A cart on a rail, seen by a camera, with a motor that may be wired the other way round: hidden physics, in pictures.

Hidden: where the cart is to be brought, and which way the motor turns. The demonstration shows the place, with a motor
that is right, so it leaves the motor open. There is no mark on the rail.
Bound: one step tells the direction, so whoever remembers the own episode can always succeed. Who sees only the current
picture is expected to succeed at one of two first attempts.
"""

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import TimeLimit

from metalearn.data.spec import Spec

HORIZON, SIZE, SPEED, NEAR = 25, 32, 0.1, 0.06  # steps, pixels per side, half rails per step and to the place


class Cart(gym.Env):
    observation_space = gym.spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
    goal, motor, place = 0.5, 1, 0.0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.uniform(-0.1, 0.1)
        return self.render(), {}

    def step(self, action):
        self.place = float(np.clip(self.place + SPEED * self.motor * np.clip(action[0], -1, 1), -1, 1))
        success = abs(self.goal - self.place) < NEAR
        return self.render(), float(success), success, False, {"success": success}

    def render(self):
        seen = np.full((SIZE, SIZE, 3), 30, np.uint8)
        seen[24:26] = (90, 90, 110)
        away = abs(np.arange(SIZE) - (SIZE - 1) / 2 * (1 + 0.9 * self.place))
        shade = np.clip(3 - away, 0, 1)[:, None]  # its edges lie between pixels
        seen[16:24] = seen[16:24] * (1 - shade) + 255 * shade
        return seen

    def expert_action(self):
        return np.array([np.clip((self.goal - self.place) / SPEED, -1, 1) * self.motor], np.float32)


class CartCamera:
    name, version = "cart-camera", 1
    splits = {"train": range(4_096), "validation": range(20_000, 24_000), "test": range(24_000, 28_000)}
    spec = Spec.of_env(Cart(), HORIZON, rate_hz=10.0)

    def make(self, index, scene="trial", render_mode=None):
        cart, rng = Cart(), np.random.default_rng(index // 2)
        cart.goal = float(rng.choice([-1, 1]) * rng.uniform(0.3, 0.9))
        cart.motor = -1 if scene == "trial" and index % 2 else 1
        return TimeLimit(cart, HORIZON)

    def bayes_success(self, n_trials):
        return 1.0

    def sibling(self, index, rng):  # the same place, and a motor of its own
        return index - index % 2 + int(rng.integers(2))
