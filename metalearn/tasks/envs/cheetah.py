"""HalfCheetah-Vel: Gymnasium's HalfCheetah-v5 that has to run at a hidden speed, as in variBAD and AMAGO.

Steps many simulations of one model in lockstep, to the same bits as Gymnasium's environment. Knows the
expert as a network on disk (`expert`); who trained it is not known here.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
from gymnasium import spaces
from jaxtyping import Float, Float32, Float64

from metalearn.data.episode import Array
from metalearn.data.errors import InvalidConfig
from metalearn.data.spec import Spec
from metalearn.tasks.expert import Expert, load_expert
from metalearn.tasks.family import SPLITS, Scene, TaskVectorEnv

HORIZON = 200
TOP_SPEED = 3.0
"""Targets are uniform between 0 and this, in metres a second."""

ACTION_COST = 0.05
SETTLED_STEPS = 100
"""The last steps of an episode, over which its success is judged."""

TOLERANCE = 0.3
"""Mean error of the speed, in metres a second, below which an episode is a success."""

_SUBSTEPS = 5
_RESET_NOISE = 0.1


@dataclass(frozen=True, eq=False)
class Stable:
    """What all simulations share: the model, how long a step lasts, and simulations that nobody uses."""

    model: Any
    step_s: float
    _free: list[Any] = field(default_factory=list)

    def borrow(self, n: int) -> list[Any]:
        """`n` simulations, given back ones first."""
        reused = [self._free.pop() for _ in range(min(n, len(self._free)))]
        return reused + [mujoco.MjData(self.model) for _ in range(n - len(reused))]

    def give_back(self, sims: Sequence[Any]) -> None:
        """Keep `sims` for whoever borrows next."""
        self._free.extend(sims)


@lru_cache
def load_stable() -> Stable:
    """Gymnasium's model of the cheetah, loaded once per process."""
    path = Path(gym.__file__).parent / "envs" / "mujoco" / "assets" / "half_cheetah.xml"
    model = mujoco.MjModel.from_xml_path(str(path))
    return Stable(model, model.opt.timestep * _SUBSTEPS)


class Cheetahs:
    """`b` cheetahs on endless tracks. `states[row]` is qpos and qvel, of which the first is the place."""

    states: Float64[np.ndarray, "b 18"]

    def __init__(self, stable: Stable, n: int) -> None:
        self.stable = stable
        self.sims = stable.borrow(n)
        self.states = np.zeros((n, stable.model.nq + stable.model.nv))

    def reset(self, row: int, rng: np.random.Generator) -> None:
        """Start over with the noise that Gymnasium's `reset` draws."""
        model, data = self.stable.model, self.sims[row]
        mujoco.mj_resetData(model, data)
        data.qpos[:] = model.qpos0 + rng.uniform(-_RESET_NOISE, _RESET_NOISE, model.nq)
        data.qvel[:] = _RESET_NOISE * rng.standard_normal(model.nv)
        mujoco.mj_forward(model, data)
        self._read(row)

    def step(self, torques: Float[np.ndarray, "b 6"]) -> Float64[np.ndarray, " b"]:
        """Move every cheetah on; their mean speeds during the step, in metres a second."""
        model, nq, before = self.stable.model, self.stable.model.nq, self.states[:, 0].copy()
        for data, state, torque in zip(self.sims, self.states, torques, strict=True):
            data.ctrl[:] = torque
            mujoco.mj_step(model, data, nstep=_SUBSTEPS)
            state[:nq] = data.qpos
            state[nq:] = data.qvel
        speeds: Float64[np.ndarray, " b"] = (self.states[:, 0] - before) / self.stable.step_s
        return speeds

    def _read(self, row: int) -> None:
        data, nq = self.sims[row], self.stable.model.nq
        self.states[row, :nq], self.states[row, nq:] = data.qpos, data.qvel

    def close(self) -> None:
        """Give the simulations back; the cheetahs cannot be used any more."""
        self.stable.give_back(self.sims)
        self.sims = []


@dataclass(frozen=True)
class CheetahVel:
    """Run at a speed that is hidden from the observation: targets are uniform on [0, `TOP_SPEED`]."""

    name: str = "cheetah-vel"
    version: int = 1

    @property
    def spec(self) -> Spec:
        """Joint angles and speeds (17 numbers, the place on the track left out) in, six torques out."""
        return Spec(
            observation_space=spaces.Box(-np.inf, np.inf, (17,), np.float32),
            action_space=spaces.Box(-1.0, 1.0, (6,)),
            horizon=HORIZON,
            rate_hz=20.0,
        )

    @property
    def splits(self) -> Mapping[str, range]:
        """Tasks are generated from their index."""
        return SPLITS

    def target(self, index: int) -> float:
        """The speed wanted in task `index`, in metres a second. Raises InvalidConfig."""
        if index < 0:
            raise InvalidConfig(f"{self.name}: expected a task index of at least 0, got {index}")
        return float(np.random.default_rng((zlib.crc32(b"cheetah-vel"), index)).uniform(0.0, TOP_SPEED))

    def make(self, index: int, scene: Scene = "trial", render_mode: str | None = None) -> "CheetahEnv":
        """Task `index` as a Gymnasium environment."""
        return CheetahEnv(self, index, scene, render_mode)

    def make_vec(self, indices: Sequence[int], scene: Scene = "trial") -> "CheetahVectorEnv":
        """The tasks `indices`, one row each; both scenes are the same, with other noise at the start."""
        return CheetahVectorEnv(self.spec, np.array([self.target(index) for index in indices]))


