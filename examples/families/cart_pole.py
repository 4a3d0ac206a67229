"""CartPole between two posts, with a motor that may be wired the other way round: hidden physics, discrete actions.

Hidden: the post that the pole has to be carried past, and which way the motor turns. The demonstration shows the post.
It is given on a cart whose motor is right, so it leaves the motor open. The posts end an episode, and so does a fall.
Bound: one push tells the direction and the pole can still be caught, so whoever remembers the own episode can always
succeed. Who sees only the current state is expected to succeed at one of two first attempts.
"""

import numpy as np
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.wrappers import TimeLimit

from metalearn.data.spec import Spec

HORIZON, POST = 60, 0.3  # steps; metres from where the cart starts
GAINS = np.array([3.0, 3.0, 15.0, 4.0])  # of a linear-quadratic regulator, for place, speed, angle and its speed


class CartPole:
    name, version = "cart-pole", 1
    splits = {"train": range(4_096), "validation": range(20_000, 24_000), "test": range(24_000, 28_000)}
    spec = Spec.of_env(CartPoleEnv(), HORIZON, rate_hz=50.0)

    def make(self, index, scene="trial", render_mode=None):
        cart = PostedCartPole(render_mode=render_mode)
        cart.side, cart.reversed_motor = 2 * (index % 2) - 1, int(scene == "trial" and index // 2 % 2)
        return TimeLimit(cart, HORIZON)

    def bayes_success(self, n_trials):
        return 1.0

    def sibling(self, index, rng):  # the same post, and a motor of its own
        return index ^ 2 * int(rng.integers(2))


class PostedCartPole(CartPoleEnv):
    def step(self, action):
        observation, _, fallen, _, _ = super().step(int(action) ^ self.reversed_motor)
        place = self.side * self.state[0]
        success = bool(place > POST and not fallen)
        return observation, float(success), bool(abs(place) > POST or fallen), False, {"success": success}

    def expert_action(self):
        far = np.array([0.8 * self.side, 0.0, 0.0, 0.0])  # it aims beyond the post, so as to pass it in time
        return int(GAINS @ (self.state - far) > 0) ^ self.reversed_motor
