"""Success in `reach-m2` when it is learnt in other units: its actions and observations times a size, plus an offset.

python -m benchmarks.units [--steps 800] [--tasks 8192] [--seed 0] [NAME ...]
"""

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from metalearn.benchmark.by_hand import benchmarked_experiment
from metalearn.data.spec import Spec
from metalearn.tasks.family import Scene, TaskVectorEnv
from metalearn.tasks.registry import find_family
from metalearn.training.loop import train

UNITS: Mapping[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "usual": ((1.0, 0.0), (1.0, 0.0)),
    "actions-thousandths": ((1e-3, 0.0), (1.0, 0.0)),
    "actions-degrees": ((180.0, 0.0), (1.0, 0.0)),
    "actions-1000-to-2000": ((500.0, 1500.0), (1.0, 0.0)),
    "observations-millionths": ((1.0, 0.0), (1e-6, 0.0)),
    "both": ((1e-6, 1e-5), (1e6, 1e7)),
}
"""Size and offset of actions, then of observations."""


class _Rows(TaskVectorEnv):
    def __init__(self, inner: TaskVectorEnv, family: "ReachInUnits") -> None:
        super().__init__(family.spec, inner.num_envs)
        self._inner, self._family = inner, family

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observations, info = self._inner.reset(seed=seed, options=options)
        return self._family.seen(observations), info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        size, offset = self._family.action_unit
        usual = ((np.asarray(actions, np.float64) - offset) / size).astype(np.float32)
        observations, *rest = self._inner.step(usual)
        return self._family.seen(observations), *rest  # type: ignore[return-value]

    def expert_actions(self) -> Any:
        size, offset = self._family.action_unit
        actions = self._inner.expert_actions()
        return None if actions is None else (actions.astype(np.float64) * size + offset).astype(np.float32)


class ReachInUnits:
    """`reach-m2`, whose actions and observations are in other units."""

    version = 1

    def __init__(self, unit: str) -> None:
        self.action_unit, self.observation_unit = UNITS[unit]
        self.name, self._inner = f"reach-{unit}", find_family("reach-m2")
        self.splits = self._inner.splits
        spec: Any = self._inner.spec
        (size, offset), (o_size, o_offset) = UNITS[unit]
        low, high = (
            np.array(bound * size + offset, np.float32) for bound in (spec.action_space.low, spec.action_space.high)
        )
        o_low, o_high = (
            np.array(bound * o_size + o_offset, np.float32)
            for bound in (spec.observation_space.low, spec.observation_space.high)
        )
        self.spec = Spec(spaces.Box(o_low, o_high), spaces.Box(low, high), spec.horizon, spec.rate_hz)

    def seen(self, observations: Any) -> Any:
        size, offset = self.observation_unit
        return (observations.astype(np.float64) * size + offset).astype(np.float32)

    def make(self, index: int, scene: Scene = "trial", render_mode: str | None = None) -> gym.Env[Any, Any]:
        raise NotImplementedError("these tasks are stepped side by side alone")

    def make_vec(self, indices: Sequence[int], scene: Scene = "trial") -> TaskVectorEnv:
        return _Rows(self._inner.make_vec(indices, scene), self)  # type: ignore[attr-defined]


for _unit in UNITS:  # `benchmarks.units:NAME` names each of them as a family of one's own
    globals()[_unit.replace("-", "_")] = partial(ReachInUnits, _unit)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("units", nargs="*", default=list(UNITS), metavar="NAME")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--tasks", type=int, default=8192)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    usual = benchmarked_experiment("reach-m2").with_steps(arguments.steps).with_seed(arguments.seed)
    for unit in arguments.units:
        began = time.process_time()
        experiment = usual.model_copy(
            update={
                "family": f"benchmarks.units:{unit.replace('-', '_')}",
                "manifest": None,
                "data": usual.data.model_copy(update={"n_tasks": arguments.tasks}),
                "training": usual.training.model_copy(update={"check_tasks": 1024}),
            }
        )
        with tempfile.TemporaryDirectory() as out:
            last = train(experiment, Path(out)).provenance["history"][-1]
        took = time.process_time() - began
        print(f"{unit}: trial {100 * last['trial']:.1f}, retrial {100 * last['retrial']:.1f}, {took:.0f} s", flush=True)


if __name__ == "__main__":
    main()