class CheetahVectorEnv(TaskVectorEnv):
    """Cheetahs in lockstep, all for `HORIZON` steps. The reward of a step is

        -|v - v*| - 0.05 |a|^2

    with v the mean speed during the step and v* the target (variBAD, arXiv 1910.08348, appendix; from
    Finn et al. 2017 and Rothfuss et al. 2019). Actions are clipped to [-1, 1] first.
    """

    def __init__(self, spec: Spec, targets: Float64[np.ndarray, " b"]) -> None:
        super().__init__(spec, len(targets))
        self.cheetahs = Cheetahs(load_stable(), len(targets))
        self.targets = targets
        self._rngs = [np.random.default_rng() for _ in targets]
        self._errors = np.zeros((len(targets), HORIZON))
        self._n_steps = HORIZON

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Start an episode in every row; `seed` is one seed per row."""
        seeds = seed if isinstance(seed, Sequence | np.ndarray) else [seed] * self.num_envs
        for row, row_seed in zip(range(self.num_envs), seeds, strict=True):
            if row_seed is not None:
                self._rngs[row] = np.random.default_rng(row_seed)
            self.cheetahs.reset(row, self._rngs[row])
        self._n_steps = 0
        return self._observations(), {}

    def step(self, actions: Array) -> tuple[Array, Float32[np.ndarray, " b"], Array, Array, dict[str, Any]]:
        """Step every row, until the episode is over; success is known on its last step."""
        rewards = np.zeros(self.num_envs, np.float32)
        if self._n_steps < HORIZON:
            torques = np.clip(actions, -1.0, 1.0)
            errors = np.abs(self.cheetahs.step(torques) - self.targets)
            rewards = (-errors - ACTION_COST * np.square(torques).sum(1)).astype(np.float32)
            self._errors[:, self._n_steps] = errors
            self._n_steps += 1
        over = np.full(self.num_envs, self._n_steps >= HORIZON)
        success = over & (self._errors[:, -SETTLED_STEPS:].mean(1) < TOLERANCE)
        return self._observations(), rewards, np.zeros(self.num_envs, bool), over, {"success": success}

    def expert_actions(self) -> Float32[np.ndarray, "b 6"]:
        """The expert, who sees the targets."""
        return _expert().act(np.hstack((self._observations(), self.targets[:, None])).astype(np.float32))

    def _observations(self) -> Float32[np.ndarray, "b 17"]:
        return self.cheetahs.states[:, 1:].astype(np.float32)

    def close_extras(self, **kwargs: Any) -> None:
        """Give the simulations back to the pool."""
        self.cheetahs.close()


@lru_cache
def _expert() -> Expert:
    return load_expert("cheetah-vel")


class CheetahEnv(gym.Env[Array, Array]):
    """One task: a vector environment of one row, with a picture."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}

    def __init__(self, family: CheetahVel, index: int, scene: Scene = "trial", render_mode: str | None = None) -> None:
        self.observation_space = family.spec.observation_space
        self.action_space = family.spec.action_space
        self.render_mode = render_mode
        self._row = family.make_vec([index], scene)
        self._renderer: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Start an episode: `seed` decides the noise at its start."""
        super().reset(seed=seed)
        observations, _ = self._row.reset(seed=[seed])
        return observations[0], {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """One control step. The info says `success`, which is known on the last."""
        observations, rewards, terminated, truncated, infos = self._row.step(np.asarray(action)[None])
        success = {"success": bool(infos["success"][0])}
        return observations[0], float(rewards[0]), bool(terminated[0]), bool(truncated[0]), success

    def expert_action(self) -> Float32[np.ndarray, "6"]:
        """What the expert does in the present state."""
        return self._row.expert_actions()[0]

    def render(self) -> Array | None:  # type: ignore[override]
        """A picture `[h, w, 3]` that follows the cheetah, or None without a render mode."""
        if self.render_mode is None:
            return None
        cheetahs = self._row.cheetahs
        if self._renderer is None:
            self._renderer = mujoco.Renderer(cheetahs.stable.model)
        self._renderer.update_scene(cheetahs.sims[0], camera="track")
        picture: Array = self._renderer.render()
        return picture

    def close(self) -> None:
        """Give the simulation back to the pool."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
        self._row.close()
