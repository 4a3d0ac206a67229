"""A task family of your own, and training from recorded episodes: `python examples/own_task.py`, about half a minute.

A room with a door in each wall. The demonstrator only lines up with the right pair (north and south, or east and
west), so only a trial reveals the right door. In this folder `wtl train --family own_task:Doors` does the same.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np

from metalearn.config import DataConfig, Experiment, TrainingConfig
from metalearn.data.dataset import Dataset, TaskRecord
from metalearn.data.spec import Spec
from metalearn.evaluation.evaluate import evaluate
from metalearn.evaluation.manifest import Manifest
from metalearn.evaluation.table import print_report
from metalearn.model.inference import Inference
from metalearn.tasks.rollout import demonstrate
from metalearn.training.loop import train

MOVES = np.array([(0, 1), (1, 0), (0, -1), (-1, 0)])  # north, east, south, west


class Doors:  # a family has these four attributes and `make`
    name, version = "doors", 1
    spec = Spec(gym.spaces.Box(-3, 3, (2,), np.float32), gym.spaces.Discrete(4), horizon=12, rate_hz=1.0)
    splits = {"train": range(10_000), "validation": range(10_000, 20_000), "test": range(20_000, 30_000)}

    def make(self, index, scene="trial", render_mode=None):
        return DoorsEnv(index % 4, scene == "trial")


class DoorsEnv(gym.Env):
    observation_space, action_space = Doors.spec.observation_space, Doors.spec.action_space

    def __init__(self, door, in_trial):
        self.door, self.in_trial = door, in_trial

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.place = 0, self.np_random.choice([-1, 0, 1] if self.in_trial else [-2, -1, 1, 2], 2)
        self.goal = 3 * MOVES[self.door] if self.in_trial else self.place * abs(MOVES[self.door])
        return self.place.astype(np.float32), {}

    def step(self, action):
        self.steps, self.place = self.steps + 1, np.clip(self.place + MOVES[action], -3, 3)
        success = bool((self.place == self.goal).all())
        over = success or (self.in_trial and bool((self.place == 3 * MOVES).all(1).any()))  # the first door decides
        return self.place.astype(np.float32), float(success), over, not over and self.steps >= 12, {"success": success}

    def expert_action(self):  # optional: without it, train from recorded episodes
        return int(np.argmax(MOVES @ (self.goal - self.place)))

    def render(self):  # optional: what `wtl play` shows; the right door, or where to line up, is green
        room = np.full((7, 7, 3), 240, np.uint8)
        for cell, colour in [*((3 * move, 160) for move in MOVES), (self.goal, (0, 158, 115)), (self.place, 40)]:
            room[3 - cell[1], 3 + cell[0]] = colour
        return room.repeat(48, 0).repeat(48, 1)

    def get_keys_to_action(self):  # optional, as Gymnasium has it: the keys of the moves
        return dict(zip("wdsa", range(4), strict=True))


def record(n):  # in place of your recordings: a demonstration, two good runs and a failed attempt per task
    def run(k, other=0, scene="trial"):
        return demonstrate(Doors(), [i ^ other for i in range(n)], [9 * i + k for i in range(n)], scene).episodes

    failed = [replace(e, rewards=0 * e.rewards, success=False) for e in run(3, other=2)]  # at the opposite door
    runs = enumerate(zip(run(0, scene="demo"), run(1), run(2), failed, strict=True))
    return Dataset(Doors.spec, tuple(TaskRecord(f"doors/{i}", (d,), (a, b), trials=(f,)) for i, (d, a, b, f) in runs))


def main(n_tasks=1024, steps=300):
    training = TrainingConfig(warmup_steps=steps, rounds=2, round_steps=steps // 2, anneal_steps=steps // 6)
    doors = Experiment(name="doors", family="own_task:Doors", data=DataConfig(n_tasks=n_tasks), training=training)
    with tempfile.TemporaryDirectory() as out:
        queried = train(doors, Path(out, "queried"))  # the expert labels the policy's own trials too
        recorded = train(doors.model_copy(update={"family": ""}), Path(out, "recorded"), dataset=record(n_tasks))
    fields = {"name": "doors", "title": "Doors", "family": "doors", "n_tasks": 1000, "horizon": 12}
    manifest = Manifest(**fields, success="the first door reached is the right one", budget={"demos": 1, "trials": 1})
    return evaluate({"wtl": Inference.load(queried), "recorded": Inference.load(recorded)}, Doors(), manifest)


if __name__ == "__main__":
    print_report(main())
