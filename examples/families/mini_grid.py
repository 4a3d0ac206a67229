"""MiniGrid with a hidden rule, in MiniGrid's own view but for the mission: is it the shape that counts, or the colour?

The demonstrator picks up a red ball, say, where there is only a blue key besides. In a trial there are a red key, a
blue ball and a blue key: right is the first if colour counts, and the second if shape does. Picking up anything ends
an episode, and nothing else tells. Bound: so 1/2 at the first attempt, and 1 after any trial.
"""

import numpy as np
from gymnasium.wrappers import FilterObservation
from minigrid.core.constants import COLOR_NAMES, DIR_TO_VEC
from minigrid.core.world_object import Ball, Box, Key
from minigrid.envs import EmptyEnv

from metalearn.data.spec import Spec

HORIZON = 30


class Room(EmptyEnv):
    def _gen_grid(self, width, height):
        super()._gen_grid(width, height)
        for thing in self.things:  # never in a corner, where two others would shut it in
            self.place_obj(thing, top=(2, 1), size=(3, 4))

    def step(self, action):
        observation, _, _, truncated, info = super().step(action)
        info["success"] = self.carrying is self.right
        return observation, float(info["success"]), self.carrying is not None, truncated, info

    def expert_action(self):  # the first action of a shortest way, found breadth first
        ways, known = [(tuple(self.agent_pos), self.agent_dir, [])], set()
        for place, facing, way in ways:
            ahead = tuple(np.add(place, DIR_TO_VEC[facing]))
            thing = self.grid.get(*ahead)
            if thing is self.right:
                return [*way, self.actions.pickup][0]
            after = [(place, (facing - 1) % 4), (place, (facing + 1) % 4), (place if thing else ahead, facing)]
            ways += [(*state, [*way, action]) for action, state in enumerate(after) if state not in known]
            known.update(after)
        return self.actions.done  # it was a box, and was opened


class MiniGrid:
    name, version = "mini-grid", 1
    splits = {"train": range(4_096), "validation": range(20_000, 24_000), "test": range(24_000, 28_000)}

    def make(self, index, scene="trial", render_mode=None):
        room = Room(7, agent_start_pos=(3, 5), agent_start_dir=3, max_steps=HORIZON, render_mode=render_mode)
        (a, b, _), (c, d, *_) = map(np.random.default_rng(index // 2).permutation, ([Key, Ball, Box], COLOR_NAMES))
        room.things = [a(c), b(d)] if scene == "demo" else [b(c), a(d), b(d)]
        room.right = room.things[0 if scene == "demo" else index % 2]
        return FilterObservation(room, ["direction", "image"])

    spec = Spec.of_env(make(None, 0), HORIZON, rate_hz=10.0)

    def bayes_success(self, n_trials):
        return 0.5 if n_trials == 0 else 1.0

    def sibling(self, index, rng):  # the same things, and a rule of its own
        return index - index % 2 + int(rng.integers(2))
