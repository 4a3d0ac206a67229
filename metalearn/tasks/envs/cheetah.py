"""HalfCheetah-Vel: Gymnasium's HalfCheetah-v5 has to run at a hidden speed, as in variBAD and AMAGO.

Steps many simulations of one model in lockstep, to the same bits as Gymnasium's environment. The expert is a network
on disk (`expert`).
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
from gymnasium import spaces
from jaxtyping import Float, Float32, Float64, UInt8

from metalearn.data.episode import Array
from metalearn.data.errors import InvalidConfig
from metalearn.data.spec import Spec
from metalearn.tasks.envs.pool import SimulationPool
from metalearn.tasks.expert import Expert, load_expert
from metalearn.tasks.family import SPLITS, Scene, TaskVectorEnv
from metalearn.tasks.single_row import SingleRowEnv

HORIZON = 200
TOP_SPEED = 3.0
"""Upper end of the target speeds, which are uniform from 0, in metres a second."""

ACTION_COST = 0.05
SETTLED_STEPS = 100
"""Number of steps at the end of an episode that decide its success."""

TOLERANCE = 0.3
"""Upper limit of the mean speed error of a successful episode, in metres a second."""

_SUBSTEPS = 5
_RESET_NOISE = 0.1


@dataclass(frozen=True, eq=False)
class CheetahModel:
    """MuJoCo's model, the length of a step, and the pool of simulations: the same for all cheetahs."""

    mj_model: Any
    step_s: float
    pool: SimulationPool[Any]


@lru_cache
def load_model() -> CheetahModel:
    """Gymnasium's model of the cheetah, loaded once per process."""
    path = Path(gym.__file__).parent / "envs" / "mujoco" / "assets" / "half_cheetah.xml"
    model = mujoco.MjModel.from_xml_path(str(path))
    return CheetahModel(model, model.opt.timestep * _SUBSTEPS, SimulationPool(lambda: mujoco.MjData(model)))


class Cheetahs:
    """`b` cheetahs on endless tracks. `states[row]` is qpos and qvel; its first number is the place on the track."""

    states: Float64[np.ndarray, "b 18"]

    def __init__(self, model: CheetahModel, n: int) -> None:
        self.model = model
        self.simulations = model.pool.acquire(n)
        self.states = np.zeros((n, model.mj_model.nq + model.mj_model.nv))

    def reset(self, row: int, rng: np.random.Generator) -> None:
        """Start over with the noise of Gymnasium's `reset`."""
        model, data = self.model.mj_model, self.simulations[row]
        mujoco.mj_resetData(model, data)
        data.qpos[:] = model.qpos0 + rng.uniform(-_RESET_NOISE, _RESET_NOISE, model.nq)
        data.qvel[:] = _RESET_NOISE * rng.standard_normal(model.nv)
        mujoco.mj_forward(model, data)
        self._read(row)

    def step(self, torques: Float[np.ndarray, "b 6"]) -> Float64[np.ndarray, " b"]:
        """Step every cheetah and return the mean speeds during the step, in metres a second."""
        model, nq, before = self.model.mj_model, self.model.mj_model.nq, self.states[:, 0].copy()
        for data, state, torque in zip(self.simulations, self.states, torques, strict=True):
            data.ctrl[:] = torque
            mujoco.mj_step(model, data, nstep=_SUBSTEPS)
            state[:nq] = data.qpos
            state[nq:] = data.qvel
        speeds: Float64[np.ndarray, " b"] = (self.states[:, 0] - before) / self.model.step_s
        return speeds

    def _read(self, row: int) -> None:
        data, nq = self.simulations[row], self.model.mj_model.nq
        self.states[row, :nq], self.states[row, nq:] = data.qpos, data.qvel

    def close(self) -> None:
        """Release the simulations; the cheetahs cannot be used any more."""
        self.model.pool.release(self.simulations)
        self.simulations = []


@dataclass(frozen=True)
class CheetahVel:
    """Run at a speed that is hidden from the observation and uniform on [0, `TOP_SPEED`].

    With `pays_distance` what a task rewards is how far it runs, whatever the speed that it wants: the same episodes,
    for who asks for a return.
    """

    name: str = "cheetah-vel"
    version: int = 1
    pays_distance: bool = False

    @property
    def spec(self) -> Spec:
        """Observation: joint angles and speeds, 17 numbers without the place on the track. Action: six torques."""
        return Spec(
            observation_space=spaces.Box(-np.inf, np.inf, (17,), np.float32),
            action_space=spaces.Box(-1.0, 1.0, (6,)),
            horizon=HORIZON,
            rate_hz=20.0,
        )

    @property
    def splits(self) -> Mapping[str, range]:
        """Every index within `SPLITS` is a task."""
        return SPLITS

    def target(self, index: int) -> float:
        """The target speed of task `index`, in metres a second. Raises InvalidConfig."""
        if index < 0:
            raise InvalidConfig(f"{self.name}: expected a task index of at least 0, got {index}")
        return float(np.random.default_rng((zlib.crc32(b"cheetah-vel"), index)).uniform(0.0, TOP_SPEED))

    def make(self, index: int, scene: Scene = "trial", render_mode: str | None = None) -> gym.Env[Any, Any]:
        """Task `index` as a Gymnasium environment."""
        return SingleRowEnv(self, index, scene, render_mode)

    def make_vec(self, indices: Sequence[int], scene: Scene = "trial") -> "CheetahVectorEnv":
        """The tasks `indices`, one row each. The scenes are alike, but for the noise at the start."""
        targets = np.array([self.target(index) for index in indices])
        return CheetahVectorEnv(self.spec, targets, pays_distance=self.pays_distance)


def cheetah_distance() -> CheetahVel:
    """The same cheetahs, paid by the metre."""
    return CheetahVel("cheetah-distance", pays_distance=True)


class CheetahVectorEnv(TaskVectorEnv):
    """Cheetahs in lockstep for as many steps as the spec says. The reward of a step is

        -|v - v*| - 0.05 |a|^2

    with v the mean speed during the step and v* the target (variBAD, arXiv 1910.08348, appendix; after
    Finn et al. 2017 and Rothfuss et al. 2019), or the distance during the step, in metres. Actions are clipped to
    [-1, 1] first.
    """

    def __init__(self, spec: Spec, targets: Float64[np.ndarray, " b"], *, pays_distance: bool = False) -> None:
        super().__init__(spec, len(targets))
        self._pays_distance = pays_distance
        self.cheetahs = Cheetahs(load_model(), len(targets))
        self.targets = targets
        self._rngs = [np.random.default_rng() for _ in targets]
        self._errors = np.zeros((len(targets), spec.horizon))
        self._n_steps = spec.horizon
        self._renderer: Any = None

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Start an episode in every row; a row without a seed goes on with its generator."""
        self.reseed(self._rngs, seed)
        for row, rng in enumerate(self._rngs):
            self.cheetahs.reset(row, rng)
        self._n_steps = 0
        return self._observations(), {}

    def step(self, actions: Array) -> tuple[Array, Float32[np.ndarray, " b"], Array, Array, dict[str, Any]]:
        """Step every row until the episode is over; `success` is decided on its last step."""
        rewards = np.zeros(self.num_envs, np.float32)
        if self._n_steps < self.task_spec.horizon:
            torques = np.clip(actions, -1.0, 1.0)
            speeds = self.cheetahs.step(torques)
            errors = np.abs(speeds - self.targets)
            if self._pays_distance:
                rewards = (speeds * self.cheetahs.model.step_s).astype(np.float32)
            else:
                rewards = (-errors - ACTION_COST * np.square(torques).sum(1)).astype(np.float32)
            self._errors[:, self._n_steps] = errors
            self._n_steps += 1
        over = np.full(self.num_envs, self._n_steps >= self.task_spec.horizon)
        success = over & (self._errors[:, -SETTLED_STEPS:].mean(1) < TOLERANCE)
        return self._observations(), rewards, np.zeros(self.num_envs, bool), over, {"success": success}

    def expert_actions(self) -> Float32[np.ndarray, "b 6"]:
        """The actions of the expert, who observes the targets."""
        return expert_torques(self._observations(), self.targets)

    def _observations(self) -> Float32[np.ndarray, "b 17"]:
        return self.cheetahs.states[:, 1:].astype(np.float32)

    def render_row(self, row: int) -> UInt8[np.ndarray, "h w 3"]:
        """A picture from a camera that follows the cheetah; it needs OpenGL."""
        if self._renderer is None:
            self._renderer = mujoco.Renderer(self.cheetahs.model.mj_model)
        self._renderer.update_scene(self.cheetahs.simulations[row], camera="track")
        picture: UInt8[np.ndarray, "h w 3"] = self._renderer.render()
        return picture

    def close_extras(self, **kwargs: Any) -> None:
        """Release the simulations, and OpenGL where it was used."""
        if self._renderer is not None:
            self._renderer.close()
        self.cheetahs.close()


def expert_torques(
    observations: Float32[np.ndarray, "b 17"], speeds: Float[np.ndarray, " b"]
) -> Float32[np.ndarray, "b 6"]:
    """The torques of the shipped expert in these states, told to run at these speeds, in metres a second."""
    return _expert().act(np.hstack((observations, speeds[:, None])).astype(np.float32))


@lru_cache
def _expert() -> Expert:
    return load_expert("cheetah-vel")
